"""The special tokens of a model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.receipt.rows import SpecialTokens
from components.text.chat_template import ChatTemplate
from components.text.model_tokenizer import get_backend, list_special_tokens
from components.text.stop_ids import list_stop_ids
from components.text.template_choice import load_template
from components.text.tokenization import prepare_template, start_token_id


def find_special_tokens(tokenizer: Any, folder: str | Path, text: Mapping[str, Any]) -> SpecialTokens:
    """Returns the special tokens of a preset's tokenizer.

    Args:
        tokenizer: See `components.text.model_tokenizer.load_tokenizer`.
        folder: The preset that it comes from.
        text: The run's `text` section: a template may close answers with a token of its own.
    """
    template = load_template(text, folder)
    if isinstance(template, ChatTemplate):
        template = prepare_template(template, tokenizer)
    end_ids, start = tuple(list_stop_ids(tokenizer, template, folder)), start_token_id(tokenizer)
    # KerasHub's own tables lack some special tokens of the publisher.
    backend = get_backend(tokenizer)
    ids = [(backend or tokenizer).token_to_id(token) for token in list_special_tokens(tokenizer)]
    return SpecialTokens(
        start_id=None if start is None else int(start),
        end_ids=end_ids,
        all_ids=frozenset(end_ids) | {int(token_id) for token_id in ids if token_id is not None},
    )
