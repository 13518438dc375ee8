"""Writes a checkpoint of train.py as a GGUF file (version 3): F16 matrices, F32 norms.

The rotary rows are permuted: training pairs dimension i of a head with i + d/2, the llama
architecture of GGUF pairs 2i with 2i + 1.  There is no output matrix; the embedding is used again.
"""

import argparse
import os
import struct
from pathlib import Path
from typing import BinaryIO, Dict, List, Tuple, Union

import numpy as np
import torch

from tokenizer import CONTROL, Tokenizer

HERE = Path(__file__).parent
ALIGNMENT = 32
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
TENSOR_F32, TENSOR_F16 = 0, 1
NORMAL, CONTROL_TYPE = 1, 3

DESCRIPTION = ("A small model of a small world, trained from scratch on generated text; how it was"
               " made: scripts/demo/README.md")
# ChatML, as the dialogs of the corpus are written.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] "
    "+ '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")

Value = Union[int, float, bool, str, List[str], List[int]]


def _string(text: str) -> bytes:
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def _pair(key: str, kind: int, value: Value) -> bytes:
    """One metadata entry; a list is an array of strings or of 32-bit integers."""
    head = _string(key)
    if kind == ARRAY:
        assert isinstance(value, list)
        texts = isinstance(value[0], str)
        head += struct.pack("<IIQ", ARRAY, STRING if texts else I32, len(value))
        return head + b"".join(_string(v) if texts else struct.pack("<i", v) for v in value)
    if kind == STRING:
        return head + struct.pack("<I", STRING) + _string(str(value))
    return head + struct.pack("<I" + {U32: "I", F32: "f", BOOL: "?"}[kind], kind, value)


def permuted(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a query or key matrix [heads * d][n] from halves to interleaved pairs."""
    rows, n = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, n).swapaxes(1, 2).reshape(rows, n)


def tensors(
    model: Dict[str, torch.Tensor], config: Dict[str, float]
) -> List[Tuple[str, np.ndarray]]:
    """Names of GGUF and data, in the order of the file."""
    result = []
    for name, value in model.items():
        data = value.float().cpu().numpy()
        if ".attn_q." in name:
            data = permuted(data, int(config["heads"]))
        elif ".attn_k." in name:
            data = permuted(data, int(config["kv_heads"]))
        result.append((name, data.astype(np.float32 if data.ndim == 1 else np.float16)))
    return result


def metadata(config: Dict[str, float], coder: Tokenizer) -> List[Tuple[str, int, Value]]:
    """Everything that a reader has to know besides the weights."""
    head = int(config["embd"]) // int(config["heads"])
    end, _, turn = (coder.control[c] for c in CONTROL)
    types = [CONTROL_TYPE if t in coder.control else NORMAL for t in coder.tokens]
    return [
        ("general.architecture", STRING, "llama"),
        ("general.name", STRING, "Perilune demo"),
        ("general.description", STRING, DESCRIPTION),
        ("general.license", STRING, "MIT"),
        ("general.file_type", U32, 1),
        ("general.alignment", U32, ALIGNMENT),
        ("llama.context_length", U32, int(config["context"])),
        ("llama.embedding_length", U32, int(config["embd"])),
        ("llama.block_count", U32, int(config["layers"])),
        ("llama.feed_forward_length", U32, int(config["ff"])),
        ("llama.attention.head_count", U32, int(config["heads"])),
        ("llama.attention.head_count_kv", U32, int(config["kv_heads"])),
        ("llama.attention.layer_norm_rms_epsilon", F32, config["eps"]),
        ("llama.rope.dimension_count", U32, head),
        ("llama.rope.freq_base", F32, config["rope_base"]),
        ("llama.vocab_size", U32, int(config["vocab"])),
        ("tokenizer.ggml.model", STRING, "gpt2"),
        ("tokenizer.ggml.pre", STRING, "qwen2"),
        ("tokenizer.ggml.tokens", ARRAY, coder.tokens),
        ("tokenizer.ggml.token_type", ARRAY, types),
        ("tokenizer.ggml.merges", ARRAY, [f"{a} {b}" for a, b in coder.merges]),
        ("tokenizer.ggml.bos_token_id", U32, end),
        ("tokenizer.ggml.eos_token_id", U32, end),
        ("tokenizer.ggml.eot_token_id", U32, turn),
        ("tokenizer.ggml.padding_token_id", U32, end),
        ("tokenizer.ggml.add_bos_token", BOOL, False),
        ("tokenizer.chat_template", STRING, CHAT_TEMPLATE),
    ]


def _pad(file: BinaryIO) -> None:
    file.write(b"\0" * (-file.tell() % ALIGNMENT))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", nargs="?", default="demo.pt")
    parser.add_argument("--tokenizer", default=str(HERE / "tokenizer.json"))
    parser.add_argument("--out", default=str(HERE / "demo.gguf"))
    args = parser.parse_args()
    state = torch.load(args.checkpoint, map_location="cpu")
    config, coder = state["config"], Tokenizer.load(args.tokenizer)
    assert len(coder.tokens) == config["vocab"], "the tokenizer is not the one of this checkpoint"
    weights, pairs = tensors(state["model"], config), metadata(config, coder)
    with open(args.out + ".tmp", "wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, len(weights), len(pairs)))
        for key, kind, value in pairs:
            file.write(_pair(key, kind, value))
        offset = 0
        for name, data in weights:
            kind = TENSOR_F32 if data.dtype == np.float32 else TENSOR_F16
            shape = struct.pack(f"<I{data.ndim}Q", data.ndim, *reversed(data.shape))
            file.write(_string(name) + shape + struct.pack("<IQ", kind, offset))
            offset += data.nbytes + -data.nbytes % ALIGNMENT
        for _, data in weights:
            _pad(file)
            file.write(np.ascontiguousarray(data).tobytes())
        _pad(file)
    os.replace(args.out + ".tmp", args.out)
    for name, data in weights:
        print(f"{name:28} {str(data.dtype):8} {list(data.shape)}")
    print(f"{args.out}: {len(weights)} tensors, {sum(d.size for _, d in weights)} parameters, "
          f"{len(pairs)} metadata entries, {len(coder.tokens)} tokens, "
          f"{os.path.getsize(args.out)} bytes; step {state['step']}, loss {state['loss']:.4f}")


if __name__ == "__main__":
    main()
