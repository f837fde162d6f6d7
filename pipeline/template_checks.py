"""What can be said of a run's template before anything runs: without a tokenizer, from the preset's files alone."""

import os
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.options import nearest
from components.presets.handles import HUB, find_handle_problem, find_snapshot
from components.presets.side_files import find_side_file, read_json_object
from components.presets.tokenizer_files import read_ids
from components.text.chat_template import ChatTemplate, RefusedConversationError
from components.text.named_chat_templates import list_needed_tokens
from components.text.template_choice import AUTO, TEMPLATE_NAMES, load_template
from configs.load import Problem
from configs.schema import DataSection, ModelSection, TextSection

_ANSWER = {"role": "assistant", "content": "Hello."}


def find_template_problems(text: TextSection, model: ModelSection | None, data: DataSection | None) -> list[Problem]:
    """Returns what is wrong with `text.template` and what the template needs.

    Args:
        text: The run's.
        model: The run's; None if it is not valid itself. A preset that is not on this machine is not looked into.
        data: The run's; None if it is not valid itself.
    """
    if text.template not in TEMPLATE_NAMES:
        message = (
            f"unknown template.{nearest(text.template, TEMPLATE_NAMES)} Templates: {', '.join(TEMPLATE_NAMES)}. "
            f"Received: {text.template!r}."
        )
        return [Problem("text.template", message)]
    folder = _find_folder(model.preset) if model is not None else None
    try:
        template = load_template(text.model_dump(mode="json"), folder)
        if not isinstance(template, ChatTemplate):
            return []
        return [*_find_missing_tokens(template, folder), *_find_refusals(template, text, data)]
    except UserError as error:
        return [Problem("text.template", str(error))]


def _find_folder(preset: str) -> Path | None:
    if preset.startswith(HUB):
        found = None if find_handle_problem(preset) else find_snapshot(preset, with_weights=False)
        return Path(found.folder) if found else None
    return Path(preset) if os.path.isdir(preset) else None


def _find_missing_tokens(template: ChatTemplate, folder: Path | None) -> list[Problem]:
    known = _read_tokens(folder) if folder is not None else None
    missing = [token for token in list_needed_tokens(template.name) if known is not None and token not in known]
    if not missing:
        return []
    message = (
        f"`{template.name}` writes special tokens that the model must know. The tokenizer of {folder} has no "
        f"{', '.join(f'`{token}`' for token in missing)}. Take `{AUTO}`, another template, or a preset that was made for this one."
    )
    return [Problem("text.template", message)]


def _find_refusals(template: ChatTemplate, text: TextSection, data: DataSection | None) -> list[Problem]:
    """Tries the shortest conversations that the data can have."""
    plain: list[dict[str, Any]] = [{"role": "user", "content": "Hi."}]
    with_system: list[dict[str, Any]] = [{"role": "system", "content": text.system or "."}, *plain]
    if (reason := _find_refusal(template, with_system)) and text.system:
        message = (
            f"the chat template `{template.name}` must have a place for it. It says: {reason}. Leave `system` out."
        )
        return [Problem("text.system", message)]
    # In conversations the data may bring what the template asks for.
    may_have_system = (
        bool(text.system) or data is None or data.columns.messages is not None or data.columns.system is not None
    )
    if (own := _find_refusal(template, plain)) and (reason or not may_have_system):
        message = (
            f"the chat template `{template.name}` must take a request and an answer. It says: {own}. Name another template"
            f"{'' if reason else ', or give `text.system`'}."
        )
        return [Problem("text.template", message)]
    return []


def _find_refusal(template: ChatTemplate, turns: list[dict[str, Any]]) -> str:
    """Returns why the template does not render some turns, as a request and with an answer; "" if it does."""
    try:
        template.render(turns, add_generation_prompt=True)
        template.render([*turns, _ANSWER], add_generation_prompt=False)
    except RefusedConversationError as error:
        return str(error).rstrip(".")
    return ""


def _read_tokens(folder: Path) -> set[str] | None:
    """Returns the tokens of a preset; None if they stand in a file that says so only to its own library."""
    if path := find_side_file(folder, "tokenizer.json"):
        ids = read_ids(read_json_object(path) or {})
        return None if ids is None else set(ids)  # what is wrong with the file is told of the preset
    vocabulary = read_json_object(folder / "assets" / "tokenizer" / "vocabulary.json")
    return set(vocabulary) if vocabulary is not None else None
