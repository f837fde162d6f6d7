"""What ends an answer of a model that is asked by a template."""

from pathlib import Path
from typing import Any

from components.text.answer_spans import find_answer_form
from components.text.chat_template import ChatTemplate
from components.text.model_tokenizer import list_end_token_ids, list_special_tokens
from components.text.templates import PromptTemplate


def list_stop_ids(tokenizer: Any, template: PromptTemplate | ChatTemplate, folder: str | Path) -> list[int]:
    """Returns the ids of the tokens that end an answer; the first one is what the template closes an answer with.

    Args:
        tokenizer: The model's.
        template: With values for its variables.
        folder: The preset, as a local folder.
    """
    stop_ids = list(list_end_token_ids(tokenizer, folder))
    if isinstance(template, ChatTemplate) and (end := find_answer_form(template, list_special_tokens(tokenizer)).end):
        stop_ids = [int(tokenizer(end)[0]), *stop_ids]
    return list(dict.fromkeys(stop_ids))
