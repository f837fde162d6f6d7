"""Reader of Parquet, a batch of rows at a time."""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow
import pyarrow.parquet

from components.errors import UserError
from components.example_gen.item import BadRecordError, FileFacts, Item
from components.example_gen.records import Columns


def read_parquet(stream: BinaryIO, facts: FileFacts, columns: Columns) -> Iterator[Item]:
    """Reads Parquet, and of its columns only those that are used."""
    try:
        file = pyarrow.parquet.ParquetFile(stream)
        facts.columns = file.schema_arrow.names
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
                except UnicodeDecodeError:
                    yield Item(record, None, _binary_row(row), None, BadRecordError("not UTF-8"))
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(
            f"must be a Parquet file. Reading it fails: {error}. Write it again, or set `data.format`."
        ) from None


def _binary_row(row: Any) -> bytes:
    """Returns a row with text that is not UTF-8 as JSON, the bad bytes written `\\xNN`."""
    value = {}
    for name, column in zip(row.schema.names, row.columns, strict=True):
        try:
            value[name] = column[0].as_py()
        except UnicodeDecodeError:
            is_text = pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type)
            value[name] = (
                column.cast(pyarrow.binary())[0].as_py().decode("utf-8", "backslashreplace") if is_text else None
            )
    return json.dumps(value, ensure_ascii=False, default=str).encode()
