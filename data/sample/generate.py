"""Write the sample data: short instruction records whose answers can be checked by exact match.

    python -m data.sample.generate                     # instructions.jsonl
    python -m data.sample.generate --dirty             # dirty.jsonl, broken on purpose

The same arguments give the same bytes on any platform and Python version.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from data.sample.tasks import TASKS, Chooser

FOLDER = Path(__file__).parent
NUM_DIRTY_GOOD_ROWS = 60
# A category is exhausted when this many draws in a row bring no new prompt.
_MAX_REPEATED_DRAWS = 2000


@dataclass(frozen=True, kw_only=True)
class Record:
    """One instruction record, with the fields in the order in which they are written."""

    instruction: str
    input: str
    output: str
    category: str

    def to_json(self) -> str:
        """Return the record as one line of JSON, without its end."""
        return json.dumps(asdict(self), ensure_ascii=False)


def make_records(seed: int, num_rows: int) -> list[Record]:
    """Return records with pairwise different prompts, the categories mixed and as even as `num_rows` allows.

    Args:
        seed: Seed of all choices.
        num_rows: Number of records.

    Raises:
        ValueError: If a category has no more prompts to give.
    """
    records = []
    for index, (category, task) in enumerate(TASKS.items()):
        wanted = num_rows // len(TASKS) + (index < num_rows % len(TASKS))
        chooser = Chooser(f"{seed}/{category}")
        prompts: dict[tuple[str, str], str] = {}
        repeated = 0
        while len(prompts) < wanted and repeated < _MAX_REPEATED_DRAWS:
            instruction, text, output = task(chooser)
            repeated = repeated + 1 if (instruction, text) in prompts else 0
            prompts.setdefault((instruction, text), output)
        if len(prompts) < wanted:
            raise ValueError(
                f"Category `{category}` has about {len(prompts)} prompts; --rows {num_rows} asks for {wanted} of it."
            )
        records += [
            Record(instruction=instruction, input=text, output=output, category=category)
            for (instruction, text), output in prompts.items()
        ]
    return Chooser(f"{seed}/order").shuffle(records)


def make_faults() -> dict[str, bytes]:
    """Return one broken or odd line for each fault that a reader of JSON Lines meets, by name, without line ends."""
    long_text = "word " * 8_000
    return {
        "missing_comma": b'{"instruction": "Say yes." "input": "", "output": "yes", "category": "yes_no"}',
        "single_quotes": b"{'instruction': 'Say yes.', 'input': '', 'output': 'yes', 'category': 'yes_no'}",
        "truncated": b'{"instruction": "Give the plural of this word.", "input": "ho',
        "trailing_text": b'{"instruction": "Say yes.", "input": "", "output": "yes", "category": "yes_no"} and more',
        "missing_output": b'{"instruction": "Say no.", "input": "", "category": "yes_no"}',
        "missing_instruction": b'{"input": "horse", "output": "horses", "category": "plural"}',
        "empty_output": b'{"instruction": "Say nothing.", "input": "", "output": "", "category": "yes_no"}',
        "blank_output": b'{"instruction": "Say nothing at all.", "input": "", "output": " \\t\\n ", "category": "yes_no"}',
        "empty_instruction": b'{"instruction": "", "input": "", "output": "yes", "category": "yes_no"}',
        "number_output": b'{"instruction": "Which number is larger, 17 or 42?", "input": "", "output": 42, "category": "comparison"}',
        "list_output": b'{"instruction": "Name a day.", "input": "", "output": ["Monday"], "category": "sequence"}',
        "nan_output": b'{"instruction": "Name a number.", "input": "", "output": NaN, "category": "comparison"}',
        "null_output": b'{"instruction": "Name a month.", "input": "", "output": null, "category": "sequence"}',
        "null_record": b"null",
        "list_record": b'["Say yes.", "", "yes", "yes_no"]',
        "number_record": b"42",
        "text_record": b'"Say yes."',
        "invalid_utf8": b'{"instruction": "Copy the word.", "input": "caf\xe9 \xff\xfe", "output": "caf\xe9", "category": "position"}',
        "duplicate_key": b'{"instruction": "Say it.", "input": "", "output": "first", "output": "second", "category": "position"}',
        "escaped_nul": b'{"instruction": "Copy it.", "input": "", "output": "a\\u0000b\\u0007", "category": "position"}',
        "raw_control": b'{"instruction": "Copy this.", "input": "", "output": "a\x00b\x1b", "category": "position"}',
        "lone_surrogate": b'{"instruction": "Copy that.", "input": "", "output": "\\ud800", "category": "position"}',
        "unknown_category": b'{"instruction": "Say when.", "input": "", "output": "now", "category": "no such category"}',
        "blank_line": b"",
        "spaces_line": b"   \t ",
        "very_long": json.dumps(
            {"instruction": "What is the first word?", "input": long_text, "output": "word", "category": "position"}
        ).encode(),
    }


def make_dirty(seed: int) -> bytes:
    """Return a JSON Lines file with good rows and every fault of `make_faults` once.

    It also starts with a byte-order mark, holds one good row twice and one with a Windows line end, and lacks the last line end.
    """
    chooser = Chooser(f"{seed}/dirty")
    good = [record.to_json().encode() for record in make_records(seed + 1, NUM_DIRTY_GOOD_ROWS)]
    lines = chooser.shuffle([*good[2:-1], good[-1] + b"\r", good[2], *make_faults().values()])
    return b"\xef\xbb\xbf" + b"\n".join([good[0], *lines, good[1]])


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".new.") as folder:
        temporary = Path(folder) / path.name
        temporary.write_bytes(content)
        temporary.replace(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Write the sample instruction data.")
    parser.add_argument("--seed", type=int, default=0, help="seed of all choices (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=6400, help="number of records (default: %(default)s)")
    parser.add_argument("--dirty", action="store_true", help="write the file that is broken on purpose instead")
    parser.add_argument(
        "--output", type=Path, help="file to write (default: instructions.jsonl or dirty.jsonl beside this script)"
    )
    options = parser.parse_args(arguments)
    if options.rows < 1:
        parser.error(f"--rows must be at least 1. Received: {options.rows}.")
    path = options.output or FOLDER / ("dirty.jsonl" if options.dirty else "instructions.jsonl")
    if options.dirty:
        content = make_dirty(options.seed)
    else:
        try:
            records = make_records(options.seed, options.rows)
        except ValueError as error:
            parser.error(str(error))
        content = "".join(record.to_json() + "\n" for record in records).encode()
    write_whole(path, content)
    print(f"{path}: {len(content):,} bytes")


if __name__ == "__main__":
    main()
