"""Tests of finding and reading what token cleaning did, and of the command `tokens`, on a store written through
ML Metadata's own interface."""

import contextlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.errors import UserError
from pipeline import tokens_report, tokens_store
from pipeline.cli import main
from pipeline.lineage import store as lineage_store

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = "tiny-clean"
COMPLETE, CACHED = mlmd.Execution.COMPLETE, mlmd.Execution.CACHED


def make_report(number: int = 1, ids: tuple[str, ...] = ("aa11", "aa22"), **changes: Any) -> dict[str, Any]:
    tokens = [{"text": " red", "influence": 1.5, "kept": True}, {"text": ".", "influence": None, "kept": False}]
    examples = [{"example_id": i, "slices": {"kind": "x"}, "prompt": f"Prompt {i}", "tokens": tokens} for i in ids]
    return {
        "format_version": 1, "strategy": "fixed", "scope": "dataset", "keep": 0.6, "round": number, "base": "tiny",
        "reference": f"reference {number}", "num_examples": 10, "num_examples_without_target": 1,
        "num_response_tokens": 10, "num_kept_tokens": 6, "kept_share": 0.6, "threshold": 0.25,
        "rank_error_bound": 0.0005, "num_tied_at_threshold": 3,
        "influence": {"min": -1.0, "max": 2.0, "mean": 0.5, "bin_width": 0.5,
                      "bins": [{"low": -1.0, "kept": 0, "dropped": 4}, {"low": 1.5, "kept": 6, "dropped": 0}]},
        "slices": {"kind": {"x": {"examples": 10, "response_tokens": 10, "kept_tokens": 6}}},
        "tokens": {"dropped": [{"token_id": 5, "text": ".", "dropped": 4, "kept": 0}], "kept": []},
        "examples": examples, "source": {"scored_examples": f"/scored/{number}", "split": "train"},
    } | changes  # fmt: skip


