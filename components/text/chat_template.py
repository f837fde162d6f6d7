"""Chat templates in Jinja, as publishers ship them with a model: found, compiled and rendered as transformers does it."""

import copy
import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from components.errors import UserError
from components.presets.side_files import find_side_file, read_json_object
from components.text.conversation import REASONING_KEYS
from components.text.template_limits import TemplateLimitError
from components.text.template_sandbox import TemplateEnvironment, make_marks

# What `strftime_now` takes for today unless `text.date` says otherwise: a fixed day, so that a run can be repeated and taken
# from the cache, and the model is served with the very text that it was trained on. Llama 3's own templates name this one
# where they are given no clock.
DEFAULT_DATE = "2024-07-26"
# The one of several templates that is used, without tools and with them.
DEFAULT, TOOL_USE = "default", "tool_use"

Message = Mapping[str, Any]


class RefusedConversationError(Exception):
    """A chat template does not render a conversation; the text is the template's own, or what went wrong in it."""


class ChatTemplate:
    """A model's chat template: from messages to the text that the model reads.

    Attributes:
        name: What `text.template` calls it.
        sources: Jinja by name; `default`, and `tool_use` where the model has one more for conversations with tools.
        variables: What the templates can read besides the conversation: `bos_token`, `eos_token` and the like.
        date: What `strftime_now` takes for today, YYYY-MM-DD.
    """

    def __init__(self, name: str, sources: Mapping[str, str], variables: Mapping[str, str], date: str = DEFAULT_DATE):
        """Compiles the templates.

        Raises:
            UserError: If one is not valid Jinja, or none is the default.
        """
        self.name = name
        self.sources = dict(sources)
        self.variables = dict(variables)
        self.date = date
        if not {DEFAULT, TOOL_USE} & set(self.sources):
            raise UserError(
                "one of several chat templates of a model must be called `default`. Received: "
                f"{', '.join(sorted(self.sources)) or 'none'}. Put the right one into a file chat_template.jinja."
            )
        self._environment = TemplateEnvironment(datetime.date.fromisoformat(date))
        self._marks = make_marks()
        self._compiled = {key: self._compile(source) for key, source in self.sources.items()}
        self._marking = {key for key in self.sources if self._uses_generation(key)}

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool,
        tools: Sequence[Any] | None = None,
        documents: Sequence[Any] | None = None,
    ) -> str:
        """Returns the text of a conversation, byte for byte what transformers' `apply_chat_template` gives.

        Args:
            messages: OpenAI's form: `role`, `content`, and `tool_calls` and the like where there are any.
            add_generation_prompt: Whether the text asks for an answer.
            tools: Definitions of tools; None for none.
            documents: What to answer from; None for nothing.

        Raises:
            RefusedConversationError: If the template does not render it.
            UserError: If the template takes too much time or memory.
        """
        return self._render(messages, add_generation_prompt, tools, documents, marks=None)

    def render_with_generation(
        self, messages: Sequence[Message], tools: Sequence[Any] | None = None
    ) -> tuple[str, list[tuple[int, int]]]:
        """Returns the text of a conversation, and the [start, end) characters of each `{% generation %}` block.

        Raises:
            RefusedConversationError: If the template does not render it.
            UserError: If the template takes too much time or memory.
        """
        begin, end = self._marks
        marked = self._render(messages, False, tools, None, self._marks)
        text, spans = "", []
        for i, piece in enumerate(marked.split(begin)):
            inside, found, outside = piece.partition(end)
            if (i > 0) != bool(found):
                raise RefusedConversationError("a {% generation %} block lies within another, or is shown in part")
            if found:
                spans.append((len(text), len(text) + len(inside)))
            text += inside + outside
        if text != self.render(messages, add_generation_prompt=False, tools=tools):
            raise RefusedConversationError("the text inside of a {% generation %} block is changed behind it")
        return text, spans

    def marks_generation(self, tools: Sequence[Any] | None = None) -> bool:
        """Returns whether the template says by `{% generation %}` what the model writes."""
        return self._choose(tools) in self._marking

    def with_variables(self, variables: Mapping[str, str]) -> "ChatTemplate":
        """Returns the template with values for variables that it has none for."""
        return ChatTemplate(self.name, self.sources, {**variables, **self.variables}, self.date)

    def _uses_generation(self, key: str) -> bool:
        tree = self._environment.parse(self.sources[key])
        return any(
            isinstance(call.call, jinja2.nodes.Call)
            and isinstance(call.call.node, jinja2.nodes.ExtensionAttribute)
            and call.call.node.name == "_surround"
            for call in tree.find_all(jinja2.nodes.CallBlock)
        )

    def _choose(self, tools: Sequence[Any] | None) -> str:
        wanted = TOOL_USE if tools is not None else DEFAULT
        return wanted if wanted in self.sources else next(k for k in (DEFAULT, TOOL_USE) if k in self.sources)

    def _compile(self, source: str) -> jinja2.Template:
        try:
            return self._environment.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise UserError(
                f"the chat template `{self.name}` must be valid Jinja. Received, in line {error.lineno}: {error.message}. "
                "Mend chat_template.jinja, or name another template in `text.template`."
            ) from error
        except Exception as error:  # too deep for the parser, and the like
            raise UserError(
                f"the chat template `{self.name}` must be Jinja that can be compiled. Received: {type(error).__name__}: "
                f"{error}. Mend chat_template.jinja, or name another template in `text.template`."
            ) from error

    def _render(
        self,
        messages: Sequence[Message],
        add_generation_prompt: bool,
        tools: Sequence[Any] | None,
        documents: Sequence[Any] | None,
        marks: tuple[str, str] | None,
    ) -> str:
        variables = {
            **self.variables,
            "messages": [_to_seen(message) for message in messages],
            "tools": copy.deepcopy(tools) if tools is not None else None,
            "documents": copy.deepcopy(documents) if documents is not None else None,
            "add_generation_prompt": add_generation_prompt,
        }
        try:
            return self._environment.render(self._compiled[self._choose(tools)], variables, marks)
        except TemplateLimitError as error:
            raise UserError(
                f"the chat template `{self.name}` must end soon, with a text of bounded length. Received: {error}. Mend the "
                "template, or name another one in `text.template`."
            ) from error
        except RecursionError as error:
            raise UserError(
                f"the chat template `{self.name}` must end. Received: a macro that calls itself without end. Mend the template, "
                "or name another one in `text.template`."
            ) from error
        except jinja2.TemplateError as error:
            raise RefusedConversationError(error.message or type(error).__name__) from error
        except Exception as error:  # a template can fail in all ways in which Python can
            raise RefusedConversationError(f"{type(error).__name__}: {error}") from error


