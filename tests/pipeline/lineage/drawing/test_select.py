"""Tests of what is drawn of a store."""

import pytest

from components.errors import UserError
from pipeline.lineage.drawing import select
from pipeline.lineage.drawing.model import Drawing, key_artifact


def list_executions(drawing: Drawing) -> dict[str, str]:
    """Returns the executions of a drawing of one run with their groups."""
    return {node.title: node.group for node in drawing.nodes if node.kind == "execution"}


def find(drawing: Drawing, title: str, run: str | None = None):
    (node,) = (node for node in drawing.nodes if node.title == title and run in (None, node.run))
    return node


def list_edges(drawing: Drawing, kind: str) -> set[tuple[str, str]]:
    titles = {node.key: node.title for node in drawing.nodes}
    return {(titles[edge.source], titles[edge.target]) for edge in drawing.edges if edge.kind == kind}


def test_a_run_is_drawn_with_all_that_it_read_and_wrote(writer, reader):
    writer.record("other")
    made = writer.record("run-1")
    drawing = select.load_drawing(reader, "run-1")
    assert len(list_executions(drawing)) == 18
    assert {node.id for node in drawing.nodes if node.kind == "artifact"} == set(made.values())
    assert (drawing.title, drawing.name, drawing.pipeline, drawing.lanes) == ("Run run-1", "run-1", "tiny-gpt2", False)
    assert ("ExampleGen", "examples") in list_edges(drawing, "output")
    assert ("examples", "Tokenizer") in list_edges(drawing, "input")
    assert drawing.runs[0].properties["code_version"] == "c0ffee"


def test_nodes_of_a_run_from_the_cache_share_the_artifacts_of_the_first(writer, reader):
    first = writer.record("run-1")
    writer.record("run-2", reuse=first, ran=("Trainer", "CandidatePredictor", "Evaluator", "Pusher"))
    drawing = select.load_drawing(reader, last=2)
    assert [run.id for run in drawing.runs] == ["run-2", "run-1"], "the newest first"
    assert drawing.lanes
    assert sum(node.title == "examples" for node in drawing.nodes) == 1
    assert find(drawing, "examples").run == "run-1"
    assert find(drawing, "Tokenizer", "run-2").group == "cached"
    assert ("Tokenizer", "tokenized_examples") in list_edges(drawing, "reuse")
    assert "13 cached" in drawing.runs[0].summary


def test_what_an_earlier_run_did_is_told(writer, reader):
    first = writer.record("run-1")
    writer.record("run-2", reuse=first, ran=("Trainer", "CandidatePredictor", "Evaluator", "Pusher"))
    drawing = select.load_drawing(reader)
    assert not drawing.lanes
    assert find(drawing, "Tokenizer").detail.endswith(", earlier run")
    assert "earlier" not in find(drawing, "Trainer").detail


def test_a_run_is_summed_up(writer, reader):
    writer.record("run-1", blessed=False)
    assert select.load_drawing(reader, last=5).runs[0].summary == "18 executions, not blessed"
    assert select.load_drawing(reader, last=5).title == "Run run-1"
    writer.record("run-2", failed="Trainer")
    drawing = select.load_drawing(reader, last=5)
    assert drawing.title == "The newest 2 runs"
    assert drawing.runs[0].summary == "14 executions, 1 failed"


def test_states_are_told(writer, reader):
    writer.record("run-1", failed="Trainer")
    writer.record("run-2", running="Tokenizer")
    failed = select.load_drawing(reader, "run-1")
    assert list_executions(failed)["Trainer"] == "failed"
    assert find(failed, "Trainer").tone == "bad"
    running = select.load_drawing(reader, "run-2")
    assert list_executions(running)["Tokenizer"] == "running"
    assert find(running, "Tokenizer").duration_seconds is None


