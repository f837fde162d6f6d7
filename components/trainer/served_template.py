"""What a model that answers must know of its prompt template: texts around a request, start token, and what ends an answer."""

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.models.publisher_files import write_publisher_files
from components.presets.side_files import SIDE_FOLDER
from components.text.answer_spans import find_answer_form
from components.text.chat_template import ChatTemplate, RefusedConversationError
from components.text.cleaning import clean_text, get_level
from components.text.model_tokenizer import list_special_tokens
from components.text.request_form import NoRequestFormError, RequestForm, find_request_form, render_request
from components.text.stop_ids import list_stop_ids
from components.text.template_choice import load_template
from components.text.templates import TEMPLATES, PromptTemplate
from components.text.tokenization import prepare_template
from components.text.tokenized_record import start_token_id


@dataclass(frozen=True, kw_only=True)
class ServedTemplate:
    """A template for one model.

    Attributes:
        template: With values for its variables.
        special_tokens: The model's; their characters in a request become ordinary text.
        start_ids: What is put before a prompt that does not begin with it: the start token, or nothing.
        stop_ids: What ends an answer; the first one is what the template closes an answer with.
        opening: What the template writes before every answer, behind the prompt; "" if that is nothing, or not always the same.
        around: What becomes of a request in its prompt; None where that is not constant.
        problem: Why it is not; "" if it is.
    """

    template: PromptTemplate | ChatTemplate
    special_tokens: list[str]
    start_ids: list[int]
    stop_ids: list[int]
    opening: str
    around: RequestForm | None
    problem: str

    @property
    def is_chat(self) -> bool:
        """Whether it is a chat template."""
        return isinstance(self.template, ChatTemplate)

    @property
    def name(self) -> str:
        """What the model card calls it: its name; `auto` for the model's own."""
        if isinstance(self.template, ChatTemplate):
            return self.template.name
        return next(name for name, template in TEMPLATES.items() if template is self.template)

    def describe(self) -> dict[str, Any]:
        """Returns what the model card says of it."""
        card: dict[str, Any] = {
            "template_sha256": None,
            "special_tokens": self.special_tokens,
            "opening": self.opening,
            "no_serving_default": self.problem or None,
        }
        if isinstance(self.template, PromptTemplate):
            return card
        content = {"date": self.template.date, "variables": self.template.variables}
        digest = hashlib.sha256(json.dumps([self.template.sources, content], sort_keys=True).encode()).hexdigest()
        return {**card, "template_sha256": digest, "chat_template": content}

    def write(self, folder: str | Path) -> None:
        """Writes a named template where `find_side_file` finds it; a model's own is among its publisher's files."""
        if isinstance(self.template, ChatTemplate) and self.template.name != "auto":
            path = Path(folder) / SIDE_FOLDER / "chat_template.jinja"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.template.sources["default"], encoding="utf-8")


def find_served_template(model: Any, text: Mapping[str, Any]) -> ServedTemplate:
    """Returns the template of a loaded model, from its publisher's files.

    Args:
        model: The model, with its preprocessor.
        text: The run's `text` section.

    Raises:
        UserError: If the template is not valid, or not for this model.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_publisher_files(model, folder)
        return make_served_template(model.preprocessor.tokenizer, text, folder)


def make_served_template(tokenizer: Any, text: Mapping[str, Any], folder: str | Path) -> ServedTemplate:
    """Returns the template of a model.

    Args:
        tokenizer: The model's.
        text: The run's `text` section.
        folder: The preset, as a local folder.

    Raises:
        UserError: If the template is not valid, or not for this model.
    """
    template = load_template(text, folder)
    special = list_special_tokens(tokenizer)
    start = start_token_id(tokenizer)
    start_ids = [] if start is None else [int(start)]
    opening = ""
    if isinstance(template, ChatTemplate):
        template = prepare_template(template, tokenizer)
        opening = find_answer_form(template, special).before or ""
        system = clean_text(text["system"], get_level(text))
        start_ids = start_ids if _begins_with(template, system, special, tokenizer, start_ids) else []
    around, problem = None, ""
    try:
        around = find_request_form(template, text["system"], special, get_level(text))
    except NoRequestFormError as error:
        problem = str(error)
    return ServedTemplate(
        template=template,
        special_tokens=special,
        start_ids=start_ids,
        stop_ids=list_stop_ids(tokenizer, template, folder),
        opening=opening,
        around=around,
        problem=problem,
    )


def _begins_with(template: ChatTemplate, system: str, special: list[str], tokenizer: Any, ids: list[int]) -> bool:
    """Returns whether the template writes the start token itself; the model then expects it before any text."""
    try:
        prompt = render_request(template, "x", system, special)
    except RefusedConversationError:
        return True
    return bool(ids) and [int(i) for i in tokenizer(prompt)][:1] == ids
