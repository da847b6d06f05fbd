"""A pair of checkpoints of Llama-3-8B's shapes, of random numbers, to see what a large pair costs.

    python benches/transformers/large_pair.py OUT [LAYERS]      # writes OUT/a and OUT/b, 16 GB each; needs torch and safetensors

B is A with its stream, its key-value heads and its hidden units renumbered, times .7, and .7 of noise: each unit of B has a partner
in A that a match can be counted against, in OUT/partners.safetensors.
"""
import json
import os
import sys

import numpy as np
import torch
from safetensors.torch import save_file

D, FFN, HEADS, KV, WIDTH, VOCAB = 4096, 14336, 32, 8, 128, 128256
out, layers = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 32
rng = np.random.Generator(np.random.SFC64(0))

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": D, "intermediate_size": FFN,
    "num_hidden_layers": layers, "num_attention_heads": HEADS, "num_key_value_heads": KV, "head_dim": WIDTH,
    "vocab_size": VOCAB, "max_position_embeddings": 8192, "rope_theta": 500000.0, "rms_norm_eps": 1e-5,
    "hidden_act": "silu", "tie_word_embeddings": False, "torch_dtype": "bfloat16",
}


def normal(*shape):
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


def numbered(tensor, axes):
    """The tensor with these axes renumbered; `axes[i]` is the source of every unit, or None."""
    for axis, order in enumerate(axes):
        tensor = tensor if order is None else tensor.index_select(axis, order)
    return tensor


class Shards:
    """Writes tensors to shards, and at last the index."""

    def __init__(self, folder):
        os.makedirs(folder, exist_ok=True)
        self.folder, self.open, self.map, self.total, self.files = folder, {}, {}, 0, []

    def add(self, name, tensor):
        self.open[name] = tensor.bfloat16().contiguous()
        self.total += 2 * tensor.numel()
        if sum(2 * t.numel() for t in self.open.values()) > 1.7e9:
            self.flush()

    def flush(self):
        file = f"model-{len(self.files) + 1:05}.safetensors"
        save_file(self.open, f"{self.folder}/{file}", {"format": "pt"})
        self.map |= dict.fromkeys(self.open, file)
        self.files.append(file)
        self.open = {}

    def end(self):
        self.flush()
        with open(f"{self.folder}/model.safetensors.index.json", "w") as file:
            json.dump({"metadata": {"total_size": self.total}, "weight_map": self.map}, file)
        with open(f"{self.folder}/config.json", "w") as file:
            json.dump(CONFIG, file, indent=2)


a, b = Shards(f"{out}/a"), Shards(f"{out}/b")
stream = torch.from_numpy(rng.permutation(D))
partners = {"stream": stream}


def both(name, shape, *axes):
    own = normal(*shape) * 0.02 if len(shape) > 1 else 1 + 0.2 * normal(*shape)
    a.add(name, own)
    other = numbered(own, axes)
    b.add(name, 0.7 * other + 0.7 * 0.02 * normal(*shape) if len(shape) > 1 else other)


both("model.embed_tokens.weight", (VOCAB, D), None, stream)
for layer in range(layers):
    at = f"model.layers.{layer}"
    heads = torch.from_numpy(rng.permutation(KV))
    units = torch.from_numpy(rng.permutation(FFN))
    partners |= {f"{at}.heads": heads, f"{at}.units": units}
    inner = torch.arange(WIDTH)
    pairs = (heads[:, None] * WIDTH + inner).flatten()
    group = HEADS // KV
    queries = ((heads[:, None] * group + torch.arange(group)).flatten()[:, None] * WIDTH + inner).flatten()
    both(f"{at}.self_attn.q_proj.weight", (HEADS * WIDTH, D), queries, stream)
    both(f"{at}.self_attn.k_proj.weight", (KV * WIDTH, D), pairs, stream)
    both(f"{at}.self_attn.v_proj.weight", (KV * WIDTH, D), pairs, stream)
    both(f"{at}.self_attn.o_proj.weight", (D, HEADS * WIDTH), stream, queries)
    both(f"{at}.mlp.gate_proj.weight", (FFN, D), units, stream)
    both(f"{at}.mlp.up_proj.weight", (FFN, D), units, stream)
    both(f"{at}.mlp.down_proj.weight", (D, FFN), stream, units)
    both(f"{at}.input_layernorm.weight", (D,), stream)
    both(f"{at}.post_attention_layernorm.weight", (D,), stream)
    print(f"layer {layer + 1} of {layers}", file=sys.stderr)
both("model.norm.weight", (D,), stream)
both("lm_head.weight", (VOCAB, D), None, stream)
a.end()
b.end()
save_file({name: order.contiguous() for name, order in partners.items()}, f"{out}/partners.safetensors")
