"""Reader of Parquet, a batch of rows at a time."""

import json
import math
import os
import uuid
from collections.abc import Iterator
from datetime import date, time, timedelta
from typing import Any, BinaryIO

import numpy
import pyarrow
import pyarrow.parquet

from components.errors import UserError
from components.example_gen.item import (
    MOST_RATIO,
    MOST_UNPACKED,
    BadRecordError,
    FileFacts,
    Item,
    check_names,
    describe_bad_byte,
)
from components.example_gen.records import Columns

# What Arrow raises for a value that Python has nothing for: years beyond 9999, unknown time zones, text that is not UTF-8.
_VALUE_ERRORS = (pyarrow.ArrowException, ValueError, ArithmeticError, KeyError)
# Below the first, any ratio will do: rows of few different values take less than a bit.
_MOST_VALUES, _MOST_VALUES_A_BYTE = 1_000_000, 20
_MOST_ROWS, _MOST_BATCH_BYTES = 256, 1 << 30
# Of the text of all rows: a long system prompt that all of them have stands in the file once.
_MOST_TEXT_RATIO = 10_000


def read_parquet(stream: BinaryIO, facts: FileFacts, columns: Columns) -> Iterator[Item]:
    """Reads Parquet, and of its columns only those that are used."""
    try:
        stream.seek(0, os.SEEK_END)
        size = stream.tell()
        stream.seek(0)
        file = pyarrow.parquet.ParquetFile(stream)
        facts.columns = file.schema_arrow.names
        check_names(facts.columns)
        if not facts.columns:
            raise UserError("must be a Parquet file with columns, and has none. Write it again.")
        used = [*columns.required.values(), *columns.optional.values()]
        wanted = [name for name in facts.columns if any(c == name or c.startswith(f"{name}.") for c in used)]
        # With none of them there, one column is read all the same, so that the rows are counted.
        read = wanted or facts.columns[:1]
        num_rows = _check_size(file.metadata, read, size)
        num_bytes = 0
        types = {field.name: field.type for field in file.schema_arrow}
        to_simplify = [name for name in wanted if not _is_simple(types[name])]
        kept_levels = _count_kept_levels(columns)
        record = 0
        for batch in file.iter_batches(batch_size=num_rows, columns=read):
            # A column that is a dictionary has all of it in each batch.
            num_bytes += sum(c.nbytes for c in batch.columns if not pyarrow.types.is_dictionary(c.type))
            _check_ratio("bytes of text", num_bytes, MOST_UNPACKED, _MOST_TEXT_RATIO, size)
            for index in range(batch.num_rows):
                record += 1
                row = batch.slice(index, 1)
                try:
                    value = row.to_pylist()[0]
                    for name in to_simplify:
                        value[name] = _simplify(value[name], types[name], kept_levels.get(name))
                    yield Item(record, None, None, value)
                except _VALUE_ERRORS:
                    yield Item(record, None, *_read_bad_row(row))
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"must be a Parquet file. Reading it fails: {error}. Write it again, or set `data.format`."
        ) from None


