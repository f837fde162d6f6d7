"""The tokenizer's files: the publisher's as they are, else made from the tokenizer that the model has."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.text.model_tokenizer import get_backend

# Of a publisher's tokenizer, with its chat template.
_COPIED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "tekken.json",
    "chat_template.jinja",
    "chat_template.json",
)
# What KerasHub saves, and the names by which Hugging Face's layout has it.
_NAMES = {"vocabulary.json": "vocab.json", "merges.txt": "merges.txt", "vocabulary.spm": "tokenizer.model"}
_RULES, _CONFIG = "tokenizer.json", "tokenizer_config.json"
# Each of them holds all tokens.
_VOCABULARIES = (_RULES, "tokenizer.model", "tekken.json", "vocab.json")


def write_tokenizer(
    tokenizer: Any, folder: Path, find_file: Callable[[str], Path | None], chat_template: str | None = None
) -> None:
    """Writes the tokenizer's files.

    Args:
        tokenizer: KerasHub's, with the model's own rules.
        folder: An existing folder.
        find_file: Returns the publisher's file of a name, or None if there is none.
        chat_template: Takes the place of the publisher's.
    """
    for name in _COPIED:
        if source := find_file(name):
            (folder / name).write_bytes(source.read_bytes())
    _write_vocabulary(tokenizer, folder)
    if not (folder / _RULES).exists() and (backend := get_backend(tokenizer)):
        _write_json(folder / _RULES, _add_start_token(json.loads(backend.to_str()), tokenizer))
    if not (folder / _CONFIG).exists():
        _write_json(folder / _CONFIG, make_tokenizer_config(tokenizer))
    if chat_template is not None:
        _replace_chat_template(folder, chat_template)


def _write_vocabulary(tokenizer: Any, folder: Path) -> None:
    """Writes what KerasHub saves, where the publisher's files have it not.

    A SentencePiece model beside a publisher's `tokenizer.json`, too: there are readers of either.
    """
    is_there = any((folder / name).exists() for name in _VOCABULARIES)
    with tempfile.TemporaryDirectory() as assets:
        tokenizer.save_assets(assets)
        for path in Path(assets).iterdir():
            name = _NAMES.get(path.name)
            if name and not (folder / name).exists() and (name == "tokenizer.model" or not is_there):
                (folder / name).write_bytes(path.read_bytes())


def _replace_chat_template(folder: Path, source: str) -> None:
    """Writes it where readers look first, and takes the publisher's from where others look."""
    config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    if config.pop("chat_template", None) is not None:
        _write_json(folder / _CONFIG, config)
    (folder / "chat_template.json").unlink(missing_ok=True)
    (folder / "chat_template.jinja").write_text(source, encoding="utf-8")


def make_tokenizer_config(tokenizer: Any) -> dict[str, Any]:
    """Returns `tokenizer_config.json` of a tokenizer whose publisher has none.

    The class is the one that takes `tokenizer.json` as it is, in transformers 4 and 5.
    """
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        # That class would add the types of BERT's tokens, which these models do not take.
        "model_input_names": ["input_ids", "attention_mask"],
    }
    for name, key in (("start_token", "bos_token"), ("end_token", "eos_token"), ("pad_token", "pad_token")):
        if token := getattr(tokenizer, name, None):
            config[key] = token
    if "eos_token" in config:
        config.setdefault("pad_token", config["eos_token"])  # without one it cannot make batches
    return config


def _add_start_token(rules: dict[str, Any], tokenizer: Any) -> dict[str, Any]:
    """The model was trained on texts that begin with its start token, so a text must begin with it elsewhere too."""
    token, token_id = getattr(tokenizer, "start_token", None), getattr(tokenizer, "start_token_id", None)
    if token is None or token_id is None:
        return rules
    start = {"SpecialToken": {"id": token, "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in ("A", "B"))
    return rules | {
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [start, first],
            "pair": [start, first, second],
            "special_tokens": {token: {"id": token, "ids": [int(token_id)], "tokens": [token]}},
        }
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