class StoreWriter:
    """Records runs as TFX does: an execution in the contexts of the run and the pipeline, its reports with events."""

    def __init__(self, root: Path):
        self.root = root
        self.store = MetadataStore(connect(root / "metadata.sqlite"))
        self.types = {
            "declared": mlmd.ArtifactType(
                name="TokenCleaningReport", properties={"round": mlmd.INT}
            ),  # of earlier runs
            "custom": mlmd.ArtifactType(name="pipeline.TokenCleaningReport"),
        }

    def context(self, kind: str, name: str) -> mlmd.Context:
        type_id = self.store.put_context_type(mlmd.ContextType(name=kind))
        known = self.store.get_context_by_type_and_name(kind, name)
        if known is None:
            self.store.put_contexts([mlmd.Context(type_id=type_id, name=name)])
        return self.store.get_context_by_type_and_name(kind, name)

    def artifact(self, run: str, report: dict, where: str = "custom", state: int = mlmd.Artifact.LIVE):
        folder = self.root / "artifacts" / f"{run}-{report['round']}"
        folder.mkdir(parents=True)
        (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
        type_id = self.store.put_artifact_type(self.types[where])
        artifact = mlmd.Artifact(type_id=type_id, uri=str(folder), state=state)
        properties = artifact.properties if where == "declared" else artifact.custom_properties
        properties["round"].int_value = report["round"]
        return artifact

    def record(self, run: str, artifacts: list, pipeline: str = PIPELINE, state: int = COMPLETE) -> list[mlmd.Artifact]:
        """Records one execution an artifact; returns the artifacts, stored."""
        type_id = self.store.put_execution_type(mlmd.ExecutionType(name="components.cleaning_report.CleaningReport"))
        contexts = [self.context("pipeline", pipeline), self.context("pipeline_run", run)]
        stored = []
        for artifact in artifacts:
            event = mlmd.Event(type=mlmd.Event.OUTPUT)
            execution = mlmd.Execution(type_id=type_id, last_known_state=state)
            _, ids, _ = self.store.put_execution(execution, [(artifact, event)], contexts)
            stored += self.store.get_artifacts_by_id(ids)
        return stored

    def clean(self, run: str, *reports: dict, pipeline: str = PIPELINE, where: str = "custom") -> list[mlmd.Artifact]:
        return self.record(run, [self.artifact(run, report, where) for report in reports], pipeline)


def connect(path: Path) -> mlmd.ConnectionConfig:
    config = mlmd.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    config.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    return config


@pytest.fixture
def writer(tmp_path: Path) -> StoreWriter:
    return StoreWriter(tmp_path)


@pytest.fixture
def reader(writer: StoreWriter, tmp_path: Path) -> MetadataStore:
    return lineage_store.open_store(connect(tmp_path / "metadata.sqlite"))


@pytest.fixture
def lookup(monkeypatch) -> dict[str, dict]:
    """What the lookup in the scored examples finds, by folder; the true one needs TensorFlow and a finished run."""
    found: dict[str, dict] = {}
    fake = SimpleNamespace(find_example=lambda source, _: found.get(source["scored_examples"]))
    monkeypatch.setitem(sys.modules, "components.cleaning_report.lookup", fake)
    return found


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    return lambda *arguments: CliRunner().invoke(main, ["tokens", "--root", str(tmp_path), *arguments])


def test_newest_run_with_a_report_is_taken(writer: StoreWriter, reader: MetadataStore):
    writer.clean("run-1", make_report(num_examples=1))
    writer.clean("run-2", make_report(num_examples=2))
    writer.record("run-3", [])
    writer.record("run-4", [writer.artifact("run-4", make_report(), state=mlmd.Artifact.ABANDONED)])
    cleaning = tokens_store.load_cleaning(reader)
    assert (cleaning.run_id, cleaning.pipeline_name) == ("run-2", PIPELINE)
    assert [report.num_examples for report in cleaning.reports] == [2]
    assert tokens_store.load_cleaning(reader, "run-1").reports[0].num_examples == 1


@pytest.mark.parametrize("where", ["declared", "custom"])
def test_rounds_are_in_order(writer: StoreWriter, reader: MetadataStore, where: str):
    writer.clean("run-1", *(make_report(number) for number in (10, 2, 1)), where=where)
    cleaning = tokens_store.load_cleaning(reader)
    assert [report.reference for report in cleaning.reports] == ["reference 1", "reference 2", "reference 10"]
    assert (cleaning.num_examples, cleaning.num_kept_tokens, cleaning.num_response_tokens) == (30, 18, 30)
    assert cleaning.kept_share == 0.6


def test_a_cached_run_has_the_reports_that_it_took(writer: StoreWriter, reader: MetadataStore):
    first = writer.clean("run-1", make_report(1), make_report(2))
    writer.clean("run-2", make_report(3))
    writer.record("run-3", first, state=CACHED)
    cleaning = tokens_store.load_cleaning(reader)
    assert cleaning.run_id == "run-3"
    assert [report.round for report in cleaning.reports] == [1, 2]
    assert len(tokens_store.load_cleaning(reader, "run-1").reports) == 2


def test_pipelines_are_told_apart(writer: StoreWriter, reader: MetadataStore):
    writer.clean("run-1", make_report())
    writer.clean("run-2", make_report(), pipeline="other")
    assert tokens_store.load_cleaning(reader, pipeline_name=PIPELINE).run_id == "run-1"
    with pytest.raises(UserError, match="Run run-2 is one of the pipeline 'other', not 'tiny-clean'"):
        tokens_store.load_cleaning(reader, "run-2", PIPELINE)
    with pytest.raises(
        UserError, match="pipeline 'none' has cleaned.*Pipelines with token cleaning: other, tiny-clean"
    ):
        tokens_store.load_cleaning(reader, pipeline_name="none")


def test_without_any_report(writer: StoreWriter, reader: MetadataStore):
    way_out = "token_cleaning.strategy to fixed, self_evolving or random"
    with pytest.raises(UserError, match=f"No run has cleaned its tokens yet.*{way_out}"):
        tokens_store.load_cleaning(reader)
    with pytest.raises(UserError, match="no run 'run-9'. No run has token cleaning yet"):
        tokens_store.load_cleaning(reader, "run-9")
    writer.context("pipeline_run", "run-1")
    with pytest.raises(UserError, match=f"Run run-1 has no report.*strategy was none.*{way_out}"):
        tokens_store.load_cleaning(reader, "run-1")


def test_an_unknown_run_gets_the_nearest_and_the_newest(writer: StoreWriter, reader: MetadataStore):
    for number in range(8):
        writer.clean(f"20260101-00000{number}", make_report())
    with pytest.raises(UserError) as caught:
        tokens_store.load_cleaning(reader, "20260101-00002")
    text = str(caught.value)
    assert "no run '20260101-00002'. Did you mean 20260101-000002?" in text
    assert "Runs with token cleaning: 20260101-000007, 20260101-000006, " in text
    assert text.endswith("20260101-000003 and 3 more.")


def test_a_missing_report_is_named(writer: StoreWriter, reader: MetadataStore, tmp_path: Path):
    (artifact,) = writer.clean("run-1", make_report())
    (Path(artifact.uri) / "report.json").unlink()
    with pytest.raises(UserError, match=r"run-1-1/report.json \(No such file.*another run with --run"):
        tokens_store.load_cleaning(reader)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "Expecting value"),
        ('{"format_version": 1', "delimiter"),
        ("[]", "the whole: "),
        (json.dumps(make_report(format_version=2)), "format_version: Input should be 1"),
        (json.dumps(make_report(num_kept_tokens="many")), "num_kept_tokens: "),
        (json.dumps(make_report(threshold=float("nan"))), "threshold: Input should be a finite number"),
        (json.dumps({k: v for k, v in make_report().items() if k != "tokens"}), "tokens: Field required"),
        ('"\\udc80"', "the whole: "),
        (b"\xff\xfe\xff", "decode"),
    ],
)
def test_a_damaged_report_is_named(tmp_path: Path, content, problem: str):
    path = tmp_path / "report.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        tokens_report.read_report(str(tmp_path))
    assert str(path) in str(caught.value)
    assert problem in str(caught.value)