def test_the_model_pushed_last_is_drawn_with_its_verdict(writer, reader):
    writer.record("run-1")
    made = writer.record("run-2")
    writer.record("run-3", blessed=False)
    drawing = select.load_drawing(reader)
    assert drawing.subject == key_artifact(made["Pusher", "pushed_model"])
    assert {node.run for node in drawing.nodes} == {"run-2"}
    executions = list_executions(drawing)
    assert {
        "ExampleGen",
        "Trainer",
        "CandidatePredictor",
        "PresetPredictor",
        "Evaluator",
        "Pusher",
    } <= executions.keys()
    assert not {"StatisticsGen", "CleaningReport"} & executions.keys(), "nothing of the model was made from these"
    assert find(drawing, "blessing").detail == "blessed"
    assert ("blessing", "Pusher") in list_edges(drawing, "input")
    assert ("Pusher", "pushed_model") in list_edges(drawing, "output")


def test_a_model_that_was_held_back_is_drawn_with_its_verdict(writer, reader):
    made = writer.record("run-1", blessed=False)
    drawing = select.load_drawing(reader, f"artifact:{made['Trainer', 'model']}")
    assert find(drawing, "blessing").detail == "not blessed"
    assert find(drawing, "blessing").tone == "bad"


def test_the_history_behind_the_baseline_stays_out(writer, reader):
    first = writer.record("run-1")
    second = writer.record("run-2", baseline=first)
    writer.record("run-3", baseline=second)
    drawing = select.load_drawing(reader)
    assert [run.id for run in drawing.runs] == ["run-3"]
    baseline = find(drawing, "baseline_model")
    assert baseline.id == second["Trainer", "model"]
    assert not any(edge.target == baseline.key for edge in drawing.edges)
    older = select.load_drawing(reader, str(second["Pusher", "pushed_model"]))
    assert [run.id for run in older.runs] == ["run-2"], "run-3 only used it as its baseline"


def test_an_artifact_is_drawn_with_all_that_it_was_made_from(writer, reader):
    made = writer.record("run-1")
    drawing = select.load_drawing(reader, str(made["Transform", "transformed_examples"]))
    assert set(list_executions(drawing)) == {"ExampleGen", "Tokenizer", "TokenScorer", "ScoredSchema", "Transform"}
    assert drawing.subject == key_artifact(made["Transform", "transformed_examples"])


def test_what_a_resolver_selects_is_an_edge_of_its_own(writer, reader):
    first = writer.record("run-1")
    writer.record("run-2", baseline=first)
    drawing = select.load_drawing(reader, last=2)
    assert list_edges(drawing, "choice") == {("BaselineResolver", "model"), ("BaselineResolver", "blessing")}
    resolver = find(drawing, "BaselineResolver", "run-2")
    chosen = {edge.target for edge in drawing.edges if edge.source == resolver.key}
    assert chosen == {key_artifact(first["Trainer", "model"]), key_artifact(first["Evaluator", "blessing"])}
    # It is recorded with the candidate as well, which it does not select.
    (read,) = (edge for edge in drawing.edges if edge.target == resolver.key)
    assert (read.kind, read.names) == ("input", ("candidate",))


def test_the_newest_runs_of_a_pipeline(writer, reader):
    writer.record("run-1", pipeline="one")
    writer.record("run-2", pipeline="two")
    writer.record("run-3", pipeline="one")
    drawing = select.load_drawing(reader, pipeline_name="one", last=5)
    assert [run.id for run in drawing.runs] == ["run-3", "run-1"]
    assert drawing.pipeline == "one"
    assert select.load_drawing(reader, last=2).pipeline == ""
    with pytest.raises(UserError, match="'three'.*one, two"):
        select.load_drawing(reader, pipeline_name="three", last=5)
    with pytest.raises(UserError, match="no run of the pipeline"):
        select.load_drawing(reader, pipeline_name='"', last=5)


def test_all_of_fifty_runs_is_there(fifty_runs):
    drawing = select.load_drawing(fifty_runs, last=50)
    assert sum(node.kind == "execution" for node in drawing.nodes) == 50 * 18
    assert len(drawing.runs) == 50


def test_an_empty_store_says_so(writer, reader):
    writer.get_type("context", "pipeline_run")
    with pytest.raises(UserError, match="no run yet"):
        select.load_drawing(reader, last=3)
