"""Which template a run uses: one by name, or the model's own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.text.chat_template import DEFAULT_DATE, ChatTemplate, find_chat_template
from components.text.named_chat_templates import NAMED_TEMPLATES, make_named_template
from components.text.templates import TEMPLATES, PromptTemplate

# The model's own template, or the first of `TEMPLATES` for a model that has none.
AUTO, WITHOUT_OWN = "auto", "alpaca"
TEMPLATE_NAMES = (AUTO, *NAMED_TEMPLATES, *TEMPLATES)


def load_template(text: Mapping[str, Any], folder: str | Path | None) -> PromptTemplate | ChatTemplate:
    """Returns the template that a run's `text` section names.

    Args:
        text: The section: `template`, one of `TEMPLATE_NAMES`, and perhaps `date`.
        folder: The preset, as a local folder; None if there is none, which then has no template of its own.

    Raises:
        UserError: If the model's own template is not valid.
    """
    name, date = text["template"], text.get("date", DEFAULT_DATE)
    if name in TEMPLATES:
        return TEMPLATES[name]
    if name in NAMED_TEMPLATES:
        return make_named_template(name, date)
    own = find_chat_template(folder, date) if folder is not None else None
    return own or TEMPLATES[WITHOUT_OWN]
