"""A checkpoint of the real one's shape and a few MiB: the files of Qwen3-VL-4B-Instruct, with random bytes for weights.

The same bytes every time, so that a revision made by one run is the revision of the next.
"""

import contextlib
import hashlib
import json
import random
import shutil
import struct
import tempfile
from pathlib import Path

SHARDS, SHARD_BYTES = 6, 8 << 20  # the real one: 2 of 4.5 GB
CONFIG = {
    "architectures": ["Qwen3VLForConditionalGeneration"],
    "model_type": "qwen3_vl",
    "text_config": {
        "model_type": "qwen3_vl_text",
        "hidden_size": 2560,
        "intermediate_size": 9728,
        "num_attention_heads": 32,
        "num_hidden_layers": 36,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 262144,
        "vocab_size": 151936,
        "dtype": "bfloat16",
        "tie_word_embeddings": True,
    },
    "vision_config": {
        "model_type": "qwen3_vl",
        "depth": 24,
        "hidden_size": 1024,
        "patch_size": 16,
        "spatial_merge_size": 2,
    },
}
SMALL = {
    "config.json": CONFIG,
    "generation_config.json": {"do_sample": True, "temperature": 0.7, "top_k": 20, "top_p": 0.8},
    "preprocessor_config.json": {"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2},
    "video_preprocessor_config.json": {"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2},
    "chat_template.json": {"chat_template": "{% for message in messages %}{{ message.content }}{% endfor %}"},
    "tokenizer_config.json": {"tokenizer_class": "Qwen2Tokenizer", "model_max_length": 262144},
    "tokenizer.json": {"version": "1.0", "model": {"type": "BPE", "vocab": {}, "merges": []}},
    "vocab.json": {},
}


def ensure(root: Path) -> Path:
    """The checkpoint's folder below `root`, made the first time."""
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    folder = root / "models" / recipe / "Qwen3-VL-4B-Instruct"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent)) / folder.name
        scratch.mkdir()
        write(scratch)
        with contextlib.suppress(OSError):  # another run was first
            scratch.rename(folder)
        shutil.rmtree(scratch.parent)
    return folder


def write(folder: Path, shards: int = SHARDS, shard_bytes: int = SHARD_BYTES) -> None:
    """The files; weights are numbered, so every shard differs."""
    for name, content in SMALL.items():
        (folder / name).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    (folder / "merges.txt").write_text("#version: 0.2\n")
    weights = {}
    for number in range(1, shards + 1):
        name = f"model-{number:05}-of-{shards:05}.safetensors"
        tensor = f"model.language_model.layers.{number - 1}.mlp.gate_proj.weight"
        (folder / name).write_bytes(safetensors(tensor, random.Random(number).randbytes(shard_bytes)))  # noqa: S311
        weights[tensor] = name
    index = {"metadata": {"total_size": shards * shard_bytes}, "weight_map": weights}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


def safetensors(name: str, data: bytes) -> bytes:
    """One tensor of bytes in the format of https://github.com/huggingface/safetensors#format."""
    header = json.dumps({name: {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}}).encode()
    return struct.pack("<Q", len(header)) + header + data
