"""Files that a model's publisher wrote beside the weights: tokenizer rules, chat template, settings of generation.

KerasHub's own preset has no place for them: its `tokenizer.json` and `config.json` are other files of the same names. So a
saved preset keeps those of the publisher in a folder of its own.
"""

import json
from pathlib import Path

# Where a KerasHub preset keeps the publisher's files.
SIDE_FOLDER = "hugging_face"
# What is kept when a preset is saved. The tokenizer's rules are in `tokenizer.json`, or in one of the others where there is none.
# Then the terms under which the weights may be passed on.
TERMS = ("LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE", "NOTICE.txt", "USE_POLICY.md")
SIDE_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    *TERMS,
)


def find_side_file(preset_folder: str | Path, name: str) -> Path | None:
    """Returns the file `name` of the model's publisher; None where there is none.

    Args:
        preset_folder: A preset, as a local folder: KerasHub's own (then from its `hugging_face/`) or one in Hugging Face's
            layout (then from the folder itself).
        name: Such as `tokenizer.json`, `tokenizer_config.json`, `chat_template.jinja` or `generation_config.json`.
    """
    folder = Path(preset_folder)
    if not is_hugging_face_folder(folder):
        folder = folder / SIDE_FOLDER
    path = folder / name
    return path if path.is_file() else None


def is_hugging_face_folder(folder: str | Path) -> bool:
    """Returns whether a folder's `config.json` is Hugging Face's: it names a `model_type`, KerasHub's a class."""
    config = read_json_object(Path(folder) / "config.json")
    return config is not None and "model_type" in config and "registered_name" not in config


def read_json_object(path: str | Path) -> dict | None:
    """Returns the JSON object in a file; None where there is no such file, or something else in it."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
