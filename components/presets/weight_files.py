"""What `*.safetensors` files hold and whether they are whole, from their headers alone: no tensor is read.

A file begins with the length of its header (8 bytes, little-endian) and the header, a JSON object that gives each tensor's dtype,
shape and place. The last place is the length of the rest of the file.
"""

import json
import math
import operator
import struct
from dataclasses import dataclass
from pathlib import Path

from components.git_lfs import POINTER
from components.presets.side_files import read_json_object

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
# Headers of the largest models have some MB; safetensors itself refuses more than 100.
_MAX_HEADER_BYTES = 100_000_000
_FLOATS = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True)
class Tensor:
    """A tensor in a file.

    Attributes:
        dtype: Its name in the header, such as `BF16`.
        shape: Its shape.
    """

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of its values."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Weights:
    """The weights of a folder.

    Attributes:
        tensors: All tensors of its files, by name.
        problems: What is wrong with the files, each a sentence.
    """

    tensors: dict[str, Tensor]
    problems: tuple[str, ...]


class _BrokenFileError(Exception):
    """What is wrong with one file."""


def read_weights(folder: str | Path) -> Weights:
    """Reads the headers of a folder's weights: those that `model.safetensors.index.json` names, or `model.safetensors`."""
    root = Path(folder)
    tensors: dict[str, Tensor] = {}
    problems: list[str] = []
    expected: dict[str, str] = {}
    names = [WEIGHTS_FILE]
    if (root / INDEX_FILE).exists():
        index = read_json_object(root / INDEX_FILE) or {}
        weight_map = index.get("weight_map")
        if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
            return Weights({}, (f"{INDEX_FILE} must have a `weight_map` from tensors to files. Download it again.",))
        expected = weight_map
        names = sorted(set(weight_map.values()))
        if escaping := [name for name in names if "/" in name or name.startswith(".")]:
            return Weights({}, (f"{INDEX_FILE} must name files of its own folder. Received: {', '.join(escaping)}.",))
    missing = [name for name in names if not (root / name).is_file()]
    if missing:
        problems.append(f"weights are missing: {_join(missing)}. {_explain_missing(root, names)}")
    for name in names:
        if name not in missing:
            try:
                tensors |= read_header(root / name)
            except _BrokenFileError as error:
                problems.append(str(error))
    if not problems and (lost := sorted(expected.keys() - tensors.keys())):
        problems.append(
            f"{INDEX_FILE} names tensors that no file has: {_join(lost)}. Index and files are of two versions of the model: "
            "download the folder again."
        )
    if not problems and (other := sorted({t.dtype for t in tensors.values()} - set(_FLOATS))):
        problems.append(
            f"weights must be of {', '.join(_FLOATS)}. Received: {', '.join(other)}: they are quantised. Take the model as it was "
            "before quantisation."
        )
    return Weights(tensors, tuple(problems))


def read_header(path: Path) -> dict[str, Tensor]:
    """Returns the tensors of one file.

    Raises:
        _BrokenFileError: The file is not whole, or no safetensors file; the message says so.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if start == POINTER[:8]:
            raise _BrokenFileError(
                f"{path.name} is a pointer of Git LFS, not the file. Run `git lfs pull` in the folder."
            )
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        text = file.read(length) if 0 < length <= min(size, _MAX_HEADER_BYTES) else b""
    broken = _BrokenFileError(
        f"{path.name} is not whole ({size:,} bytes), or no safetensors file. Download it again, for example with "
        "`hf download OWNER/NAME --local-dir FOLDER`."
    )
    try:
        header = json.loads(text)
        tensors = {
            name: Tensor(str(value["dtype"]), tuple(map(operator.index, value["shape"])))
            for name, value in header.items()
            if name != "__metadata__"
        }
        ends = (operator.index(value["data_offsets"][1]) for name, value in header.items() if name != "__metadata__")
        end = max(ends, default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise broken from None
    whole = 8 + length + end
    if size < whole:
        raise _BrokenFileError(
            f"{path.name} must have {whole:,} bytes, says its header. It has {size:,}: the download was not finished. Download it again, "
            "for example with `hf download OWNER/NAME --local-dir FOLDER`."
        )
    return tensors


def count_bytes(tensors: dict[str, Tensor], dtype_bytes: int) -> int:
    """Returns how many bytes weights take in memory once they are of one dtype."""
    return dtype_bytes * sum(tensor.size for tensor in tensors.values())


def _explain_missing(root: Path, names: list[str]) -> str:
    pickles = sorted(p.name for pattern in ("pytorch_model*.bin", "*.pt", "*.pth") for p in root.glob(pattern))
    if pickles:
        return (
            f"{_join(pickles)} cannot be taken instead: a pickle runs code when it is read. Where that can be trusted, convert it, in an "
            'environment with transformers and PyTorch: `python -c "from transformers import AutoModelForCausalLM as M; '
            f"M.from_pretrained('{root}').save_pretrained('NEW_FOLDER', safe_serialization=True)\"`, and copy the tokenizer's "
            "files. Many models have a converted copy on the hub: "
            "`hf download OWNER/NAME --revision refs/convert/safetensors`."
        )
    others = sorted(p.name for p in root.glob("*.safetensors") if p.name not in names)
    if others:
        return (
            f"{_join(others)} is there; transformers names a single file {WEIGHTS_FILE}, and several in {INDEX_FILE}."
        )
    return "Download the folder again, for example with `hf download OWNER/NAME --local-dir FOLDER`."


def _join(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
