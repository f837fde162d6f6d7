"""Conversations as examples carry them from ExampleGen to Tokenizer: messages in OpenAI's form, and tools, as JSON."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Names under which a message's reasoning is passed; the first is the one that most templates read.
REASONING_KEYS = ("reasoning_content", "thinking", "reasoning")
# Key of a message that is not to be trained, beside what templates see; false there, absent elsewhere.
TRAIN = "train"


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """Messages, and the tools that they may call.

    Attributes:
        messages: Each with `role` (system, user, assistant or tool) and `content`, text; `tool_calls`, `name` and the like where
            there are any; `train: false` where an assistant turn is no training target.
        tools: Definitions in OpenAI's form; None for none.
    """

    messages: list[dict[str, Any]]
    tools: list[Any] | None = None

    @property
    def seen(self) -> list[dict[str, Any]]:
        """The messages as a template sees them."""
        return [{key: value for key, value in message.items() if key != TRAIN} for message in self.messages]

    @property
    def trained(self) -> list[int]:
        """Places of the messages that are training targets."""
        return [i for i, m in enumerate(self.messages) if m["role"] == "assistant" and m.get(TRAIN, True)]

    def map_text(self, change: Callable[[str], str]) -> "Conversation":
        """Returns the conversation with every text in it changed, wherever it stands, but for roles."""
        messages = [
            {key: value if key == "role" else _map(value, change) for key, value in message.items()}
            for message in self.messages
        ]
        return Conversation(messages=messages, tools=_map(self.tools, change))


def has_system_text(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Returns whether a conversation begins with a system turn; one without text is how many data sets write that there is none."""
    return bool(messages) and messages[0]["role"] == "system" and bool(messages[0]["content"].strip())


def with_system(messages: Sequence[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    """Returns messages with a system turn of this text before them, if there is one and they have none of their own."""
    if not text or has_system_text(messages):
        return list(messages)
    return [{"role": "system", "content": text}, *messages[messages[0]["role"] == "system" :]]


def parse_conversation(text: str) -> Conversation:
    """Returns the conversation of a MESSAGES feature."""
    value = json.loads(text)
    if isinstance(value, list):
        return Conversation(messages=value)
    return Conversation(messages=value["messages"], tools=value["tools"])


def dump_conversation(messages: Sequence[dict[str, Any]], tools: Sequence[Any] | None = None) -> str:
    """Returns a conversation as a MESSAGES feature: a list of messages, or with tools an object of both."""
    value: Any = {"tools": list(tools), "messages": list(messages)} if tools else list(messages)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def write_call(call: dict[str, Any]) -> str:
    """Returns a tool call as JSON of its name and arguments, for prompts without a form of their own for calls."""
    function = call["function"]
    return json.dumps({"name": function["name"], "arguments": function["arguments"]}, ensure_ascii=False)


def _map(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_map(item, change) for item in value]
    if isinstance(value, dict):
        return {change(key): _map(item, change) for key, item in value.items()}
    return value
