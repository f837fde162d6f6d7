"""Questions to a store."""

import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import click.testing

from pipeline.cli import main as command_line

from .words import WORDS

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from lineage_store import write_store


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
        ("report", "--run"),
        ("tokens", "--run"),
        ("receipt", "--run"),
    )
    OUTSIDE = ("report", "tokens", "receipt")

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
        group = () if command in self.OUTSIDE else ("lineage",)
        arguments = [*group, command, "--root", str(root), *words]
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
