"""What `export` does: writes a model in one format, whole or not at all, and proves that it still computes the same."""

import gc
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.export.formats import HUGGING_FACE, KERAS, SAVED_MODEL
from components.export.hugging_face.card import CardFacts, render_card
from components.local_copies import local_copy, local_preset
from components.text.chat_template import DEFAULT_DATE
from configs.schema import GenerationSection, TextSection
from pipeline.export_checks import find_family_problem
from pipeline.export_source import Source
from pipeline.lineage.byte_progress import show_bytes
from pipeline.lineage.export.card_facts import make_card_facts

# Held against each other before and after: prose, code, digits, spaces and other scripts.
_TEXTS = (
    "The quick brown fox jumps over the lazy dog. It's 1,234.5 metres away, isn't it?",
    "def add(a, b):\n    return a + b  # sum\n\n\nprint(add(2, 40))",
    "Größe: 12 €  \t naïve 数学 😀",
)
_MAX_TOKENS = 64


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is asked for.

    Attributes:
        format_name: One of `components.export.formats.FORMATS`.
        output: Where to; absent or empty.
        dtype: Of the weights; None keeps the model's.
        text: A run's section, for a SavedModel of a preset.
        generation: Likewise.
    """

    format_name: str
    output: Path
    dtype: str | None = None
    text: Mapping[str, Any] | None = None
    generation: Mapping[str, Any] | None = None


def run_export(source: Source, wish: Wish, tell: Callable[[str], object]) -> None:
    """Writes the model.

    Args:
        source: The model.
        wish: What is asked for.
        tell: Is told what goes on.

    Raises:
        UserError: The model cannot be written so, or the folder is not empty.
    """
    from components.trainer.directories import is_absent_or_empty, whole_directory

    if not is_absent_or_empty(wish.output):
        raise UserError(f"--output must be absent or an empty folder. Received: {wish.output}, which holds something.")
    if wish.dtype is not None and wish.format_name == SAVED_MODEL:
        raise UserError(
            f"--dtype is for `{HUGGING_FACE}` and `{KERAS}`: a SavedModel computes in the precision of its run (model.dtype). "
            f"Received: {wish.dtype}."
        )
    writers = {
        HUGGING_FACE: (_write_hugging_face, "config.json"),
        KERAS: (_write_keras, "config.json"),
        SAVED_MODEL: (_write_saved_model, "saved_model.pb"),
    }
    write, last = writers[wish.format_name]
    # What was not proved right is never in its place, not even if this process is killed.
    with whole_directory(str(wish.output), last) as folder:
        write(source, wish, folder, tell)


def _write_hugging_face(source: Source, wish: Wish, folder: str, tell: Callable[[str], object]) -> None:
    if problem := find_family_problem(source.preset):
        raise UserError(problem)
    from components.trainer.hugging_face import export_hugging_face, observe, verify_hugging_face

    model = _load(source.preset, find_dtype(source.preset), tell)
    card = render_card(make_card_facts(source.trace) if source.trace else _make_own_facts(source))
    with show_bytes("Writing weights") as progress:
        export_hugging_face(
            model,
            source.preset,
            folder,
            text=_read_text(source),
            dtype=wish.dtype,
            card=card,
            progress=progress,
        )
    tell("Checking: the folder is loaded again and compared ...")
    expected = observe(model, _TEXTS, _MAX_TOKENS)
    del model
    verify_hugging_face(folder, expected, wish.dtype)


def _read_text(source: Source) -> dict[str, Any] | None:
    """Returns what the model was tuned with, as a `text` section; None if it was not tuned here, or was never served."""
    from components.trainer.model_card import read_card

    card = read_card(os.path.dirname(source.saved_model)) if source.saved_model else {}
    if "template" not in card:
        return None
    return {
        "date": DEFAULT_DATE,
        **(card.get("chat_template") or {}),
        "template": card["template"],
        "system": card["system"],
    }


def _write_keras(source: Source, wish: Wish, folder: str, tell: Callable[[str], object]) -> None:
    from components.trainer.model import hash_weights, save_preset

    dtype = wish.dtype or find_dtype(source.preset)
    model = _load(source.preset, dtype, tell)
    tell("Writing ...")
    save_preset(model, folder)
    expected = hash_weights(model)
    del model
    gc.collect()
    found = hash_weights(_load(folder, dtype, lambda text: tell("Checking: the folder is loaded again ...")))
    if found != expected:
        raise RuntimeError(f"the weights in {wish.output} were not those of the model: the folder is removed")


def _write_saved_model(source: Source, wish: Wish, folder: str, tell: Callable[[str], object]) -> None:
    if source.saved_model is not None:
        tell("Copying ...")
        with local_copy(source.saved_model) as copied:
            shutil.copytree(copied, folder, dirs_exist_ok=True)
        return
    from components.trainer.export import export_model
    from components.trainer.verify_export import verify_export

    text = wish.text or TextSection().model_dump(mode="json")
    generation = wish.generation or GenerationSection().model_dump(mode="json")
    model = _load(source.preset, find_dtype(source.preset), tell)
    tell("Writing ...")
    export_model(model, folder, text, generation, preset=source.preset)
    tell("Checking: the SavedModel is loaded and compared ...")
    verify_export(folder, model, [], list(_TEXTS), text, generation)


def _load(preset: str, dtype: str, tell: Callable[[str], object]) -> Any:
    tell(f"Loading {preset} ...")
    from components.trainer.model import load_model

    return load_model(preset, dtype)


def find_dtype(preset: str) -> str:
    """Returns the dtype of a preset's weights, as its config states it; float32 where it does not."""
    with local_preset(preset, with_weights=False) as folder:
        try:
            config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
            stated = config["config"]["dtype"] if "config" in config else config.get("dtype") or config["torch_dtype"]
            if isinstance(stated, dict):
                stated = stated["config"]["name"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return "float32"
    return stated if stated in ("bfloat16", "float16") else "float32"


def _make_own_facts(source: Source) -> CardFacts:
    """What is known of a model that the store does not know: its own record where it has one."""
    record_path = Path(source.preset).parent / "training_record.json"
    try:
        record = json.loads(record_path.read_text(encoding="utf-8"))
        from components.trainer.hugging_face_card import make_facts

        return make_facts(record, "", "")
    except (OSError, ValueError, KeyError):
        return CardFacts(name=source.name, base_model=source.preset, method={}, training={}, provenance={})
