"""Names and paths of a store can come from strangers: whatever they hold is text, on every command."""

import contextlib
import json
import shutil
import sqlite3
import unicodedata

import click.testing
import pytest
from click.testing import CliRunner

from components.harmless import make_harmless
from pipeline import exit_codes
from pipeline.cli import main

HOSTILE = "\x1b]0;title\x07\u202e\x9b31m[red]<img src=x onerror=alert(1)>"
# Texts that people gave or that a file brought; ids, types and JSON are the program's own.
TAINT = (
    "UPDATE Artifact SET name = name || ? WHERE name IS NOT NULL",
    """UPDATE ArtifactProperty SET string_value = string_value || ? WHERE name IN
       ('preset', 'data_path', 'reason', 'code_version', 'dtype', 'kaggle_version', 'preset_revision')""",
    """UPDATE ContextProperty SET string_value = string_value || ? WHERE name IN
       ('config_path', 'method', 'preset', 'data_path', 'hardware', 'code_version', 'runner')""",
    "UPDATE ExecutionProperty SET string_value = string_value || ? WHERE name IN ('error', 'reason')",
)
COMMANDS = (
    ("show", "{run}"),
    ("show",),
    ("runs",),
    ("diff", "{run}", "{last}"),
    ("verify",),
    ("graph", "--format", "mermaid", "--output", "-", "{run}"),
    ("graph", "--format", "dot", "--output", "-", "{run}"),
    ("graph", "--format", "svg", "--output", "-", "{run}"),
    ("graph", "--format", "html", "--output", "-", "{run}"),
    ("gc", "--keep", "1"),
    ("impact", "artifact:7"),
)


@pytest.fixture(scope="module")
def tainted(generator, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    runs = generator.write_store(folder / "clean.sqlite", 3)
    shutil.copy(folder / "clean.sqlite", folder / "metadata.sqlite")
    with contextlib.closing(sqlite3.connect(folder / "metadata.sqlite")) as store:
        assert sum(store.execute(statement, (HOSTILE,)).rowcount for statement in TAINT) > 20
        store.commit()
    return folder, runs


def ask(tainted, command, *options):
    folder, runs = tainted
    words = [word.format(run=runs[0], last=runs[-1]) for word in command]
    result = CliRunner().invoke(main, ["lineage", words[0], "--root", str(folder), *words[1:], *options])
    assert result.exit_code in (0, exit_codes.NOT_AS_RECORDED), result.output
    return result.stdout  # also what goes there as bytes, which `output` lacks


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: "-".join(command[:3:2]))
def test_nothing_but_text_is_printed(tainted, command):
    output = ask(tainted, command)
    assert not {c for c in output if unicodedata.category(c) in ("Cc", "Cf") and c not in "\n\t"}
    if {"svg", "html"} & set(command):
        assert "<img" not in output
    elif command[0] == "show":
        assert "[red]" in "".join(output.split()), "markup is shown, not obeyed"


@pytest.mark.parametrize("command", [("show", "{run}"), ("runs",), ("diff", "{run}", "{last}")], ids=lambda c: c[0])
def test_json_keeps_what_is_stored(tainted, command):
    answer = ask(tainted, command, "--json")
    assert make_harmless(answer) == answer  # it may stand on a terminal
    texts = json.dumps(json.loads(answer), ensure_ascii=False)
    assert json.dumps(HOSTILE, ensure_ascii=False)[1:-1] in texts


@pytest.mark.parametrize("kind", ["openlineage", "cyclonedx"])
def test_documents_on_a_terminal_command_nothing(tainted, monkeypatch, kind):
    command = ("export", "--format", kind, "{run}")
    document = ask(tainted, command)
    assert make_harmless(document) != document  # in a file or a pipe: the bytes that a hash or a signature is of
    monkeypatch.setattr(click.testing._NamedTextIOWrapper, "isatty", lambda _: True, raising=False)
    shown = ask(tainted, command)
    assert make_harmless(shown) == shown
    texts = [text.splitlines() if kind == "openlineage" else [text] for text in (document, shown)]
    before, after = ([json.loads(text) for text in each] for each in texts)
    assert after == before
