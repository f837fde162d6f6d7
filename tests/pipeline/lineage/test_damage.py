"""A store in which cells are not what a run has written: the answer names the record, and is no traceback."""

import contextlib
import json
import shutil
import sqlite3

import pytest
from click.testing import CliRunner

from pipeline import exit_codes
from pipeline.cli import main

COMMANDS = (
    ("show", "--", "{run}"),
    ("runs",),
    ("diff", "{run}", "{last}"),
    ("verify",),
    ("graph", "--format", "mermaid", "--output", "-", "{run}"),
    ("export", "--format", "openlineage", "{run}"),
    ("gc", "--keep", "1"),
    ("impact", "artifact:7"),
    ("report", "--run", "{run}"),
    ("tokens", "--run", "{run}"),
    ("receipt", "--run", "{run}"),
    ("export", "--format", "keras", "--", "{run}"),
)


@pytest.fixture(scope="module")
def stored(generator, tmp_path_factory):
    folder = tmp_path_factory.mktemp("damage")
    return folder, generator.write_store(folder / "metadata.sqlite", 3)


def _is_outside(command):
    """Of `lineage`; these also read files, which they say are gone."""
    return command[0] in ("report", "tokens", "receipt") or "keras" in command


def ask(root, runs, command):
    words = [word.format(run=runs[0], last=runs[-1]) for word in command]
    group = () if _is_outside(command) else ("lineage",)
    return CliRunner().invoke(main, [*group, words[0], "--root", str(root), *words[1:]])


@pytest.fixture
def damaged(stored, tmp_path):
    """Changes cells of a copy by SQL."""
    shutil.copy(stored[0] / "metadata.sqlite", tmp_path)

    def change(statement: str):
        with contextlib.closing(sqlite3.connect(tmp_path / "metadata.sqlite")) as store:
            assert store.execute(statement).rowcount > 0
            store.commit()
        return tmp_path

    return change


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE Artifact SET uri = CAST(X'FF6162' AS TEXT)", "the uri of artifact"),
        (
            "UPDATE ContextProperty SET string_value = CAST(X'FF6162' AS TEXT) WHERE string_value IS NOT NULL",
            "of context",
        ),
        ("UPDATE Context SET name = CAST(X'FF' AS TEXT) || id", "of context"),
    ],
)
def test_text_that_is_not_utf8_is_named(stored, damaged, command, statement, named):
    before = ask(stored[0], stored[1], command)
    healthy = before.exit_code
    # This store has no files.
    assert healthy in (0, exit_codes.NOT_AS_RECORDED, *((exit_codes.FAILED,) if _is_outside(command) else ()))
    result = ask(damaged(statement), stored[1], command)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    if result.exit_code == healthy != exit_codes.FAILED or result.output == before.output:  # it needed no such record
        return
    assert "metadata store" in result.output
    if _is_outside(command) and "must hold what runs" not in result.output:
        assert result.output.startswith("Error: ")
        return  # it did not find what it was asked for, see also tests/pipeline/test_tokens_store.py and test_receipt_store.py
    if "knows no" not in result.output:
        assert named in result.output
        assert "put back a copy of it" in result.output


@pytest.mark.parametrize("mark", ['{"x": "y"}', '{"model": ""}', '{"model": "a\\" OR 1"}', "{}"])
def test_a_mark_that_names_no_model_leads_nowhere(stored, tmp_path, mark):
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra" / "push.json").write_text(mark)
    result = ask(stored[0], stored[1], ("show", "--", str(tmp_path)))
    assert isinstance(result.exception, SystemExit), result.exc_info
    assert "knows no" in result.output


def test_a_run_that_does_not_say_what_was_to_run_is_not_complete(stored, damaged):
    root = damaged("UPDATE ContextProperty SET string_value = '{' WHERE name = 'nodes'")
    result = ask(root, stored[1], ("runs", "--json"))
    assert result.exit_code == 0, result.output
    assert {run["state"] for run in json.loads(result.stdout)} == {"partial"}


def test_a_fault_of_this_program_is_not_blamed_on_the_store(stored, monkeypatch):
    def fail(*_args):
        raise KeyError("a fault")

    monkeypatch.setattr("pipeline.lineage.show.show", fail)
    result = ask(stored[0], stored[1], COMMANDS[0])
    assert isinstance(result.exception, KeyError)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("impact", ""), "Received: nothing"),
        (("impact", "  "), "Received: nothing"),
        (("impact", "a{b}"), "knows no 'a{b}'"),
        (("impact", "{0}"), "knows no '{0}'"),
        (("show", "\x1b]0;title\x07", "\u202e"), "Got unexpected extra argument"),
        (("show", "--\x1b[2J"), "No such option"),
    ],
)
def test_odd_words_get_a_plain_answer(stored, words, answer):
    result = ask(stored[0], stored[1], tuple(word.replace("{", "{{").replace("}", "}}") for word in words))
    assert isinstance(result.exception, SystemExit)
    assert answer in result.output
    assert not set("\x1b\x07\u202e") & set(result.output)
