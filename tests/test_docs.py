"""Commands and runners in the documents are ones that there are."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from configs.load import RUNNERS, parse_runner
from pipeline.cli import main
from pipeline.cron import find_cron_problem

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def list_commands():
    for path in DOCUMENTS:
        for block in re.findall(r"```(?:console|sh|bash)\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words[1:3] == ["-m", "pipeline"]:
                    yield pytest.param(words[3:], id=f"{path.name}: {' '.join(words[3:])[:80]}")


def list_runners():
    for path in DOCUMENTS:
        for block in re.findall(r"```yaml\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            content = yaml.safe_load(block)
            if isinstance(content, dict) and content.get("kind") in RUNNERS:
                yield pytest.param(content, id=f"{path.name}: {content['kind']}")


@pytest.mark.parametrize("words", list_commands())
def test_command(words):
    context, command = click.Context(main), main
    while isinstance(command, click.Group):
        name, *words = words
        command = command.get_command(context, name)
        assert command is not None, name
    if words == ["--help"]:
        return
    parsed = command.make_context(command.name, list(words), resilient_parsing=False)
    if "cron" in parsed.params:
        assert find_cron_problem(parsed.params["cron"]) is None


@pytest.mark.parametrize("content", list_runners())
def test_runner(content):
    runner, problems = parse_runner(content)
    assert problems == []
    assert runner is not None


def test_there_are_some():
    names = {param.id.partition(":")[0] for param in list_commands()}
    assert names >= {"README.md", "scheduling.md"}
    assert {param.id for param in list_runners()} >= {"scheduling.md: vertex", "scheduling.md: kubeflow"}


def test_tables_of_real_models_are_those_of_the_results():
    text = (ROOT / "docs" / "real_models.md").read_text(encoding="utf-8")
    for name in ("real_results.py", "real_model.py"):
        command = [sys.executable, str(ROOT / "tests" / "benchmarks" / name), "--table"]
        tables = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        for table in tables.strip().split("\n\n"):
            assert table in text, f"write into the page what `{name} --table` prints"
