"""Reader of Parquet, a batch of rows at a time."""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow
import pyarrow.parquet

from components.errors import UserError
from components.example_gen.item import BadRecordError, FileFacts, Item, check_names, describe_bad_byte
from components.example_gen.records import Columns

# What Arrow raises for a value that Python has nothing for: years beyond 9999, unknown time zones, text that is not UTF-8.
_VALUE_ERRORS = (pyarrow.ArrowException, ValueError, ArithmeticError, KeyError)


def read_parquet(stream: BinaryIO, facts: FileFacts, columns: Columns) -> Iterator[Item]:
    """Reads Parquet, and of its columns only those that are used."""
    try:
        file = pyarrow.parquet.ParquetFile(stream)
        facts.columns = file.schema_arrow.names
        check_names(facts.columns)
        used = [*columns.required.values(), *columns.optional.values()]
        wanted = [name for name in facts.columns if any(c == name or c.startswith(f"{name}.") for c in used)]
        record = 0
        # With none of them there, one column is read all the same, so that the rows are counted.
        for batch in file.iter_batches(batch_size=256, columns=wanted or facts.columns[:1]):
            for index in range(batch.num_rows):
                record += 1
                row = batch.slice(index, 1)
                try:
                    yield Item(record, None, None, row.to_pylist()[0])
                except _VALUE_ERRORS:
                    yield Item(record, None, *_read_bad_row(row))
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"must be a Parquet file. Reading it fails: {error}. Write it again, or set `data.format`."
        ) from None


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