def find_chat_template(folder: str | Path, date: str = DEFAULT_DATE) -> ChatTemplate | None:
    """Returns the chat template that a model's publisher wrote, or None.

    Args:
        folder: A preset, as a local folder.
        date: What it takes for today.

    Raises:
        UserError: If the template is not valid.
    """
    config = _read(folder, "tokenizer_config.json")
    if path := find_side_file(folder, "chat_template.jinja"):
        try:
            found: Any = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{path} must be UTF-8 text: {error}. Download it again.") from error
    else:
        found = config.get("chat_template") or _read(folder, "chat_template.json").get("chat_template")
    if isinstance(found, list):
        found = {
            item["name"]: item["template"]
            for item in found
            if isinstance(item, dict) and isinstance(item.get("name"), str) and isinstance(item.get("template"), str)
        }
    if isinstance(found, str):
        found = {DEFAULT: found}
    if not isinstance(found, dict) or not found:
        return None
    return ChatTemplate("auto", found, read_special_tokens(folder), date)


def read_special_tokens(folder: str | Path) -> dict[str, str]:
    """Returns the model's special tokens by the names that templates know: `bos_token`, `eos_token`, `pad_token`, ..."""
    found: dict[str, str] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        for key, value in _read(folder, name).items():
            token = value.get("content") if isinstance(value, dict) else value
            if key.endswith("_token") and isinstance(token, str):
                found[key] = token
    return found


def _read(folder: str | Path, name: str) -> dict[str, Any]:
    path = find_side_file(folder, name)
    return (read_json_object(path) if path else None) or {}


def _to_seen(message: Message) -> dict[str, Any]:
    """Returns a message as a template sees it: a copy, without what is null, its reasoning under all usual names."""
    seen = {
        key: value if isinstance(value, str) else copy.deepcopy(value)
        for key, value in message.items()
        if value is not None
    }
    reasoning = next((seen[key] for key in REASONING_KEYS if key in seen), None)
    return seen if reasoning is None else {"thinking": reasoning, **seen, "reasoning_content": reasoning}
