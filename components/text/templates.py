"""Prompt templates: how an instruction, or a conversation, becomes the text that the model completes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from components.errors import UserError
from components.text.conversation import has_system_text, write_call


class Turns(NamedTuple):
    """A conversation as text.

    Attributes:
        prompt: Everything before the last answer.
        response: The last answer.
        answers: [start, end) characters of `prompt` of the answers before it, by place of their message.
    """

    prompt: str
    response: str
    answers: dict[int, tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class PromptTemplate:
    """The fixed texts around the parts of a prompt.

    A prompt is `[system] user_prefix instruction [input_prefix input] response_prefix`; the model completes it with the
    response and the end token. A conversation repeats user, tool and assistant turns, with `turn_suffix` between one and the
    next user or tool turn, and asks for the last assistant turn.

    Attributes:
        description: One line for `--help` and error messages.
        system_prefix: Before the system text.
        system_suffix: After the system text.
        user_prefix: Before the instruction or a user turn.
        input_prefix: Between the instruction and its input.
        response_prefix: After the user's part; where the model's part begins.
        turn_suffix: After each turn that a user or tool turn follows.
        tool_prefix: Before what a tool has answered.
    """

    description: str
    system_prefix: str = ""
    system_suffix: str = "\n\n"
    user_prefix: str
    input_prefix: str = "\n"
    response_prefix: str
    turn_suffix: str = "\n"
    tool_prefix: str = ""

    def prefix(self, system: str = "") -> str:
        """Returns everything that stands before the instruction."""
        head = f"{self.system_prefix}{system}{self.system_suffix}" if system else ""
        return head + self.user_prefix

    def render(self, instruction: str, input: str = "", system: str = "") -> str:
        """Returns the prompt of one instruction."""
        body = f"{instruction}{self.input_prefix}{input}" if input else instruction
        return self.prefix(system) + body + self.response_prefix

    def render_messages(self, messages: Sequence[Mapping[str, Any]], system: str = "") -> tuple[str, str]:
        """Returns (prompt, response) of a conversation; see `render_turns`."""
        turns = self.render_turns(messages, system)
        return turns.prompt, turns.response

    def render_turns(
        self, messages: Sequence[Mapping[str, Any]], system: str = "", tools: Sequence[Any] | None = None
    ) -> Turns:
        """Returns a conversation as text; the response is its last assistant turn.

        A turn that calls tools is its content and the calls as JSON, one a line. Definitions of tools stand behind the system text.

        Args:
            messages: `[{"role": "system" | "user" | "assistant" | "tool", "content": text}, ...]`, ending with an assistant turn.
            system: Used where the conversation has no system turn of its own.
            tools: Definitions of tools.

        Raises:
            UserError: If the conversation is not of that form.
        """
        first = 1 if messages and messages[0]["role"] == "system" else 0
        system = messages[0]["content"] if has_system_text(messages) else system
        turns = messages[first:]
        if len(turns) < 2 or turns[-1]["role"] != "assistant" or turns[0]["role"] != "user":
            raise UserError(
                "a conversation must start with a user turn (after an optional system turn) and end with an assistant turn. "
                f"Received roles: {[m['role'] for m in messages]}."
            )
        if tools:
            listing = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
            system = f"{system}\n\nTools:\n{listing}".strip()
        text = f"{self.system_prefix}{system}{self.system_suffix}" if system else ""
        answers = {}
        for place, turn in enumerate(turns[:-1], start=first):
            if turn["role"] == "assistant":
                text += self.response_prefix
                content = write_answer(turn)
                answers[place] = (len(text), len(text) + len(content))
                text += content
            elif turn["role"] in ("user", "tool"):
                text += self.turn_suffix if place > first else ""
                text += (self.user_prefix if turn["role"] == "user" else self.tool_prefix) + turn["content"]
            else:
                raise UserError(f"a turn's role must be one of user, assistant, tool. Received: {turn['role']!r}.")
        return Turns(text + self.response_prefix, write_answer(turns[-1]), answers)


def write_answer(message: Mapping[str, Any]) -> str:
    """Returns an assistant turn as text: its content, and the calls of tools as JSON, one a line."""
    return "\n".join(filter(None, [message["content"], *map(write_call, message.get("tool_calls") or [])]))


TEMPLATES: dict[str, PromptTemplate] = {
    "alpaca": PromptTemplate(
        description="headings as in Stanford Alpaca, without its preamble",
        user_prefix="### Instruction:\n",
        input_prefix="\n\n### Input:\n",
        response_prefix="\n\n### Response:\n",
        turn_suffix="\n\n",
        tool_prefix="### Tool:\n",
    ),
    "chat": PromptTemplate(
        description="turns that begin with the speaker's name",
        user_prefix="User: ",
        input_prefix="\n",
        response_prefix="\nAssistant:\n",
        turn_suffix="\n",
        tool_prefix="Tool: ",
    ),
    "plain": PromptTemplate(
        description="nothing but the text: instruction, input, newline",
        user_prefix="",
        input_prefix="\n",
        response_prefix="\n",
        turn_suffix="\n",
    ),
    "text": PromptTemplate(
        description="nothing around the text, as for evaluation.general",
        user_prefix="",
        response_prefix="",
    ),
}
