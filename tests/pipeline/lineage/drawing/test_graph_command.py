"""Tests of `lineage graph`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main


@pytest.fixture
def call(tmp_path):
    def run(*arguments: str):
        return CliRunner().invoke(main, ["lineage", "graph", "--root", str(tmp_path), *arguments])

    return run


@pytest.fixture
def root(writer, tmp_path) -> Path:
    """A root with the store of two runs."""
    first = writer.record("run-1")
    writer.record("run-2", reuse=first, ran=("Trainer", "CandidatePredictor", "Evaluator", "Pusher"))
    return tmp_path


def test_without_anything_a_page_of_the_model_pushed_last(call, root):
    result = call()
    assert result.exit_code == 0, result.output
    (path,) = (root / "reports" / "tiny-gpt2").iterdir()
    assert result.output == f"Page: {path}\n"
    assert path.name.startswith("model-") and path.name.endswith(".lineage.html")
    assert "<h1>Model " in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("run-1",), "run-1.lineage.html"),
        (("run-1", "--format", "svg"), "run-1.lineage.svg"),
        (("--last", "2"), "last-2.lineage.html"),
        (("artifact:1",), "artifact-1.lineage.html"),
    ],
)
def test_pages_and_pictures_go_to_the_reports(call, root, arguments, name):
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    assert [path.name for path in (root / "reports" / "tiny-gpt2").iterdir()] == [name]


def test_several_pipelines_have_no_folder(call, root, writer):
    writer.record("run-3", pipeline="other")
    assert call("--last", "3").exit_code == 0
    assert (root / "reports" / "last-3.lineage.html").is_file()


def test_names_of_the_store_do_not_lead_out_of_the_reports(call, root, writer):
    writer.record("../../run", pipeline="../..")
    assert call("../../run").exit_code == 0
    (path,) = (path for path in root.rglob("*.html"))
    assert path.parent.parent == root / "reports"


@pytest.mark.parametrize(("format_name", "beginning"), [("mermaid", "flowchart TD\n"), ("dot", "digraph lineage {\n")])
def test_text_is_printed(call, root, format_name, beginning):
    result = call("run-1", "--format", format_name)
    assert result.output.startswith(beginning)
    assert not (root / "reports").exists()


@pytest.mark.parametrize(
    ("name", "beginning"),
    [("a.mmd", "flowchart"), ("a.GV", "digraph"), ("sub/a.svg", "<?xml"), ("a.html", "<!doctype html>")],
)
def test_the_name_of_the_output_tells_the_format(call, root, name, beginning):
    result = call("run-1", "--output", str(root / name))
    assert result.exit_code == 0, result.output
    assert (root / name).read_text(encoding="utf-8").lstrip().startswith(beginning)
    assert [path.name for path in (root / name).parent.iterdir() if path.name.startswith(".")] == []


def test_a_page_on_standard_output(call, root):
    assert call("run-1", "--output", "-").output.lstrip().startswith("<!doctype html>")
    assert not (root / "reports").exists()


def test_json_has_nodes_and_edges(call, root):
    told = json.loads(call("--last", "2", "--json").output)
    assert [run["id"] for run in told["runs"]] == ["run-2", "run-1"]
    keys = {node["key"] for node in told["nodes"]}
    assert len(keys) == len(told["nodes"])
    assert {edge["source"] for edge in told["edges"]} | {edge["target"] for edge in told["edges"]} <= keys
    trainer = next(node for node in told["nodes"] if node["title"] == "Trainer")
    assert json.loads(trainer["properties"]["custom_config"])["node"] == "Trainer"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run-1", "--last", "2"), "leave out the argument, or --last"),
        (("run-1", "--pipeline", "x"), "leave out the argument, or --pipeline"),
        (("--json", "--format", "svg"), "leave out --format and --output"),
        (("--last", "0"), "0 is not in the range"),
        (("run-1", "--output", "picture.png"), "must end in one of .html"),
        (("no-such-thing",), "knows no 'no-such-thing'"),
    ],
)
def test_mistakes_are_told(call, root, arguments, message):
    result = call(*arguments)
    assert result.exit_code != 0
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_file_that_cannot_be_written_is_told(call, root):
    (root / "file").write_text("")
    result = call("run-1", "--output", str(root / "file" / "page.html"))
    assert result.exit_code == 1
    assert "with --output" in result.output


def test_what_mermaid_refuses_is_told(call, root, writer):
    assert "Note:" not in call("run-1", "--format", "mermaid").output
    for number in range(3, 12):
        writer.record(f"run-{number}")
    result = call("--last", "11", "--format", "mermaid")
    assert "Mermaid refuses more than 500 edges" in result.stderr
    assert "Note:" not in result.stdout


def test_it_starts_without_the_heavy_libraries(root):
    code = (
        "import sys; from pipeline.cli import main; main(sys.argv[1:], standalone_mode=False);"
        "print([m for m in ('tensorflow', 'tfx', 'apache_beam', 'keras', 'numpy', 'matplotlib') if m in sys.modules])"
    )
    arguments = ["lineage", "graph", "--root", str(root), "--last", "2"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
