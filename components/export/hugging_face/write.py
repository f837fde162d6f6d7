"""A model as a folder that transformers, vLLM and others load."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import keras_hub

from components.export.hugging_face.config import make_config
from components.export.hugging_face.families.table import find_family
from components.export.hugging_face.token_ids import list_token_ids, make_generation_config
from components.export.hugging_face.tokenizer_files import write_tokenizer
from components.export.hugging_face.weights import MAX_SHARD_BYTES, count_bytes, write_weights
from components.presets.side_files import TERMS

CONFIG = "config.json"
CARD = "README.md"

FindFile = Callable[[str], Path | None]


class Progress(Protocol):
    """Is told how far the writing is."""

    def start(self, num_bytes: int) -> None:
        """So many bytes are to be written."""

    def advance(self, num_bytes: int) -> None:
        """So many more were written."""


def write_hugging_face(
    model: keras_hub.models.CausalLM,
    folder: str | Path,
    find_file: FindFile,
    *,
    end_token_ids: tuple[int, ...] = (),
    chat_template: str | None = None,
    dtype: str | None = None,
    card: str = "",
    max_shard_bytes: int = MAX_SHARD_BYTES,
    progress: Progress | None = None,
) -> None:
    """Writes weights, `config.json`, `generation_config.json`, the tokenizer's files and the chat template.

    Args:
        model: The model, with its preprocessor. It is not changed.
        folder: An existing, empty folder; whoever calls sees to it that it appears whole or not at all.
        find_file: Returns the publisher's file of a name, such as `tokenizer.json`, or None if there is none.
        end_token_ids: All that end a generation; those of the tokenizer alone, if it is empty.
        chat_template: Jinja of the template that the model was tuned with, where it is not the publisher's.
        dtype: Of the weights; None keeps the model's.
        card: Text of `README.md`; without it there is none.
        max_shard_bytes: See `write_weights`.
        progress: Is told how far the weights are.

    Raises:
        UserError: There is no writer for the model's family, transformers cannot compute what it computes, or the publisher's
            config contradicts it.
    """
    root = Path(folder)
    backbone, tokenizer = model.backbone, model.preprocessor.tokenizer
    family = find_family(backbone)
    tensors = list(family.list_tensors(backbone))
    publisher = _read_json(find_file(CONFIG))
    token_ids = list_token_ids(tokenizer, end_token_ids)
    # The largest tensors' dtype: norms of a model in bfloat16 may be kept in float32.
    config = make_config(family, backbone, publisher, token_ids, dtype or tensors[0].dtype)
    generation = make_generation_config(_read_json(find_file("generation_config.json")), token_ids)
    if progress:
        progress.start(count_bytes(tensors, dtype))
    report = progress.advance if progress else (lambda num_bytes: None)
    write_weights(tensors, root, dtype, max_shard_bytes, report)
    write_tokenizer(tokenizer, root, find_file, chat_template)
    _write_json(root / "generation_config.json", generation)
    for name in TERMS:
        if source := find_file(name):
            (root / name).write_bytes(source.read_bytes())
    if card:
        (root / CARD).write_text(card, encoding="utf-8")
    _write_json(root / CONFIG, config)


def check_model(model: keras_hub.models.CausalLM, find_file: FindFile) -> None:
    """Raises what `write_hugging_face` would raise of the model itself: of its family, its layers and its publisher's config.

    Args:
        model: The model.
        find_file: See `write_hugging_face`.
    """
    make_config(find_family(model.backbone), model.backbone, _read_json(find_file(CONFIG)), {}, "float32")


def _read_json(path: Path | None) -> Mapping[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path else {}


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