def test_what_a_later_version_adds_is_kept(tmp_path: Path):
    (tmp_path / "report.json").write_text(json.dumps(make_report(extra=[1])), encoding="utf-8")
    assert tokens_report.read_report(str(tmp_path)).model_dump()["extra"] == [1]


def make_cleaning(*reports: dict) -> tokens_store.Cleaning:
    parsed = tuple(tokens_report.Report.model_validate(report) for report in reports)
    return tokens_store.Cleaning(run_id="run-1", pipeline_name=PIPELINE, reports=parsed)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (None, [(2, "bb1")]),
        ("aa11", [(1, "aa11")]),
        ("aa2", [(1, "aa22")]),
        ("b", [(2, "bb1")]),
        ("cc", [(1, "cc"), (2, "cc")]),
        ("c", [(1, "cc"), (2, "cc")]),
    ],
)
def test_an_example_is_found(asked, expected):
    cleaning = make_cleaning(make_report(1, ("aa11", "aa22", "cc")), make_report(2, ("bb1", "cc")))
    found = tokens_store.find_example(cleaning, asked)
    assert [(report.round, example.example_id) for report, example in found] == expected


def test_a_whole_id_may_begin_another():
    ((_, example),) = tokens_store.find_example(make_cleaning(make_report(1, ("aa11", "aa"))), "aa")
    assert example.example_id == "aa"


@pytest.mark.parametrize("asked", ["aa", ""])
def test_an_ambiguous_beginning_lists_what_it_fits(asked):
    with pytest.raises(UserError, match=r"beginning of 2: aa11, aa22\. Give more of it"):
        tokens_store.find_example(make_cleaning(make_report(1, ("aa11", "aa22"))), asked)


def test_other_examples_are_looked_up_in_every_round(lookup):
    cleaning = make_cleaning(make_report(1), make_report(2))
    lookup["/scored/2"] = make_report(ids=("ffff",))["examples"][0]
    ((report, example),) = tokens_store.find_example(cleaning, "ffff")
    assert (report.round, example.example_id, example.tokens[0].text) == (2, "ffff", " red")


def test_an_unknown_example_says_what_to_give(lookup):
    with pytest.raises(UserError, match=r"no example with the id 'zz'.*whole example_id.*aa11, aa22\."):
        tokens_store.find_example(make_cleaning(make_report()), "zz")


def test_a_report_without_examples_has_no_first():
    assert tokens_store.find_example(make_cleaning(make_report(examples=[]))) == []


