"""Chat templates of models."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.text.chat_template import ChatTemplate, RefusedConversationError

from .words import WORDS

_TEMPLATES = Path(__file__).resolve().parents[2] / "components" / "text" / "chat_templates"


class Template:
    """A model's chat template: compiled, and rendered for conversations with and without tools.

    An input is a template, and after a NUL perhaps messages in JSON.
    """

    TURNS: tuple[list[dict[str, Any]], ...] = (
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
        [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": ""}],
    )

    def __init__(self, folder: Path):
        del folder

    def __call__(self, data: bytes) -> None:
        source, _, given = data.partition(b"\0")
        conversations = list(self.TURNS)
        with contextlib.suppress(ValueError, RecursionError):
            parsed = json.loads(given)
            if isinstance(parsed, list) and all(isinstance(turn, dict) and "role" in turn for turn in parsed):
                conversations.append(parsed)
        tokens = {"bos_token": "<s>", "eos_token": "</s>"}
        try:
            template = ChatTemplate("fuzzed", {"default": source.decode("utf-8", "replace")}, tokens)
        except UserError:
            return
        for turns in conversations:
            before = json.dumps(turns)
            for tools in (None, [{"type": "function", "function": {"name": "f", "parameters": {}}}]):
                with contextlib.suppress(RefusedConversationError, UserError):
                    text = template.render(turns, add_generation_prompt=True, tools=tools)
                    assert isinstance(text, str)
                    marked, spans = template.render_with_generation(turns, tools)
                    assert all(0 <= start <= end <= len(marked) for start, end in spans)
            assert json.dumps(turns) == before, "a template has changed the messages"

    def list_seeds(self) -> Iterator[bytes]:
        """Templates of real models, if they are there, and what Jinja has."""
        for path in sorted(_TEMPLATES.glob("*.jinja")):
            yield path.read_bytes()
        turns = json.dumps([{"role": "user", "content": "a", "tool_calls": [{"function": {"arguments": {}}}]}]).encode()
        yield b"{% for m in messages %}{{ m.role ~ m['content'] | tojson(indent=2) }}{% endfor %}\0" + turns
        yield b"{%- macro f(x) -%}{{ x|trim }}{%- endmacro -%}{% generation %}{{ f(messages[0].content) }}{% endgeneration %}"
        yield b"{% set ns = namespace(n=0) %}{% for m in messages if m.role %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ '%d' % ns.n }}"

    def list_words(self) -> list[str]:
        """Jinja's words, and ways out of its sandbox that have been tried."""
        return WORDS["template"]