def _check_size(told: pyarrow.parquet.FileMetaData, read: list[str], size: int) -> int:
    """Returns how many rows to read at once.

    A few kilobytes can claim rows, or items of lists, for days of reading, or pages of gigabytes; and one text of megabytes, which stands
    in the file once, can be in every row.
    """
    paths = [told.schema.column(leaf).path for leaf in range(told.num_columns)]
    leaves = [i for i, path in enumerate(paths) if any(path == name or path.startswith(f"{name}.") for name in read)]
    groups = [told.row_group(number) for number in range(told.num_row_groups)]
    values = [sum(group.column(leaf).num_values for group in groups) for leaf in leaves]
    unpacked = sum(group.column(leaf).total_uncompressed_size for group in groups for leaf in leaves)
    _check_ratio("values of a column", max([told.num_rows, *values]), _MOST_VALUES, _MOST_VALUES_A_BYTE, size)
    _check_ratio("unpacked bytes", unpacked, MOST_UNPACKED, MOST_RATIO, size)
    largest = max((sum(g.column(leaf).total_uncompressed_size for leaf in leaves) for g in groups), default=0)
    return max(1, min(_MOST_ROWS, _MOST_BATCH_BYTES // max(1, largest)))


def _check_ratio(what: str, number: int, least: int, ratio: int, size: int) -> None:
    if number > least and number > ratio * size:
        raise UserError(
            f"a Parquet file of records must not hold more than {ratio:,} {what} for each of its own bytes. Received: {number:,} {what} "
            f"in {size:,} bytes. Look at what is in it; if it is meant, write it as JSON Lines."
        )


def _is_simple(kind: pyarrow.DataType) -> bool:
    types = pyarrow.types
    return types.is_string(kind) or types.is_large_string(kind) or types.is_integer(kind) or types.is_boolean(kind)


def _count_kept_levels(columns: Columns) -> dict[str, int]:
    """Returns by column on how many levels of structs, from the outermost on, a null field is one that stays.

    All rows of a column have the fields of one struct: the arguments of a tool that one record calls are null in those of all others. Of
    a turn itself, a null field says the same as none.
    """
    levels = {columns.messages: 1, columns.tools: 0}
    return {name.partition(".")[0]: level + name.count(".") for name, level in levels.items() if name}


def _simplify(value: Any, kind: pyarrow.DataType, kept_levels: int | None = None) -> Any:
    """Returns a value as JSON would have it, wherever it stands.

    NaN is what pandas and NumPy mean by it: there is no value. Numbers with few digits (float16 and 32, decimals) have no others than
    those; times are ISO 8601; bytes that are UTF-8 are the text that other programs have written without saying so.

    Args:
        value: As Arrow gives it.
        kind: Its type.
        kept_levels: See `_count_kept_levels`; None: null fields stay on all levels.
    """
    types = pyarrow.types
    if isinstance(kind, pyarrow.BaseExtensionType):
        kind = kind.storage_type
    if value is None or _is_simple(kind):
        return value
    if types.is_struct(kind):
        inner = None if kept_levels is None else max(0, kept_levels - 1)
        parts = {name: _simplify(part, kind.field(name).type, inner) for name, part in value.items()}
        return {name: part for name, part in parts.items() if part is not None or kept_levels != 0}
    if types.is_map(kind):
        pairs = [(_simplify(key, kind.key_type), _simplify(part, kind.item_type, kept_levels)) for key, part in value]
        named = {key: part for key, part in pairs if isinstance(key, str)}
        is_object = types.is_string(kind.key_type) or types.is_large_string(kind.key_type)
        return named if is_object and len(named) == len(pairs) else [list(pair) for pair in pairs]
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return [_simplify(part, kind.value_type, kept_levels) for part in value]
    if types.is_dictionary(kind):
        return _simplify(value, kind.value_type, kept_levels)
    if types.is_floating(kind):
        number = float(str(numpy.float32(value))) if kind == pyarrow.float32() else float(str(value))
        return None if math.isnan(number) else number
    if types.is_decimal(kind):
        return format(value, "f")
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(getattr(value, "to_pytimedelta", lambda: value)())  # pandas' own writes days that are none
    return value


def _read_bad_row(row: Any) -> tuple[bytes, None, BadRecordError]:
    """Returns a row with a value that cannot be read as JSON, and what is wrong with the first such value.

    Bytes of text that are not UTF-8 are written `\\xNN`; another value that cannot be read is null.
    """
    value: dict[str, Any] = {}
    problem: BadRecordError | None = None
    for name, column in zip(row.schema.names, row.columns, strict=True):
        try:
            value[name] = column[0].as_py()
        except UnicodeDecodeError as error:
            is_text = pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type)
            raw = column.cast(pyarrow.binary())[0].as_py() if is_text else None
            value[name] = raw.decode("utf-8", "backslashreplace") if raw is not None else None
            detail = f"`{name}`: {describe_bad_byte(raw, error.start)}" if raw is not None else f"`{name}`"
            problem = problem or BadRecordError("not UTF-8", detail)
        except _VALUE_ERRORS as error:
            value[name] = None
            detail = f"`{name}` ({column.type}): {error}"[:200]
            problem = problem or BadRecordError("a value cannot be read", detail)
    text = json.dumps(value, ensure_ascii=False, default=str).encode()
    return text, None, problem or BadRecordError("a value cannot be read")
