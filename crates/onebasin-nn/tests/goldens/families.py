"""Makes families/: tiny random networks of transformers, a batch of tokens, and what transformers computes.

    python families.py          # needs torch, transformers (made with 5.24.0) and safetensors
    python families.py NAME …   # only these

Each file has the tensors as `save_pretrained` names them, `input_ids`, `logits`, and the configuration in its header. Of networks that
do not write token by token it has `input.0`, `input.1` and `output.0`, `output.1`, in the order of the graph.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file

FOLDER = Path(__file__).parent / "families"
SIZES = dict(vocab_size=19, hidden_size=16, num_hidden_layers=2, intermediate_size=24, max_position_embeddings=16)
EIGHT = SIZES | dict(num_attention_heads=2, head_dim=8, intermediate_size=12)
GEMMA2 = dict(num_attention_heads=4, num_key_value_heads=2, head_dim=8, query_pre_attn_scalar=7, sliding_window=5)
PHI3 = SIZES | dict(num_attention_heads=2, num_key_value_heads=1, pad_token_id=0)
LONGROPE = dict(rope_type="longrope", short_factor=[1.0, 1.1, 1.3, 1.9], long_factor=[1.5, 2.0, 4.0, 7.0], rope_theta=1e2)
MIXTURE = dict(num_attention_heads=4, num_key_value_heads=2, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=12)
OPT = dict(vocab_size=19, hidden_size=16, num_hidden_layers=2, ffn_dim=24, num_attention_heads=4, max_position_embeddings=16)
NETWORKS = {
    "gpt2": ("GPT2LMHeadModel", dict(vocab_size=19, n_embd=12, n_layer=2, n_head=3, n_positions=16)),
    "gpt2-plain": ("GPT2Model", dict(vocab_size=19, n_embd=12, n_layer=1, n_head=3, n_positions=16, n_inner=20, activation_function="gelu")),
    "llama": ("LlamaForCausalLM", SIZES | dict(num_attention_heads=4, num_key_value_heads=2)),
    "llama-bias": ("LlamaForCausalLM", SIZES | dict(num_attention_heads=2, head_dim=6, attention_bias=True, mlp_bias=True, tie_word_embeddings=True)),
    "mistral": ("MistralForCausalLM", SIZES | dict(num_attention_heads=4, num_key_value_heads=1, sliding_window=None)),
    "qwen2": ("Qwen2ForCausalLM", SIZES | dict(num_attention_heads=4, num_key_value_heads=2)),
    "qwen3": ("Qwen3ForCausalLM", SIZES | dict(num_attention_heads=4, num_key_value_heads=2, head_dim=8)),
    "mistral-window": ("MistralForCausalLM", SIZES | dict(num_attention_heads=4, num_key_value_heads=1, sliding_window=5)),
    "qwen2-window": ("Qwen2ForCausalLM", SIZES | dict(num_attention_heads=4, num_key_value_heads=2, use_sliding_window=True, sliding_window=5, max_window_layers=1)),
    "llama-linear": ("LlamaForCausalLM", EIGHT | dict(rope_parameters=dict(rope_type="linear", factor=2.5, rope_theta=1e2))),
    "llama-dynamic": ("LlamaForCausalLM", EIGHT | dict(rope_parameters=dict(rope_type="dynamic", factor=2.0, rope_theta=1e2))),
    "llama-llama3": ("LlamaForCausalLM", EIGHT | dict(rope_parameters=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64, rope_theta=1e2))),
    "llama-yarn": ("LlamaForCausalLM", EIGHT | dict(rope_parameters=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=300, rope_theta=1e2))),
    "llama-yarn-scaled": ("LlamaForCausalLM", EIGHT | dict(rope_parameters=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=300, beta_fast=16, beta_slow=2, mscale=0.7, mscale_all_dim=1.3, truncate=False, rope_theta=1e2))),
    "gemma": ("GemmaForCausalLM", SIZES | dict(num_attention_heads=4, num_key_value_heads=1, head_dim=8)),
    "gemma2": ("Gemma2ForCausalLM", SIZES | GEMMA2 | dict(attn_logit_softcapping=2.0, final_logit_softcapping=3.0)),
    "gemma2-plain": ("Gemma2Model", SIZES | GEMMA2 | dict(attn_logit_softcapping=None, final_logit_softcapping=None, attention_bias=True, layer_types=["full_attention", "sliding_attention"])),
    "gemma3_text": ("Gemma3ForCausalLM", SIZES | GEMMA2 | dict(sliding_window_pattern=2, rope_parameters=dict(sliding_attention=dict(rope_type="default", rope_theta=1e2), full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1e3)))),
    "phi3": ("Phi3ForCausalLM", PHI3 | dict(sliding_window=5, rope_parameters=dict(rope_type="default", rope_theta=1e2, partial_rotary_factor=0.75))),
    "phi3-longrope": ("Phi3ForCausalLM", PHI3 | dict(max_position_embeddings=64, original_max_position_embeddings=32, tie_word_embeddings=True, rope_parameters=LONGROPE)),
    "phi3-long": ("Phi3ForCausalLM", PHI3 | dict(original_max_position_embeddings=8, rope_parameters=LONGROPE)),
    "mixtral": ("MixtralForCausalLM", SIZES | dict(num_attention_heads=4, num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2)),
    "qwen2_moe": ("Qwen2MoeForCausalLM", SIZES | MIXTURE | dict(shared_expert_intermediate_size=8, norm_topk_prob=False)),
    "qwen2_moe-mixed": ("Qwen2MoeForCausalLM", SIZES | MIXTURE | dict(shared_expert_intermediate_size=8, norm_topk_prob=True, mlp_only_layers=[1], qkv_bias=False, use_sliding_window=True, sliding_window=5)),
    "qwen3_moe": ("Qwen3MoeForCausalLM", SIZES | MIXTURE | dict(head_dim=8, norm_topk_prob=True)),
    "qwen3_moe-mixed": ("Qwen3MoeForCausalLM", SIZES | MIXTURE | dict(norm_topk_prob=False, decoder_sparse_step=2, attention_bias=True, tie_word_embeddings=True, use_sliding_window=True, sliding_window=5)),
    "gpt_neox": ("GPTNeoXForCausalLM", SIZES | dict(num_attention_heads=2, rotary_pct=0.5)),
    "gpt_neox-serial": ("GPTNeoXForCausalLM", SIZES | dict(num_attention_heads=2, rotary_pct=1.0, use_parallel_residual=False, attention_bias=False, tie_word_embeddings=True, hidden_act="relu")),
    "opt": ("OPTForCausalLM", OPT),
    "opt-behind": ("OPTForCausalLM", OPT | dict(do_layer_norm_before=False, enable_bias=False, tie_word_embeddings=False)),
    "bloom": ("BloomForCausalLM", dict(vocab_size=19, hidden_size=16, n_layer=2, n_head=4)),
    "bloom-three": ("BloomModel", dict(vocab_size=19, hidden_size=12, n_layer=2, n_head=3, apply_residual_connection_post_layernorm=True)),
    "olmo2": ("Olmo2ForCausalLM", SIZES | dict(num_attention_heads=4, num_key_value_heads=2, pad_token_id=0)),
    "starcoder2": ("Starcoder2ForCausalLM", SIZES | dict(num_attention_heads=4, num_key_value_heads=2, sliding_window=5)),
    "starcoder2-plain": ("Starcoder2ForCausalLM", SIZES | dict(num_attention_heads=4, num_key_value_heads=4, use_bias=False, tie_word_embeddings=False)),
    "phi": ("PhiForCausalLM", SIZES | dict(num_attention_heads=2, num_key_value_heads=1)),
    "phi-tied": ("PhiForCausalLM", SIZES | dict(num_attention_heads=2, partial_rotary_factor=1.0, tie_word_embeddings=True)),
}
IMAGES = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=8, patch_size=4, num_channels=2)
TEXTS = SIZES | dict(num_attention_heads=2)
DISTILLED = dict(vocab_size=19, dim=16, n_layers=2, n_heads=2, hidden_dim=24, max_position_embeddings=16)
FROM_AND_TO = dict(vocab_size=19, d_model=16, d_kv=6, d_ff=24, num_layers=2, num_decoder_layers=2, num_heads=2, relative_attention_num_buckets=8, relative_attention_max_distance=9)
SPEECH = dict(vocab_size=19, num_mel_bins=5, d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=20, decoder_layers=2, decoder_attention_heads=4, decoder_ffn_dim=20, max_source_positions=8, max_target_positions=16, pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=1)
STATES = ["last_hidden_state", "pooler_output"]
READERS = {  # what they read, and what they answer
    "vit": ("ViTForImageClassification", IMAGES | dict(num_labels=3), ["pixel_values"], ["logits"]),
    "vit-plain": ("ViTModel", IMAGES | dict(image_size=[8, 12], pooler_output_size=6, qkv_bias=False), ["pixel_values"], STATES),
    "deit": ("DeiTForImageClassification", IMAGES | dict(num_labels=3), ["pixel_values"], ["logits"]),
    "bert": ("BertModel", TEXTS, ["input_ids"], STATES),
    "bert-fill": ("BertForMaskedLM", TEXTS, ["input_ids"], ["logits"]),
    "bert-classes": ("BertForSequenceClassification", TEXTS | dict(num_labels=3), ["input_ids"], ["logits"]),
    "roberta": ("RobertaModel", TEXTS | dict(max_position_embeddings=18), ["input_ids"], STATES),
    "roberta-fill": ("RobertaForMaskedLM", TEXTS | dict(max_position_embeddings=18), ["input_ids"], ["logits"]),
    "roberta-classes": ("RobertaForSequenceClassification", TEXTS | dict(max_position_embeddings=18), ["input_ids"], ["logits"]),
    "distilbert": ("DistilBertModel", DISTILLED, ["input_ids"], ["last_hidden_state"]),
    "distilbert-fill": ("DistilBertForMaskedLM", DISTILLED, ["input_ids"], ["logits"]),
    "distilbert-classes": ("DistilBertForSequenceClassification", DISTILLED | dict(num_labels=3), ["input_ids"], ["logits"]),
    "clip": ("CLIPModel", dict(text_config=TEXTS | dict(eos_token_id=18), vision_config=IMAGES | dict(hidden_size=12), projection_dim=6), ["input_ids", "pixel_values"], ["logits_per_image"]),
    "clip-text": ("CLIPTextModelWithProjection", TEXTS | dict(eos_token_id=2, hidden_act="gelu", projection_dim=6), ["input_ids"], ["text_embeds"]),
    "clip-text-plain": ("CLIPTextModel", TEXTS | dict(eos_token_id=18), ["input_ids"], STATES),
    "clip-vision": ("CLIPVisionModelWithProjection", IMAGES | dict(projection_dim=6), ["pixel_values"], ["image_embeds"]),
    "clip-vision-plain": ("CLIPVisionModel", IMAGES, ["pixel_values"], STATES),
    "t5": ("T5ForConditionalGeneration", FROM_AND_TO, ["input_ids", "decoder_input_ids"], ["logits"]),
    "t5-gated": ("T5ForConditionalGeneration", FROM_AND_TO | dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False, num_layers=1), ["input_ids", "decoder_input_ids"], ["logits"]),
    "t5-encoder": ("T5EncoderModel", FROM_AND_TO, ["input_ids"], ["last_hidden_state"]),
    "whisper": ("WhisperForConditionalGeneration", SPEECH, ["input_features", "decoder_input_ids"], ["logits"]),
}


def read(name, config):
    """A batch of two of what a network reads; texts without padding."""
    texts = getattr(config, "text_config", config)
    images = getattr(config, "vision_config", config)
    if name == "pixel_values":
        size = images.image_size if isinstance(images.image_size, list | tuple) else [images.image_size] * 2
        return torch.randn(2, images.num_channels, *size)
    if name == "input_features":
        return torch.randn(2, config.num_mel_bins, 2 * config.max_source_positions)
    tokens = torch.randint(2, texts.vocab_size, (2, 12))
    tokens[0, 5] = texts.vocab_size - 1
    return tokens


def reader(name):
    kind, sizes, reads, answers = READERS[name]
    torch.manual_seed(0)
    model = getattr(transformers, kind)
    model = model(model.config_class(**sizes)).eval()
    untied = kind.startswith("T5") and not getattr(model.config, "scale_decoder_outputs", True)
    if untied:  # T5 1.1: a head of its own, and no scale
        model.lm_head.weight = torch.nn.Parameter(torch.randn(19, 16))
    for parameter in model.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    inputs = {part: read(part, model.config) for part in reads}
    with torch.no_grad():
        found = model(**inputs)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        state = load_file(Path(folder) / "model.safetensors")
        config = json.loads((Path(folder) / "config.json").read_text())
    if untied:
        config["tie_word_embeddings"] = False
        state["lm_head.weight"] = model.lm_head.weight.data
    given = {f"input.{k}": inputs[part].float() for k, part in enumerate(reads)}
    made = {f"output.{k}": found[part].contiguous() for k, part in enumerate(answers)}
    if "logits_per_image" in answers:  # of every image and the text beside it
        made = {"output.0": found.logits_per_image.diagonal().contiguous()}
    save_file(state | given | made, FOLDER / f"{name}.safetensors", {"config": json.dumps(config)})
    print(name, len(state), (FOLDER / f"{name}.safetensors").stat().st_size)


def main():
    FOLDER.mkdir(exist_ok=True)
    asked = sys.argv[1:] or [*NETWORKS, *READERS]
    for name in READERS:
        if name in asked:
            reader(name)
    for name, (kind, sizes) in NETWORKS.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        torch.manual_seed(0)
        model = getattr(transformers, kind)
        model = model(model.config_class(**sizes, bos_token_id=0, eos_token_id=0)).eval()
        for parameter in model.parameters():  # norms and biases that are no longer one and zero
            parameter.data.add_(0.2 * torch.randn_like(parameter))
        tokens = torch.randint(19, (2, 16))
        with torch.no_grad():
            found = model(tokens)
        logits = found.logits if hasattr(found, "logits") else found.last_hidden_state
        with tempfile.TemporaryDirectory() as saved:
            model.save_pretrained(saved)
            state = load_file(Path(saved) / "model.safetensors")
        config = json.loads(model.config.to_json_string(use_diff=False)) | {"architectures": [kind]}
        save_file(
            {**state, "input_ids": tokens.float(), "logits": logits}, FOLDER / f"{name}.safetensors", {"config": json.dumps(config)}
        )
        print(name, len(state), (FOLDER / f"{name}.safetensors").stat().st_size)


if __name__ == "__main__":
    main()
