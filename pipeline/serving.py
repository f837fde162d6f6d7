"""Finds and calls pushed models. Needs TensorFlow, but neither Keras nor KerasHub."""

import json
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.text.cleaning import clean_text
from components.text.templates import TEMPLATES


def find_pushed_model(serving_root: Path) -> Path:
    """Returns the newest version below a pipeline's serving folder.

    Raises:
        UserError: If nothing has been pushed there.
    """
    versions = [p for p in serving_root.glob("*") if p.name.isdigit() and (p / "saved_model.pb").is_file()]
    if not versions:
        raise UserError(
            f"a model must have been pushed to {serving_root}; there is none. Run the pipeline first (`make run`); "
            "its summary says whether the model was blessed."
        )
    return max(versions, key=lambda p: int(p.name))


def find_only_pipeline(serving_root: Path) -> str:
    """Returns the name of the pipeline that has pushed a model.

    Raises:
        UserError: If there are several, or none.
    """
    names = sorted(p.name for p in serving_root.glob("*") if any(v.name.isdigit() for v in p.glob("*")))
    if len(names) == 1:
        return names[0]
    listing = (
        f"Pipelines with pushed models: {', '.join(names)}." if names else "None has pushed one yet: run one first."
    )
    raise UserError(f"--pipeline must say whose model answers. {listing}")


def load_model(folder: Path) -> Any:
    """Returns the SavedModel in `folder`.

    Raises:
        UserError: If it holds none.
    """
    if not (folder / "saved_model.pb").is_file():
        raise UserError(f"must be the folder of an exported model (with saved_model.pb). Received: {folder}.")
    import tensorflow as tf
    import tensorflow_text  # noqa: F401  Its operations are in the model.

    return tf.saved_model.load(str(folder))


def render(folder: Path, instructions: list[str], context: str) -> list[str]:
    """Returns prompts for the signature `complete`: the model's own template around instructions and their input."""
    card = json.loads((folder / "assets.extra" / "model_card.json").read_text(encoding="utf-8"))
    template = TEMPLATES[card["template"]]
    return [template.render(clean_text(i), clean_text(context), clean_text(card["system"])) for i in instructions]


def generate(model: Any, prompts: list[str], signature: str = "serving_default") -> list[str]:
    """Returns the completion of each prompt.

    Args:
        model: See `load_model`.
        prompts: Plain requests; for the signature `complete`, prompts that are rendered already.
        signature: `serving_default` or `complete`.
    """
    import tensorflow as tf

    outputs = model.signatures[signature](prompt=tf.constant(prompts))
    return [text.decode("utf-8", "replace") for text in outputs["completion"].numpy()]
