"""Makes families/: tiny random networks of transformers, a batch of tokens, and what transformers computes.

    python families.py          # needs torch, transformers (made with 5.24.0) and safetensors

Each file has the tensors as `save_pretrained` names them, `input_ids`, `logits`, and the configuration in its header.
"""

import json
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

FOLDER = Path(__file__).parent / "families"
SIZES = dict(vocab_size=19, hidden_size=16, num_hidden_layers=2, intermediate_size=24, max_position_embeddings=16)
NETWORKS = {
    "gpt2": ("GPT2LMHeadModel", dict(vocab_size=19, n_embd=12, n_layer=2, n_head=3, n_positions=16)),
    "gpt2-plain": ("GPT2Model", dict(vocab_size=19, n_embd=12, n_layer=1, n_head=3, n_positions=16, n_inner=20, activation_function="gelu")),
    "llama": ("LlamaForCausalLM", SIZES | dict(num_attention_heads=4, num_key_value_heads=2)),
    "llama-bias": ("LlamaForCausalLM", SIZES | dict(num_attention_heads=2, head_dim=6, attention_bias=True, mlp_bias=True, tie_word_embeddings=True)),
    "mistral": ("MistralForCausalLM", SIZES | dict(num_attention_heads=4, num_key_value_heads=1, sliding_window=None)),
    "qwen2": ("Qwen2ForCausalLM", SIZES | dict(num_attention_heads=4, num_key_value_heads=2)),
    "qwen3": ("Qwen3ForCausalLM", SIZES | dict(num_attention_heads=4, num_key_value_heads=2, head_dim=8)),
}


def main():
    FOLDER.mkdir(exist_ok=True)
    for name, (kind, sizes) in NETWORKS.items():
        torch.manual_seed(0)
        model = getattr(transformers, kind)
        model = model(model.config_class(**sizes, bos_token_id=0, eos_token_id=0)).eval()
        for parameter in model.parameters():  # norms and biases that are no longer one and zero
            parameter.data.add_(0.2 * torch.randn_like(parameter))
        tokens = torch.randint(19, (2, 16))
        with torch.no_grad():
            found = model(tokens)
        logits = found.logits if hasattr(found, "logits") else found.last_hidden_state
        tied = set(getattr(model, "_tied_weights_keys", None) or [])
        state = {k: v.contiguous() for k, v in model.state_dict().items() if not (model.config.tie_word_embeddings and k in tied)}
        config = json.loads(model.config.to_json_string(use_diff=False)) | {"architectures": [kind]}
        save_file(
            {**state, "input_ids": tokens.float(), "logits": logits}, FOLDER / f"{name}.safetensors", {"config": json.dumps(config)}
        )
        print(name, len(state), (FOLDER / f"{name}.safetensors").stat().st_size)


if __name__ == "__main__":
    main()
