"""What is fuzzed: functions that take any bytes and raise only if the product does what it must not.

A target lets through what the product says to its users (`UserError` and its kind, a record in quarantine, an exit code) and raises on
everything else: another exception, a record that is lost, a configuration that is not read back as it was written, control characters
on the console. They need no fuzzer: `test_cases.py` replays inputs of old, `fuzz.py` looks for new ones.
"""

import contextlib
import io
import json
import shutil
import sqlite3
import struct
import sys
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import apache_beam as beam
import click.testing
import pyarrow as pa
import pyarrow.parquet
from lineage_store import write_store
from tensorflow.core.example import example_pb2

from components.errors import UserError
from components.example_gen.files import DataFile
from components.example_gen.ingest import REPORT, IngestFile
from components.example_gen.item import QUARANTINE
from components.example_gen.records import Columns
from components.text.chat_template import ChatTemplate, RefusedConversationError
from components.text.conversation import parse_conversation
from configs.load import ConfigError, dump_config, load_runner
from configs.schema import RunConfig
from pipeline.cli import main as command_line
from pipeline.validate import load_config

ROOT = Path(__file__).resolve().parents[2]
WORDS: dict[str, list[str]] = json.loads(Path(__file__).with_name("words.json").read_text(encoding="utf-8"))


class Target(Protocol):
    """One of `TARGETS`."""

    def __call__(self, data: bytes) -> None:
        """Tries an input."""

    def list_seeds(self) -> Iterator[bytes]:
        """Inputs to begin with."""

    def list_words(self) -> list[str]:
        """What an input is likely to hold."""


