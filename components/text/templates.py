"""Prompt templates: how an instruction, or a conversation, becomes the text that the model completes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.errors import UserError

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, kw_only=True)
class PromptTemplate:
    """The fixed texts around the parts of a prompt.

    A prompt is `[system] user_prefix instruction [input_prefix input] response_prefix`; the model completes it with the
    response and the end token. A conversation repeats user and assistant turns, each assistant turn closed by
    `turn_suffix`, and asks for the last assistant turn.

    Attributes:
        description: One line for `--help` and error messages.
        system_prefix: Before the system text.
        system_suffix: After the system text.
        user_prefix: Before the instruction or a user turn.
        input_prefix: Between the instruction and its input.
        response_prefix: After the user's part; where the model's part begins.
        turn_suffix: After each assistant turn but the last one.
    """

    description: str
    system_prefix: str = ""
    system_suffix: str = "\n\n"
    user_prefix: str
    input_prefix: str = "\n"
    response_prefix: str
    turn_suffix: str = "\n"

    def prefix(self, system: str = "") -> str:
        """Returns everything that stands before the instruction."""
        head = f"{self.system_prefix}{system}{self.system_suffix}" if system else ""
        return head + self.user_prefix

    def render(self, instruction: str, input: str = "", system: str = "") -> str:
        """Returns the prompt of one instruction."""
        body = f"{instruction}{self.input_prefix}{input}" if input else instruction
        return self.prefix(system) + body + self.response_prefix

    def render_messages(self, messages: Sequence[Mapping[str, str]], system: str = "") -> tuple[str, str]:
        """Returns (prompt, response) of a conversation: the response is its last assistant turn.

        Args:
            messages: `[{"role": "system" | "user" | "assistant", "content": text}, ...]`, ending with an assistant turn.
            system: Used where the conversation has no system turn of its own.

        Raises:
            UserError: If the conversation is not of that form.
        """
        turns = list(messages)
        if turns and turns[0]["role"] == "system":
            system = turns.pop(0)["content"]
        if len(turns) < 2 or turns[-1]["role"] != "assistant" or turns[0]["role"] != "user":
            raise UserError(
                "a conversation must start with a user turn (after an optional system turn) and end with an assistant turn. "
                f"Received roles: {[m['role'] for m in messages]}."
            )
        text = f"{self.system_prefix}{system}{self.system_suffix}" if system else ""
        for turn in turns[:-1]:
            if turn["role"] == "user":
                text += self.user_prefix + turn["content"]
            elif turn["role"] == "assistant":
                text += self.response_prefix + turn["content"] + self.turn_suffix
            else:
                raise UserError(f"a turn's role must be one of user, assistant. Received: {turn['role']!r}.")
        return text + self.response_prefix, turns[-1]["content"]


TEMPLATES: dict[str, PromptTemplate] = {
    "alpaca": PromptTemplate(
        description="headings as in Stanford Alpaca, without its preamble",
        user_prefix="### Instruction:\n",
        input_prefix="\n\n### Input:\n",
        response_prefix="\n\n### Response:\n",
        turn_suffix="\n\n",
    ),
    "chat": PromptTemplate(
        description="turns that begin with the speaker's name",
        user_prefix="User: ",
        input_prefix="\n",
        response_prefix="\nAssistant:\n",
        turn_suffix="\n",
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
