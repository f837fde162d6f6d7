"""Writing tensors as safetensors files, one after the other, so that no more than one is in memory beside the model."""

import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from components.errors import UserError
from components.export.hugging_face.tensors import Tensor

MAX_SHARD_BYTES = 5_000_000_000
WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
# By Keras' names: the format's, and NumPy's.
_DTYPES: dict[str, tuple[str, Any]] = {
    "float32": ("F32", np.float32),
    "bfloat16": ("BF16", ml_dtypes.bfloat16),
    "float16": ("F16", np.float16),
}
DTYPES = tuple(_DTYPES)
# The format's header is aligned to so many bytes.
_ALIGNMENT = 8


def write_weights(
    tensors: Sequence[Tensor],
    folder: str | Path,
    dtype: str | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    report: Callable[[int], object] = lambda num_bytes: None,
) -> None:
    """Writes `model.safetensors`, or several shards and their index.

    Args:
        tensors: In the order of the files.
        folder: An existing folder.
        dtype: One of `DTYPES`; None keeps that of each tensor.
        max_shard_bytes: A file's tensors have so many bytes at most; one that is larger has a file of its own.
        report: Is told how many more bytes were written.

    Raises:
        UserError: A value does not fit into `dtype`.
    """
    sizes = [_count_bytes(tensor, dtype) for tensor in tensors]
    shards = _cut(tensors, sizes, max_shard_bytes)
    if len(shards) == 1:
        _write_file(shards[0], Path(folder, WEIGHTS), dtype, report)
        return
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        _write_file(shard, Path(folder, name), dtype, report)
        places |= {tensor.name: name for tensor in shard}
    index = {"metadata": {"total_size": sum(sizes)}, "weight_map": dict(sorted(places.items()))}
    Path(folder, INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _cut(tensors: Sequence[Tensor], sizes: Sequence[int], max_bytes: int) -> list[list[Tensor]]:
    shards: list[list[Tensor]] = [[]]
    filled = 0
    for tensor, size in zip(tensors, sizes, strict=True):
        if shards[-1] and filled + size > max_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(tensor)
        filled += size
    return shards


def _write_file(tensors: Sequence[Tensor], path: Path, dtype: str | None, report: Callable[[int], object]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        start, end = end, end + _count_bytes(tensor, dtype)
        name, _ = _DTYPES[dtype or tensor.dtype]
        header[tensor.name] = {"dtype": name, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors:
            report(file.write(_read_as(tensor, dtype).reshape(-1).view(np.uint8).data))


def _read_as(tensor: Tensor, dtype: str | None) -> np.ndarray:
    _, target = _DTYPES[dtype or tensor.dtype]
    value = tensor.read()
    with np.errstate(over="ignore"):
        cast = np.ascontiguousarray(value, dtype=target)
    if value.dtype != cast.dtype and not np.isfinite(cast).all():
        raise UserError(
            f"every weight must fit into {dtype}. {tensor.name} has values up to {np.abs(value).max():.3g}. "
            "Take bfloat16 or float32."
        )
    return cast


def count_bytes(tensors: Sequence[Tensor], dtype: str | None = None) -> int:
    """Returns how many bytes `write_weights` will write, beside what describes them."""
    return sum(_count_bytes(tensor, dtype) for tensor in tensors)


def _count_bytes(tensor: Tensor, dtype: str | None) -> int:
    _, target = _DTYPES[dtype or tensor.dtype]
    return int(np.prod(tensor.shape, dtype=np.int64)) * np.dtype(target).itemsize
