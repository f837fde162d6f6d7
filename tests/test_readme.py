"""The README's commands exist and its files and links are there. The end-to-end test runs the pipeline itself."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.validate import load_config

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "data/README.md",
]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def list_commands():
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_there_are_commands():
    assert {"make", ".venv/bin/python"} == {words[0] for words in list_commands()}


@pytest.mark.parametrize("words", [w for w in list_commands() if w[0] == "make"], ids=" ".join)
def test_make_command(words):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert words[1] in targets
    for word in words[2:]:
        name, _, value = word.partition("=")
        assert name in {"CONFIG", "RUNNER", "ARGS"}
        if name == "CONFIG":
            load_config(value)


@pytest.mark.parametrize("words", [w for w in list_commands() if w[0] != "make"], ids=" ".join)
def test_pipeline_command(words):
    assert words[1:3] == ["-m", "pipeline"]
    command, *arguments = words[3:]
    if command == "validate":
        result = CliRunner().invoke(main, [command, *arguments])
        assert result.exit_code == 0, result.output
    elif arguments == ["--help"]:
        assert CliRunner().invoke(main, [command, *arguments]).exit_code == 0
    elif command == "run":
        load_config(arguments[0])
    else:
        # Run for real, on the pushed model of a run, by tests/e2e/.
        assert command in {"lineage", "generate", "tokens", "compile", "run-spec"}
        assert CliRunner().invoke(main, [command, "--help"]).exit_code == 0


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_files(document):
    text = document.read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    links = [t for t in re.findall(r"\]\(([^)#]+)\)", prose) if "://" not in t]
    named = re.findall(r"`((?:components|configs|pipeline|data|docs|tests)/[\w./-]+)`", text)
    missing = [t for t in links if not (document.parent / t).exists()]
    missing += [t for t in named if not (ROOT / t).exists() and "…" not in t]
    assert not missing
