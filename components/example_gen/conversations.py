"""Conversations of the usual shapes, brought into one form: OpenAI's, which chat templates read. Pure functions.

What is missing or does not fit makes the record bad; no turn is left out, merged or invented. Whether a model's template takes
the turns as they come is for the template to say.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from components.example_gen.item import MISSING, BadRecordError, type_name, write_scalar
from components.example_gen.json_text import JsonSyntaxError, parse_json
from components.text.cleaning import has_text
from components.text.conversation import REASONING_KEYS, TRAIN

# Role names of the common chat shapes (OpenAI's `role`, ShareGPT's `from`), in small letters, and what they are called here.
ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "ai": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "tool_response": "tool",
    "ipython": "tool",
}
# Roles whose text spells out what is called.
_CALLS = ("function_call", "tool_call")
# By which libraries name what a tool is called with, and what else a call may have.
_ARGUMENTS = ("arguments", "parameters", "args", "input")
_BESIDE_ARGUMENTS = frozenset(("name", "type", "id", "index", "call_id", *_ARGUMENTS))
# Keys of a turn that templates read besides role and content, all of them text.
_NAMES = ("name", "tool_call_id")
_TEXT_KEYS = (*_NAMES, *REASONING_KEYS)
# By which tools say whether a turn is a training target.
_TRAIN_KEYS = ("train", "training", "loss")
_OF_PYTHON = re.compile(r"\s*(?:\[\s*)?\{\s*'|\s*None\s*$")
# What templates walk through by functions that call themselves.
_MOST_NESTED = 100
_TRUTH_AS_TEXT = {"true": True, "false": False, "1": True, "0": False, "": None}
_TEXT_PARTS = ("text", "input_text", "output_text", None)
KNOWN_KEYS = frozenset(
    ("role", "from", "content", "value", "weight", "tool_calls", "function_call", *_TEXT_KEYS, *_TRAIN_KEYS)
)


def make_messages(value: Any, system: str = "", answer: str | None = None) -> list[dict[str, Any]]:
    """Normalises a conversation to `[{"role": ..., "content": ..., ...}, ...]`, see `components.text.conversation`.

    Takes `role`/`content` and ShareGPT's `from`/`value`, as a list or (CSV has no lists) as its JSON text.

    Args:
        value: As it stands in the record.
        system: System text from a column of its own; "" for none.
        answer: The last answer, from a column of its own; None for none. The conversation is then what it answers: it ends before the
            assistant's turn, and none of its turns is a training target.

    Raises:
        BadRecordError: If it is no such list, a role is not in `ROLES`, a turn is empty, the turns (after an optional system turn) do
            not start with the user and end with the assistant, or none of the assistant's is to be trained.
    """
    if isinstance(value, str):
        value = _parse_text(value, "messages") if value.strip() else None
    if value is MISSING or value is None:
        raise BadRecordError("messages are missing")
    if not isinstance(value, list):
        raise BadRecordError("messages have the wrong type", f"must be a list of turns, is {type_name(value)}")
    messages = [_make_turn(number, turn) for number, turn in enumerate(value, start=1)]
    if answer is not None:
        if messages and messages[-1]["role"] == "assistant":
            raise BadRecordError(
                "the conversation ends with an answer, and another answer stands in a column of its own"
            )
        messages = [m | {TRAIN: False} if m["role"] == "assistant" else m for m in messages]
        messages.append({"role": "assistant", "content": answer})
    if system.strip():
        if messages and messages[0]["role"] == "system" and messages[0]["content"].strip() not in ("", system.strip()):
            raise BadRecordError("the conversation has a system turn, and another system text in a column of its own")
        messages = [
            {"role": "system", "content": system},
            *(m for m in messages[:1] if m["role"] != "system"),
            *messages[1:],
        ]
    _check_order([message["role"] for message in messages])
    if not any(message["role"] == "assistant" and message.get(TRAIN, True) for message in messages):
        raise BadRecordError("no turn of the assistant is to be trained", "each has `weight: 0` or `train: false`")
    return messages


def make_tools(value: Any) -> list[Any]:
    """Normalises definitions of tools to OpenAI's `[{"type": "function", "function": {"name": ..., ...}}, ...]`; [] for none.

    Takes those, and bare `{"name": ..., "parameters": ...}`, as a list or as its JSON text.

    Raises:
        BadRecordError: If it is no such list.
    """
    if isinstance(value, str):
        if not value.strip():
            return []
        value = _parse_text(value, "tools")
    if value is MISSING or value is None:
        return []
    if not isinstance(value, list):
        raise BadRecordError("tools have the wrong type", f"must be a list of definitions, is {type_name(value)}")
    tools = []
    for number, tool in enumerate(value, start=1):
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise BadRecordError(
                "a tool has no name", f"tool {number} must be an object with `name`, or with `function`"
            )
        tools.append(tool if "function" in tool else {"type": "function", "function": tool})
    _check_characters(tools, "tools")
    return tools


def _parse_text(text: str, name: str) -> Any:
    """Returns what a column says that holds JSON as text."""
    try:
        return parse_json(text.encode("utf-8", "surrogatepass"))
    except JsonSyntaxError as error:
        hint = ". It is as Python prints it: write it with `json.dumps`" if _OF_PYTHON.match(text) else ""
        raise BadRecordError(f"{name} are text that is not JSON", f"{error.detail}{hint}"[:200]) from None
    except BadRecordError as error:
        raise BadRecordError(f"{name}: {error.kind}", error.detail) from None


def _check_order(roles: list[str]) -> None:
    turns = roles[1:] if roles[:1] == ["system"] else roles
    if "system" in turns:
        raise BadRecordError("a system turn stands after the first turn")
    if not turns:
        raise BadRecordError("the conversation has no turns")
    if turns[0] != "user":
        raise BadRecordError("the conversation does not start with a user turn", f"starts with {turns[0]}")
    if turns[-1] != "assistant":
        raise BadRecordError("the conversation does not end with an assistant turn", f"ends with {turns[-1]}")


def _make_turn(number: int, turn: Any) -> dict[str, Any]:
    if not isinstance(turn, dict):
        raise BadRecordError("a turn has the wrong type", f"turn {number} must be an object, is {type_name(turn)}")
    # Tables of several sources have the columns of both, and null in those of the other.
    given = turn["role"] if turn.get("role") is not None else turn.get("from")
    content = turn["content"] if turn.get("content") is not None else turn.get("value")
    if not isinstance(given, str):
        raise BadRecordError("a turn has no role", f"turn {number} has the keys {', '.join(turn) or 'none'}"[:200])
    named = given.strip().lower()
    role = ROLES.get(named)
    if role is None:
        raise BadRecordError(
            "a role is not one of system, user, assistant, tool", f"turn {number} has role {given!r}"[:200]
        )
    calls = _make_calls(number, turn)
    if named in _CALLS and not calls and (parsed := _parse_calls(content)):
        calls, content = parsed, ""
    if content is None and not calls and not turn.keys() & {"content", "value"}:
        raise BadRecordError("a turn has no content", f"turn {number} has the keys {', '.join(turn)}"[:200])
    # An empty system turn is how many data sets write that there is none; a tool may answer with nothing.
    is_empty = content is None and (calls or role in ("system", "tool"))
    text = "" if is_empty else _join_parts(number, content)
    if not has_text(text) and role in ("user", "assistant") and not calls:
        raise BadRecordError("a turn is empty", f"content of turn {number}")
    message: dict[str, Any] = {"role": role, "content": text}
    for key in _TEXT_KEYS:
        if (given_text := _read_text(number, key, turn.get(key))) is not None:
            message[key] = given_text
    if calls:
        if role != "assistant":
            raise BadRecordError(
                "a turn of another than the assistant calls a tool", f"turn {number} has role {given!r}"[:200]
            )
        message["tool_calls"] = calls
    if not _is_trained(number, turn):
        message[TRAIN] = False
    _check_characters(message, f"turn {number}")
    return message


def _read_text(number: int, key: str, value: Any) -> str | None:
    """Returns another text of a turn than its content; None for none, of which false and objects without values are."""
    if value is None or isinstance(value, bool) or (isinstance(value, dict) and not any(value.values())):
        return None
    if isinstance(value, int | float):
        return str(value) if key in _NAMES else None
    if isinstance(value, list):
        value = [_open_thinking(part) for part in value]
    return _join_parts(number, value, key)


def _open_thinking(part: Any) -> Any:
    is_thinking = isinstance(part, dict) and part.get("type") == "thinking"
    return part.get("thinking") if is_thinking else part


def _join_parts(number: int, content: Any, key: str = "content") -> str:
    """Returns a turn's content, or another text of it: text, or the texts of its parts."""
    if isinstance(content, list):
        texts = []
        for part in content:
            text = part.get("text") if isinstance(part, dict) and part.get("type") in _TEXT_PARTS else part
            if not isinstance(text, str):
                where = f"turn {number}" if key == "content" else f"{key} of turn {number}"
                if isinstance(part, dict) and part.get("type") in _TEXT_PARTS:
                    raise BadRecordError("a part of text has no text", f"{where}: its keys are {', '.join(part)}"[:200])
                kind = part.get("type") if isinstance(part, dict) else type_name(part)
                raise BadRecordError("a turn has a part that is not text", f"{where}: {kind!r}"[:200])
            texts.append(text)
        return "".join(texts)
    content = write_scalar(content)
    if not isinstance(content, str):
        raise BadRecordError(
            "a turn has the wrong type", f"{key} of turn {number} must be text, is {type_name(content)}"
        )
    return content