@pytest.mark.parametrize(("share", "expected"), [(0.0, -1.0), (0.2, -0.75), (0.4, -0.5), (0.7, 1.75), (1.0, 2.0)])
def test_quantile(share: float, expected: float):
    influence = tokens_report.Report.model_validate(make_report()).influence
    assert influence.quantile(share) == pytest.approx(expected)


def test_the_command_shows_and_writes_a_page(call, writer: StoreWriter, tmp_path: Path):
    writer.clean("run-1", make_report())
    result = call()
    assert result.exit_code == 0, result.output
    page = tmp_path / "reports" / PIPELINE / "run-1.tokens.html"
    assert "6 of 10 response tokens, 60.00%" in result.output
    assert "Prompt aa11" in result.output and "Prompt aa22" not in result.output
    assert result.output.splitlines()[-1] == f"Page: {page}"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [path.name for path in page.parent.iterdir()] == [page.name]


def test_the_command_takes_options(call, writer: StoreWriter, tmp_path: Path):
    writer.clean("run-1", make_report())
    writer.clean("run-2", make_report(ids=("bb",)))
    page = tmp_path / "elsewhere" / "page.html"
    result = call("--run", "run-1", "--example", "aa2", "--html", str(page), "--pipeline", PIPELINE)
    assert "Prompt aa22" in result.output, result.output
    assert "run run-1" in page.read_text(encoding="utf-8")
    assert not (tmp_path / "reports").exists()


def test_json_is_the_reports_and_writes_nothing(call, writer: StoreWriter, tmp_path: Path):
    writer.clean("run-1", make_report(1), make_report(2))
    told = json.loads(call("--json").output)
    assert told == {"run_id": "run-1", "pipeline": PIPELINE, "reports": [make_report(1), make_report(2)]}
    told = json.loads(call("--json", "--example", "aa2").output)
    assert [[example["example_id"] for example in report["examples"]] for report in told["reports"]] == [["aa22"]] * 2
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["--json", "--html", "x"], 2, "not both"),
        (["--run", "run-9"], 1, "no run 'run-9'"),
        (["--example", "aa"], 1, "Give more of it"),
        (["--html", "{root}/metadata.sqlite/page.html"], 1, "Give another one with --html"),
        (["--html", "{root}/artifacts"], 1, "Give another one with --html"),
    ],
)
def test_errors_of_the_command(call, writer: StoreWriter, tmp_path: Path, arguments, code: int, part: str):
    writer.clean("run-1", make_report())
    before = sorted(tmp_path.rglob("*"))
    result = call(*(argument.format(root=tmp_path) for argument in arguments))
    assert result.exit_code == code, result.output
    assert part in result.output
    assert "Traceback" not in result.output
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("DELETE FROM ArtifactProperty WHERE name = 'round'", "(pipeline.TokenCleaningReport) has no property 'round'"),
        ("UPDATE ArtifactProperty SET string_value = 'x', int_value = NULL WHERE name = 'round'", "is no int: 'x'"),
        ("UPDATE Artifact SET uri = CAST(X'FF6162' AS TEXT)", "the uri of artifact 1 is not UTF-8 text"),
    ],
)
def test_a_damaged_store_is_named(call, writer: StoreWriter, tmp_path: Path, statement: str, named: str):
    writer.record("run-1", [writer.artifact("run-1", make_report())])
    with contextlib.closing(sqlite3.connect(tmp_path / "metadata.sqlite")) as store:
        assert store.execute(statement).rowcount == 1
        store.commit()
    result = call()
    assert isinstance(result.exception, SystemExit), result.exc_info
    assert named in result.output
    assert "put back a copy of it" in result.output


def test_the_command_without_a_store(call, tmp_path: Path):
    result = call()
    assert result.exit_code == 1
    assert "There is no metadata store" in result.output
    assert not list(tmp_path.iterdir())


def test_the_command_imports_no_tensorflow(writer: StoreWriter, tmp_path: Path):
    writer.clean("run-1", make_report())
    code = (
        "import sys, runpy\n"
        "try: runpy.run_module('pipeline', run_name='__main__')\n"
        "finally: print([m for m in ('tensorflow', 'keras', 'tfx', 'apache_beam') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, "tokens", "--root", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
