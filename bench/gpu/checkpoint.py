"""A model folder of a real Qwen3-VL's shape without weights, for `--load-format=dummy`: the engine fills them in at random.

The shape is the one of components/capacity/models.py; the rest is copied from the published checkpoints' files. The tokenizer
knows single bytes only (a text has as many tokens as bytes) and gives each other number a word of its own, so that every token
an engine draws at random can be shown.
"""

from __future__ import annotations

import json
from pathlib import Path

from components.capacity.models import ARCHITECTURES, Architecture

BYTES = 256
FIRST_SPECIAL = 151643
# In the order of their numbers, without a gap: a loader may number them itself.
SPECIAL = {
    f"<|{word}|>": number
    for number, word in enumerate(
        (
            *("endoftext", "im_start", "im_end", "object_ref_start", "object_ref_end", "box_start", "box_end"),
            *("quad_start", "quad_end", "vision_start", "vision_end", "vision_pad", "image_pad", "video_pad"),
        ),
        FIRST_SPECIAL,
    )
}
VISION_HEADS = 16
TAPS = {24: [5, 11, 17], 27: [8, 16, 24]}
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' or 'image' in part or 'image_url' in part %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write(folder: Path, shape: str) -> None:
    """`shape` is a key of ARCHITECTURES."""
    model = ARCHITECTURES[shape]
    folder.mkdir(parents=True, exist_ok=True)
    processor = {
        "patch_size": 16,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "processor_class": "Qwen3VLProcessor",
    }
    files = {
        "config.json": config(model),
        "generation_config.json": {"do_sample": True, "temperature": 0.7, "top_k": 20, "top_p": 0.8},
        "preprocessor_config.json": processor
        | {
            "size": {"longest_edge": 16777216, "shortest_edge": 65536},
            "image_processor_type": "Qwen2VLImageProcessorFast",
        },
        "video_preprocessor_config.json": processor
        | {"size": {"longest_edge": 25165824, "shortest_edge": 4096}, "video_processor_type": "Qwen3VLVideoProcessor"},
        "tokenizer.json": tokenizer(),
        "tokenizer_config.json": {
            "tokenizer_class": "Qwen2Tokenizer",
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "model_max_length": 262144,
            "chat_template": TEMPLATE,
        },
        "chat_template.json": {"chat_template": TEMPLATE},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, ensure_ascii=False))


def config(model: Architecture) -> dict[str, object]:
    """config.json, with the keys of the published ones."""
    vision = model.vision
    return {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "model_type": "qwen3_vl",
        "image_token_id": SPECIAL["<|image_pad|>"],
        "video_token_id": SPECIAL["<|video_pad|>"],
        "vision_start_token_id": SPECIAL["<|vision_start|>"],
        "vision_end_token_id": SPECIAL["<|vision_end|>"],
        "tie_word_embeddings": model.tied_head,
        "text_config": {
            "model_type": "qwen3_vl_text",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": SPECIAL["<|endoftext|>"],
            "eos_token_id": SPECIAL["<|im_end|>"],
            "dtype": "bfloat16",
            "head_dim": model.head_width,
            "hidden_act": "silu",
            "hidden_size": model.width,
            "initializer_range": 0.02,
            "intermediate_size": model.inner_width,
            "max_position_embeddings": 262144,
            "num_attention_heads": model.heads,
            "num_hidden_layers": model.layers,
            "num_key_value_heads": model.kv_heads,
            "rms_norm_eps": 1e-6,
            "rope_scaling": {"mrope_interleaved": True, "mrope_section": [24, 20, 20], "rope_type": "default"},
            "rope_theta": 5000000,
            "tie_word_embeddings": model.tied_head,
            "use_cache": True,
            "vocab_size": model.vocabulary,
        },
        "vision_config": {
            "model_type": "qwen3_vl",
            "deepstack_visual_indexes": TAPS[vision.blocks],
            "depth": vision.blocks,
            "hidden_act": "gelu_pytorch_tanh",
            "hidden_size": vision.width,
            "in_channels": 3,
            "initializer_range": 0.02,
            "intermediate_size": vision.inner_width,
            "num_heads": VISION_HEADS,
            "num_position_embeddings": 2304,
            "out_hidden_size": model.width,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
    }


def tokenizer() -> dict[str, object]:
    """tokenizer.json of a byte-level BPE without merges."""
    words = byte_characters() + [f"Ġt{number}" for number in range(BYTES, FIRST_SPECIAL)]
    levels = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": number, "content": word} | flags for word, number in SPECIAL.items()],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": levels,
        "post_processor": levels,
        "decoder": levels,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {word: number for number, word in enumerate(words)},
            "merges": [],
        },
    }


def byte_characters() -> list[str]:
    """The printable character that stands for each byte in byte-level tokenizers: itself, or one beyond 255 for the others."""
    shown = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in shown else next(others)) for byte in range(BYTES)]