def _make_calls(number: int, turn: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the tools that a turn calls, in OpenAI's newer form, with arguments as an object: what templates read."""
    given = turn.get("tool_calls") or ([turn["function_call"]] if turn.get("function_call") else [])
    if not isinstance(given, list):
        raise BadRecordError("a tool call has the wrong type", f"turn {number} has {type_name(given)} for its calls")
    calls = []
    for call in given:
        function = call.get("function", call) if isinstance(call, dict) else {}
        made = _make_call(function)
        if made is None:
            raise BadRecordError(
                "a tool call has no name, or arguments that are no JSON object",
                f"turn {number}: {json.dumps(call, default=str)}"[:200],
            )
        name = _read_text(number, "tool_call_id", call.get("id"))
        calls.append(made if name is None else {"id": name, **made})
    return calls


def _make_call(function: Any) -> dict[str, Any] | None:
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        return None
    given = [function[key] for key in _ARGUMENTS if function.get(key) is not None]
    others = [key for key in function.keys() - _BESIDE_ARGUMENTS if function[key] is not None]
    if others and not function.keys() & set(_ARGUMENTS):
        return None  # what it is called with may stand there
    arguments = (given[0] if given else None) or {}
    if isinstance(arguments, str):
        try:
            arguments = parse_json(arguments.encode("utf-8", "surrogatepass")) if arguments.strip() else {}
        except BadRecordError:
            return None
    if not isinstance(arguments, dict):
        return None
    return {"type": "function", "function": {"name": function["name"], "arguments": arguments}}


def _parse_calls(content: Any) -> list[dict[str, Any]]:
    """Returns the calls that the text of a `function_call` turn spells out; [] if it is other text."""
    try:
        value = parse_json(content.encode("utf-8", "surrogatepass")) if isinstance(content, str) else content
    except BadRecordError:
        return []
    calls = [_make_call(item) for item in (value if isinstance(value, list) else [value])]
    return [call for call in calls if call] if calls and all(calls) else []


def _is_trained(number: int, turn: Mapping[str, Any]) -> bool:
    """Returns what a turn's `weight` (0 or 1) and `train`, `training` or `loss` (booleans) say; true without them."""
    weight = turn.get("weight")
    says = weight if isinstance(weight, int | float) else {"None": 1, "0": 0, "1": 1}.get(str(weight))
    if says not in (0, 1):
        raise BadRecordError("a turn's weight is neither 0 nor 1", f"turn {number} has weight {weight!r}"[:200])
    for key in _TRAIN_KEYS:
        train = turn.get(key)
        train = _TRUTH_AS_TEXT.get(train.strip().lower(), train) if isinstance(train, str) else train
        if train is None or (key == "loss" and train not in (0, 1)):  # a loss may also have been measured
            continue
        if train not in (0, 1):
            raise BadRecordError(f"a turn's `{key}` is no boolean", f"turn {number} has {key} {train!r}"[:200])
        says = says and train
    return bool(says)


def _count_levels(value: Any) -> int:
    levels, inside = 0, [value]
    while inside:
        levels += 1
        parts = [part.values() if isinstance(part, dict) else part for part in inside if isinstance(part, dict | list)]
        inside = [item for part in parts for item in part]
    return levels


def _check_characters(value: Any, name: str) -> None:
    """Raises if a text in `value` cannot be UTF-8, or something in it cannot be JSON."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
        if text.count("[") + text.count("{") > _MOST_NESTED and _count_levels(value) > _MOST_NESTED:
            raise BadRecordError("a value is nested too deeply", f"{name}: more than {_MOST_NESTED} levels")
    except (TypeError, ValueError, RecursionError) as error:
        if not isinstance(error, UnicodeEncodeError):
            raise BadRecordError("a value cannot be JSON", f"{name}: {error}"[:200]) from None
        detail = f"{name} holds U+{ord(error.object[error.start]):04X}"
        raise BadRecordError("half of a surrogate pair, which is no character", detail) from None