class Records:
    """ExampleGen's reading, start to end, of one file.

    An input is a byte that chooses format and columns, and the file's bytes.
    """

    FORMATS = ("jsonl", "json", "csv", "parquet", "jsonl.gz", "csv.gz")
    COLUMNS = (
        Columns(instruction="instruction", input="input", output="output", slices=("kind",), carried=("id",)),
        Columns(messages="messages", system="system", tools="tools"),
        Columns(messages="conversations", carried=("a.b.0",)),
        Columns(text="text"),
    )
    SHARES = {"train": 0.8, "eval": 0.1, "test": 0.1}

    def __init__(self, folder: Path):
        self._folder = folder

    def __call__(self, data: bytes) -> None:
        if not data:
            return
        extension = self.FORMATS[data[0] % len(self.FORMATS)]
        columns = self.COLUMNS[data[0] // len(self.FORMATS) % len(self.COLUMNS)]
        path = self._folder / f"records.{extension}"
        path.write_bytes(data[1:])
        counts: Counter[str] = Counter()
        report: dict[str, Any] = {}
        work = IngestFile(columns, self.SHARES)
        for output in work.process(DataFile(str(path), extension.removesuffix(".gz"))):
            assert isinstance(output, beam.pvalue.TaggedOutput)
            if output.tag == REPORT:
                report = json.loads(output.value)
            elif output.tag == QUARANTINE:
                line = json.loads(output.value)
                assert line["reason"], line
                assert line["preview"].isprintable(), line
                counts["quarantined"] += 1
            else:
                self._check(example_pb2.Example.FromString(output.value))
                counts["kept"] += 1
        assert counts.total() + report["rows_left_out"] == report["rows_read"], (counts, report)
        assert counts["quarantined"] == sum(report["quarantine_reasons"].values()), report

    @staticmethod
    def _check(example: example_pb2.Example) -> None:
        for name, feature in example.features.feature.items():
            (value,) = feature.bytes_list.value
            text = value.decode()
            if name == "messages":
                json.dumps([*parse_conversation(text).messages], allow_nan=False)

    def list_seeds(self) -> Iterator[bytes]:
        """The sample data, and a few records of each form."""
        records = [
            {"instruction": "Add.", "input": "1 2", "output": "3", "kind": "math", "id": 7},
            {"instruction": "é\u202e\x00", "output": "", "kind": None},
        ]
        turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho", "weight": 0}]
        call = {"type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
        tool_turns = [
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "1", "name": "f"},
            {"role": "assistant", "content": "Ho", "train": False},
        ]
        chats = [
            {"messages": turns, "system": "Be brief.", "tools": json.dumps([{"name": "f"}])},
            {"messages": tool_turns, "tools": [call]},
        ]
        shared = [{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "a": {"b": [1]}}]
        for index, rows in enumerate((records, chats, shared, [{"text": "a b"}])):
            yield self._code("jsonl", index) + b"".join(json.dumps(row).encode() + b"\n" for row in rows)
            yield self._code("json", index) + json.dumps(rows).encode()
            with io.BytesIO() as stream:
                pa.parquet.write_table(pa.Table.from_pylist(rows[:1]), stream, compression="none")
                yield self._code("parquet", index) + stream.getvalue()
        yield self._code("csv", 0) + b'instruction,input,output,kind,id\n"a ""b""",,c,k,1\r\n"two\nlines",x,y,,2\n'
        yield self._code("csv", 0) + "\ufeffinstruction;output\na;b\n".encode()
        yield self._code("csv", 3) + 'text\n"caf\u00e9"\n'.encode("latin-1")

    def _code(self, extension: str, columns: int) -> bytes:
        return bytes([self.FORMATS.index(extension) + len(self.FORMATS) * columns])

    def list_words(self) -> list[str]:
        """Names of columns, roles and keys of turns."""
        return WORDS["records"]


class Configuration:
    """`validate`: a run's or a runner's file, and `--set`.

    An input is a byte that chooses which, the file, and after each NUL one `--set`.
    """

    def __init__(self, folder: Path):
        self._path = folder / "configuration.yaml"
        self._again = folder / "again.yaml"

    def __call__(self, data: bytes) -> None:
        if not data:
            return
        content, *rest = data[1:].split(b"\0")
        overrides = [text.decode("utf-8", "replace") for text in rest]
        self._path.write_bytes(content)
        try:
            if data[0] % 4 == 0:
                load_runner(str(self._path), overrides)
                return
            config = load_config(str(self._path), overrides)
        except ConfigError as error:
            for problem in error.problems:
                assert problem.message.strip(), error
                assert len(str(problem)) < 4000, error
            return
        self._again.write_text(dump_config(config), encoding="utf-8")
        assert load_config(str(self._again)) == config

    def list_seeds(self) -> Iterator[bytes]:
        """All files of the project, and one line for each section."""
        for path in sorted((ROOT / "configs" / "runs").glob("*.yaml")):
            yield b"\1" + path.read_bytes() + b"\0train.seed=1\0text.max_length=64"
        for path in sorted((ROOT / "configs" / "runners").glob("*.yaml")):
            yield b"\0" + path.read_bytes() + b"\0root=runs"
        yield b"\1data: {path: data/sample/instructions.jsonl}\nmodel: {preset: gpt2_base_en}\n"

    def list_words(self) -> list[str]:
        """Every key there is, and YAML's own signs."""
        schema = RunConfig.model_json_schema()
        parts = (schema, *schema["$defs"].values())
        return [
            *WORDS["configuration"],
            *sorted({f"{name}: " for part in parts for name in part.get("properties", {})}),
        ]


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
        for path in sorted((ROOT / "tests" / "components" / "text" / "chat_templates").glob("*.jinja")):
            yield path.read_bytes()
        turns = json.dumps([{"role": "user", "content": "a", "tool_calls": [{"function": {"arguments": {}}}]}]).encode()
        yield b"{% for m in messages %}{{ m.role ~ m['content'] | tojson(indent=2) }}{% endfor %}\0" + turns
        yield b"{%- macro f(x) -%}{{ x|trim }}{%- endmacro -%}{% generation %}{{ f(messages[0].content) }}{% endgeneration %}"
        yield b"{% set ns = namespace(n=0) %}{% for m in messages if m.role %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ '%d' % ns.n }}"

    def list_words(self) -> list[str]:
        """Jinja's words, and ways out of its sandbox that have been tried."""
        return WORDS["template"]


class Lineage:
    """Questions to a store, on the command line: whatever words are asked for, the answer is text for people, or an error for them.

    An input is a byte that chooses the question, and words with a NUL between them.
    """

    QUESTIONS: tuple[tuple[str, ...], ...] = (
        ("show", "--"),
        ("impact", "--"),
        ("diff", "--"),
        ("verify", "--"),
        ("runs", "--where"),
        ("runs", "--since"),
        ("graph", "--format", "mermaid", "--output", "-", "--"),
        ("graph", "--format", "html", "--output", "-", "--"),
        ("export", "--format", "openlineage", "--"),
        ("export", "--format", "cyclonedx", "--"),
        ("runs", "--pipeline"),
    )

    def __init__(self, folder: Path):
        self.root = folder / "root"
        self.root.mkdir()
        self.store = self.root / "metadata.sqlite"
        self.runs = self._write(self.store)

    @staticmethod
    def _write(store: Path) -> list[str]:
        return write_store(store, 6)

    def __call__(self, data: bytes) -> None:
        if not data:
            return
        question = self.QUESTIONS[data[0] % len(self.QUESTIONS)]
        words = [text.decode("utf-8", "replace") for text in data[1:].split(b"\0")]
        self.ask(self.root, *question, *words[:2])

    def ask(self, root: Path, command: str, *words: str) -> None:
        """Asks; raises if the answer is not one."""
        arguments = ["lineage", command, "--root", str(root), *words]
        result = click.testing.CliRunner().invoke(command_line, arguments)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code in range(5), (arguments, result.exit_code)
        if words[:2] != ("--format", "html"):  # whose tests run it in a browser
            wrong = {c for c in result.output if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c not in "\n\t"}
            assert not wrong, (arguments, wrong)

    def list_seeds(self) -> Iterator[bytes]:
        """Each question about a run, an artifact, and a condition."""
        for number in range(len(self.QUESTIONS)):
            for words in (
                self.runs[0],
                f"{self.runs[0]}\0{self.runs[-1]}",
                "artifact:7",
                "method=lora",
                "7d",
                "perplexity<=12",
            ):
                yield bytes([number]) + words.encode()

    def list_words(self) -> list[str]:
        """What stores know things by."""
        return [*WORDS["lineage"], *self.runs]


def _is_link(column: str) -> bool:
    return column == "id" or column.endswith("_id")


class Store(Lineage):
    """The same questions to a store in which cells were changed: by a fault of the disk, or by somebody.

    An input is a byte each for question and subject, and changes: table, row, column and length, a byte each, and the value.
    """

    TABLES = (
        "Artifact", "ArtifactProperty", "Execution", "ExecutionProperty", "Context", "ContextProperty", "Event",
        "Type", "TypeProperty", "MLMDEnv",
    )  # fmt: skip
    SUBJECTS = ("first", "last", "artifact:7")

    def __init__(self, folder: Path):
        super().__init__(folder)
        self._changed = folder / "changed"
        self._changed.mkdir()

    def __call__(self, data: bytes) -> None:
        if len(data) < 2:
            return
        copy = self._changed / "metadata.sqlite"
        shutil.copyfile(self.store, copy)
        self._change(copy, data[2:])
        question = self.QUESTIONS[data[0] % len(self.QUESTIONS)]
        words = [{"first": self.runs[0], "last": self.runs[-1]}.get(s, s) for s in self.SUBJECTS]
        subject = words[data[1] % len(words)]
        value = {"--where": "method=lora", "--since": "7d", "--pipeline": "p"}.get(question[-1], subject)
        self.ask(self._changed, *question, value, *([words[0]] if question[0] == "diff" else []))

    def _change(self, path: Path, data: bytes) -> None:
        """Values keep the type of their column, and links stay: on others, ML Metadata's C++ ends the process."""
        with contextlib.closing(sqlite3.connect(path)) as store:
            store.execute("PRAGMA foreign_keys = OFF")
            while len(data) >= 4:
                table, row, column, length = struct.unpack_from("4B", data)
                value, data = data[4 : 4 + length], data[4 + length :]
                name = self.TABLES[table % len(self.TABLES)]
                columns = [
                    found[1:3] for found in store.execute(f"PRAGMA table_info({name})") if not _is_link(found[1])
                ]
                rows = [found[0] for found in store.execute(f"SELECT rowid FROM {name}")]
                if not rows:
                    continue
                key, kind = columns[column % len(columns)]
                new = "CAST(? AS TEXT)" if kind.startswith(("TEXT", "VARCHAR")) else "?"
                number = int.from_bytes(value[:8], "little", signed=True)
                typed = {
                    "TINYINT(1)": number & 1,
                    "BOOLEAN": number & 1,
                    "INT": number >> 33,
                    "INTEGER": number >> 33,
                    "DOUBLE": number / 7,
                }
                store.execute(
                    f"UPDATE OR IGNORE {name} SET {key} = {new} WHERE rowid = ?",
                    (typed.get(kind, value), rows[row % len(rows)]),
                )
            store.commit()

    def list_seeds(self) -> Iterator[bytes]:
        """Each question; one change a table."""
        for number in range(len(self.QUESTIONS)):
            for table in range(len(self.TABLES)):
                yield bytes([number, 0, table, 1, number, 4]) + b"\xff\x00ab"
                yield bytes([number, 1, table, 9, 1, 2]) + "é".encode()


TARGETS: dict[str, Callable[[Path], Target]] = {
    "records": Records,
    "configuration": Configuration,
    "template": Template,
    "lineage": Lineage,
    "store": Store,
}


@contextlib.contextmanager
def open_target(name: str) -> Iterator[Target]:
    """Makes a target with a folder of its own, in memory where that is possible."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory if memory.is_dir() else None) as folder:
        yield TARGETS[name](Path(folder))
