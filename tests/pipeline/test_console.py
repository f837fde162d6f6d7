"""Our lines reach the terminal, everything else the log file, down to the file descriptors."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from absl import logging as absl_logging
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from pipeline.console import make_console, redirect_output

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import os, subprocess, sys
from pathlib import Path
from pipeline.console import redirect_output

with redirect_output(Path(sys.argv[1])) as console:
    console.print("ours")
    print("python noise")
    os.write(2, b"native noise\\n")
    subprocess.run(["echo", "child noise"])
print("after")
"""


def test_redirect_output(tmp_path):
    log = tmp_path / "logs" / "run.log"
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(log)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines() == ["ours", "after"]
    assert result.stderr == ""
    assert sorted(log.read_text().splitlines()) == ["child noise", "native noise", "python noise"]


def test_a_run_outlives_whoever_reads_its_console(tmp_path):
    log = tmp_path / "run.log"
    script = SCRIPT.replace('console.print("ours")', "[console.print(i) for i in range(100_000)]").replace(
        'print("after")', ""
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(log)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout.readline() == b"0\n"
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == (b"", 0)
    process.stderr.close()
    assert sorted(log.read_text().splitlines()) == ["child noise", "native noise", "python noise"]


def test_what_was_printed_before_an_exception_is_kept(tmp_path):
    log = tmp_path / "run.log"
    script = SCRIPT.replace('print("python noise")', 'print("python noise"); raise ValueError("x")')
    result = subprocess.run([sys.executable, "-c", script, str(log)], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stdout.splitlines() == ["ours"]
    assert "ValueError: x" in result.stderr
    assert log.read_text().splitlines() == ["python noise"]


def test_what_libraries_say_afterwards_is_not_for_the_terminal(tmp_path):
    before = absl_logging.get_verbosity()
    with redirect_output(tmp_path / "run.log"):
        assert absl_logging.get_verbosity() == absl_logging.INFO
    assert absl_logging.get_verbosity() == before != absl_logging.INFO


EVIL = "\x1b]0;title\x07\x1b[2Ja\u202eb\r\x08c"


def make_table(text):
    table = Table("a", text)
    table.add_row(text, Text(text, style="red"))
    return table


@pytest.mark.parametrize("make", [str, Text, Panel, make_table])
def test_text_of_strangers_is_only_text(make):
    file = io.StringIO()
    file.isatty = lambda: True  # with colours, cursor and all
    console = make_console(file, width=200)
    console.print(make(EVIL), markup=False)
    console.print(make("plain"), style="bold", markup=False)
    written = file.getvalue()
    assert "<U+202E>b" in written
    assert not {"\u202e", "\x07", "\x08"} & set(written)
    assert "\x1b]0" not in written and "\x1b[2J" not in written
    assert "plain" in written


def test_our_own_colours_and_lines_stay():
    file = io.StringIO()
    file.isatty = lambda: True
    console = make_console(file, width=40)
    with console.status("waiting"):
        console.print("[green]ours[/]\tand\nmore")
    assert "\x1b[32mours\x1b[0m" in file.getvalue()
    assert "more" in file.getvalue()


def test_names_are_not_read_as_emoji():
    file = io.StringIO()
    make_console(file).print("Log: runs/a:id:b/:100:", markup=False)
    assert file.getvalue() == "Log: runs/a:id:b/:100:\n"


def test_the_console_of_a_run_is_harmless(tmp_path):
    script = SCRIPT.replace('console.print("ours")', 'console.print("a\\x1b]0;t\\x07\\u202eb", markup=False)')
    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "log")], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "<U+202E>b" in result.stdout and not {"\x1b", "\x07", "\u202e"} & set(result.stdout)
