"""Checks of one record and its mapping to the features of a raw example. Pure functions: no Beam, no TFX.

A record that does not fit raises `BadRecordError`; nothing is guessed or repaired, and nothing converted but numbers and truth values, which
become their text, so that what the model is trained on is what the file says.
"""

import difflib
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.conditions import Condition
from components.example_gen.conversations import make_messages, make_tools
from components.example_gen.item import MISSING, BadRecordError, type_name, write_scalar
from components.text import features
from components.text.cleaning import has_text
from components.text.conversation import Conversation, dump_conversation
from components.text.record_cleaning import join_request
from components.text.templates import write_answer

__all__ = ["MISSING", "Columns", "get_column", "make_example", "make_messages", "missing_columns_text"]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns feed which features; those carried along; which records are wanted; and the system text of those that have none.

    `instruction`, `input` and `output`, perhaps with a `system` text, which makes them a conversation; or `messages`, perhaps with a
    `system` text, definitions of `tools` and the last answer as `output`; or `text`.
    """

    instruction: str | None = None
    input: str | None = None
    output: str | None = None
    messages: str | None = None
    system: str | None = None
    tools: str | None = None
    text: str | None = None
    slices: tuple[str, ...] = ()
    carried: tuple[str, ...] = ()
    where: tuple[Condition, ...] = ()
    default_system: str = ""
    section: str = "data"

    @classmethod
    def from_config(cls, data_config: Mapping[str, Any]) -> "Columns":
        """Takes them from the `data` section of a run, see `InstructionExampleGen`."""
        return cls(
            **data_config["columns"],
            slices=tuple(data_config.get("slice_columns") or ()),
            carried=tuple(data_config.get("carry_columns") or ()),
            where=tuple(map(Condition.parse, data_config.get("where") or ())),
            default_system=data_config.get("default_system") or "",
            section=data_config.get("section", "data"),
        )

    @property
    def required(self) -> dict[str, str]:
        """Column by option name, for those that every record must have."""
        columns = f"{self.section}.columns"
        if self.messages:
            answer = {f"{columns}.output": self.output} if self.output else {}
            return {f"{columns}.messages": self.messages} | answer
        if self.text:
            return {f"{columns}.text": self.text}
        return {f"{columns}.instruction": str(self.instruction), f"{columns}.output": str(self.output)}

    @property
    def optional(self) -> dict[str, str]:
        """Column by option name, for those that a record may lack."""
        named = {"input": self.input, "system": self.system, "tools": self.tools}
        columns = {f"{self.section}.columns.{option}": name for option, name in named.items() if name}
        columns |= {f"data.slice_columns[{i}]": name for i, name in enumerate(self.slices)}
        columns |= {f"data.carry_columns[{i}]": name for i, name in enumerate(self.carried)}
        return columns | {f"data.where[{i}]": condition.key for i, condition in enumerate(self.where)}

    def is_wanted(self, record: Mapping[str, Any]) -> bool:
        """Returns whether a record fulfils all conditions of `data.where`; one that lacks the column fulfils `!=` alone."""
        for condition in self.where:
            value = get_column(record, condition.key)
            if not condition.fits(None if value is MISSING else value):
                return False
        return True


def get_column(record: Mapping[str, Any], column: str) -> Any:
    """Returns the value of a column, or `MISSING`.

    A name with dots reaches into objects and lists (`instances.0.input`), unless the record has a key of that very name.
    """
    if column in record:
        return record[column]
    if "." not in column:
        return MISSING
    value: Any = record
    for part in column.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isascii() and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return MISSING
    return value


def missing_columns_text(missing: Mapping[str, str], there: list[str]) -> str:
    """Says that columns are in no record.

    Args:
        missing: Column by the option that names it.
        there: The columns that there are.
    """
    parts = []
    for option, column in missing.items():
        close = difflib.get_close_matches(column, there, n=1, cutoff=0.6)
        hint = f" Did you mean `{close[0]}`?" if close else ""
        parts.append(f"{option} is `{column}`, which no record has.{hint}")
    options = ", ".join(f"`{option}`" for option in missing)
    shown = ", ".join(f"`{name[:80]}`" for name in there[:30]) + (", ..." if len(there) > 30 else "")
    return f"{' '.join(parts)} Columns there are: {shown}. Set {options} to these."


def make_example(record: Mapping[str, Any], columns: Columns, source: str) -> dict[str, str]:
    """Maps a record to the features of a raw example.

    Args:
        record: Column name to value, as parsed from the file.
        columns: Which column feeds which feature.
        source: Base name of the file; part of `example_id`.

    Returns:
        Feature name to text: `instruction`, `input` ("" where absent), `output`, `example_id`, `source`, each slice
        column and each carried one ("" where absent), and for chats `messages`. A chat's `instruction` is its first user turn,
        its `output` the last assistant turn that is to be trained, so that statistics and slices mean the same for both shapes.

    Raises:
        BadRecordError: If the record does not fit.
    """
    if columns.messages:
        messages = make_messages(
            get_column(record, columns.messages),
            _optional_text(record, columns.system),
            _required_text(record, columns.output) if columns.output else None,
        )
        tools = make_tools(get_column(record, columns.tools)) if columns.tools else []
        text = {
            features.INSTRUCTION: next(turn["content"] for turn in messages if turn["role"] == "user"),
            features.INPUT: "",
            features.OUTPUT: write_answer(messages[Conversation(messages=messages).trained[-1]]),
            features.MESSAGES: dump_conversation(messages, tools),
        }
    elif columns.text:
        text = {
            features.INSTRUCTION: "",
            features.INPUT: "",
            features.OUTPUT: _required_text(record, columns.text),
        }
    else:
        text = {
            features.INSTRUCTION: _required_text(record, str(columns.instruction)),
            features.INPUT: _optional_text(record, columns.input),
            features.OUTPUT: _required_text(record, str(columns.output)),
        }
        if columns.system:
            request = {"role": "user", "content": join_request(text[features.INSTRUCTION], text[features.INPUT])}
            messages = make_messages([request], _optional_text(record, columns.system), text[features.OUTPUT])
            text[features.MESSAGES] = dump_conversation(messages)
    content = json.dumps([source, *text.values()], ensure_ascii=False).encode()
    example = text | {
        features.EXAMPLE_ID: hashlib.sha256(content).hexdigest()[:32],
        features.SOURCE: source,
    }
    for name in columns.slices:
        example[name] = _slice_text(record, name)
    for name in columns.carried:
        example[name] = _carried_text(record, name)
    return example


def _required_text(record: Mapping[str, Any], column: str) -> str:
    value = get_column(record, column)
    if value is MISSING or value is None:
        raise BadRecordError(f"`{column}` is missing", "null" if value is None else "")
    if isinstance(value, float) and math.isinf(value):
        raise BadRecordError(f"`{column}` is not finite", str(value))
    return _text(write_scalar(value), f"`{column}`", f"`{column}`")


def _optional_text(record: Mapping[str, Any], column: str | None) -> str:
    value = get_column(record, column) if column else None
    if value is MISSING or value is None:
        return ""
    return _text(write_scalar(value), f"`{column}`", f"`{column}`", may_be_empty=True)


def _slice_text(record: Mapping[str, Any], column: str) -> str:
    value = write_scalar(get_column(record, column))
    if value is MISSING or value is None:
        value = ""
    return _text(value, f"`{column}`", f"`{column}`", may_be_empty=True)


def _carried_text(record: Mapping[str, Any], column: str) -> str:
    """Text as it is; anything else as JSON."""
    value = get_column(record, column)
    if value is MISSING or value is None:
        value = ""
    elif isinstance(value, float) and math.isfinite(value):
        value = str(value)  # as it is written
    elif not isinstance(value, str):
        try:
            value = json.dumps(value, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise BadRecordError(f"`{column}` has the wrong type", f"it cannot be JSON: {error}"[:200]) from None
    return _text(value, f"`{column}`", f"`{column}`", may_be_empty=True)


def _text(value: Any, kind: str, name: str, may_be_empty: bool = False) -> str:
    """Returns `value` if it is text that UTF-8 can hold (and not blank)."""
    if not isinstance(value, str):
        raise BadRecordError(f"{kind} has the wrong type", f"{name} must be text, is {type_name(value)}")
    if not (may_be_empty or has_text(value)):
        raise BadRecordError(f"{kind} is empty", name if name != kind else "")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        detail = f"{name} holds U+{ord(value[error.start]):04X} at character {error.start + 1}"
        raise BadRecordError("half of a surrogate pair, which is no character", detail) from None
    return value
