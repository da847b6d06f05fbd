"""Two small language models as Hugging Face folders, and the graph that both follow."""

from __future__ import annotations

from typing import Any

# ANCHOR: folders
import torch
from transformers import LlamaConfig, LlamaForCausalLM

config = LlamaConfig(
    vocab_size=96,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
)
for seed, folder in enumerate(["llm-a", "llm-b"]):
    torch.manual_seed(seed)
    LlamaForCausalLM(config).save_pretrained(folder, max_shard_size="40KB")
# ANCHOR_END: folders


# ANCHOR: graph
class Logits(torch.nn.Module):
    """Tokens in, logits out: caches and other outputs stay outside of the graph."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Any) -> Any:
        return self.model(tokens, use_cache=False).logits


model = LlamaForCausalLM.from_pretrained("llm-a").eval()
tokens = torch.zeros(2, 8, dtype=torch.long)
torch.onnx.export(Logits(model), (tokens,), "llm.onnx", dynamo=True, verbose=False)
# ANCHOR_END: graph

# ANCHOR: symmetry
import onebasin

symmetry = onebasin.symmetry("llm.onnx", params=onebasin.load("llm-a"))
print(symmetry)
print(symmetry.check())
symmetry.save("llm.symmetry.toml")
# ANCHOR_END: symmetry

# ANCHOR: match
found = onebasin.match("llm-a", "llm-b", symmetry)
found.save("alignment.safetensors")
onebasin.merge("llm-a", "llm-b", found, symmetry=symmetry, output="llm-merged")
# ANCHOR_END: match

# ANCHOR: load
import shutil

shutil.copy("llm-a/config.json", "llm-merged/config.json")
merged = LlamaForCausalLM.from_pretrained("llm-merged")
# ANCHOR_END: load

moved = LlamaForCausalLM.from_pretrained("llm-b").eval()
with torch.no_grad():
    before = moved(torch.arange(8)[None]).logits
    moved.load_state_dict(found.apply(moved.state_dict()))
    assert float((moved(torch.arange(8)[None]).logits - before).abs().max()) < 1e-5
assert merged.config.hidden_size == 32
