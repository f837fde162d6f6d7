"""Tests of what follows from a change: the rule of descent, the models that are affected, and what runs again."""

import json
import shlex

import pytest
from click.testing import CliRunner
from ml_metadata.proto import metadata_store_pb2 as mlmd
from rich.console import Console

from components.errors import UserError
from pipeline.cli import main
from pipeline.lineage import impact_view
from pipeline.lineage.descent import find_descent, is_made_from
from pipeline.lineage.find import find_subject
from pipeline.lineage.impact import Impact, find_impact
from pipeline.lineage.rerun import Place
from pipeline.lineage.show import show as follow_back

HASH = "ab12cd34" * 8


def list_runs(impact: Impact) -> list[str]:
    return [model.run_id for model in impact.models]


def show(impact: Impact, width: int = 120) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(impact_view.render(impact))
    return capture.get()


# The rule of descent, edge by edge.


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"examples"}, True),
        ({"transform_graph"}, True),
        ({"base_model"}, True),
        ({"reference_model"}, True),
        ({"an_input_of_tomorrow"}, True),
        ({"model", "baseline_model"}, True),
        (set(), True),
        ({"baseline_model"}, False),
        ({"baseline_predictions"}, False),
        ({"like"}, False),
        ({"preset_model"}, False),
        ({"model_blessing"}, False),
    ],
)
def test_what_an_output_is_made_from(keys: set[str], expected: bool):
    assert is_made_from(keys) is expected


def test_the_model_that_was_only_a_baseline_has_no_descendants(small_store):
    first = small_store.record("run-1", data="/data/old.jsonl")
    small_store.record("run-2", data="/data/new.jsonl", baseline=first["Trainer"])
    assert list_runs(find_impact(small_store.reader, "/data/old.jsonl")) == ["run-1"]
    descent = find_descent(small_store.reader, [first["Trainer"].id])
    assert (descent.models, descent.artifacts) == (set(), {first["Trainer"].id})


def test_a_model_that_served_as_start_of_a_later_round_is_an_ancestor(small_store):
    first = small_store.record("run-1", data="/data/old.jsonl")
    run = small_store.start("run-2")
    examples = run.node("ExampleGen", {}, "examples", "Examples", data_path="/data/new.jsonl", data_sha256="2" * 64)
    run.node("Trainer", {"examples": examples, "base_model": first["Trainer"]}, "model", "Model", method="lora")
    impact = find_impact(small_store.reader, "/data/old.jsonl")
    assert list_runs(impact) == ["run-2", "run-1"]


def test_a_reference_model_is_an_ancestor_of_what_its_scores_cleaned(small_store):
    reference = small_store.record("run-1", data="/data/old.jsonl")
    run = small_store.start("run-2")
    examples = run.node("ExampleGen", {}, "examples", "Examples", data_path="/data/new.jsonl", data_sha256="2" * 64)
    inputs = {"examples": examples, "reference_model": reference["Trainer"]}
    scored = run.node("TokenScorer", inputs, "scored_examples", "Examples")
    run.node("Trainer", {"examples": scored}, "model", "Model", method="lora")
    assert list_runs(find_impact(small_store.reader, "/data/old.jsonl")) == ["run-2", "run-1"]


@pytest.mark.parametrize("how", ["folder", "weights"])
def test_a_start_that_only_the_configuration_names_is_an_ancestor(small_store, how: str):
    first = small_store.record("run-1", data="/data/old.jsonl", trained={"tuned_hash": HASH})
    folder = f"{first['Trainer'].uri}/preset" if how == "folder" else "/copies/model"
    trained = {"started_from": folder, "base_hash": HASH if how == "weights" else "other"}
    small_store.record("run-2", "second", data="/data/new.jsonl", preset=folder, trained=trained)
    third = {"base_hash": "run-2-tuned", "started_from": "/elsewhere"}
    small_store.record("run-3", "third", data="/data/third.jsonl", trained=third)
    small_store.record("run-4", "fourth", data="/data/fourth.jsonl")
    impact = find_impact(small_store.reader, "/data/old.jsonl")
    assert list_runs(impact) == ["run-3", "run-2", "run-1"]
    plans = {plan.pipeline_name: plan.from_nodes for plan in impact.reruns}
    assert plans == {"tiny": ("ExampleGen",), "second": ("Trainer",), "third": ("Trainer",)}
    assert list_runs(find_impact(small_store.reader, str(first["Trainer"].id))) == ["run-3", "run-2"]


def test_scores_by_a_reference_that_only_the_configuration_names(small_store):
    first = small_store.record("run-1", data="/data/old.jsonl")
    run = small_store.start("run-2", "cleaned")
    examples = run.node("ExampleGen", {}, "examples", "Examples", data_path="/data/new.jsonl", data_sha256="2" * 64)
    folder = f"{first['Trainer'].uri}/preset"
    scored = run.node("TokenScorer", {"examples": examples}, "scored_examples", "Examples", reference=folder)
    run.node("Trainer", {"examples": scored}, "model", "Model", method="lora")
    assert list_runs(find_impact(small_store.reader, "/data/old.jsonl")) == ["run-2", "run-1"]


def test_weights_that_training_left_alone_lead_nowhere(small_store):
    small_store.record("run-1", data="/data/old.jsonl", trained={"tuned_hash": HASH, "base_hash": HASH})
    small_store.record("run-2", data="/data/new.jsonl", trained={"base_hash": HASH})
    assert list_runs(find_impact(small_store.reader, "/data/old.jsonl")) == ["run-1"]


# What became of the models.


def test_verdict_push_and_production_of_each_model(small_store):
    first = small_store.record("run-1")
    small_store.record("run-2", data=first, blessed=False)
    small_store.record("run-3", data="/data/other.jsonl")
    impact = find_impact(small_store.reader, "/data/rows.jsonl")
    facts = [(m.run_id, m.blessed, m.verdict, [p.version for p in m.pushes], m.in_production) for m in impact.models]
    assert facts == [
        ("run-2", False, "Not blessed: worse.", [], False),
        ("run-1", True, "Blessed: better.", ["run-1"], False),
    ]
    assert (impact.counts.models, impact.counts.blessed, impact.counts.pushed) == (2, 1, 1)
    (model,) = find_impact(small_store.reader, "/data/other.jsonl").models
    assert model.in_production and model.pushes[0].destination == f"{small_store.root}/serving/run-3"
    assert [m.run_id for m in find_impact(small_store.reader, "/data/other.jsonl").production] == ["run-3"]


def test_a_run_that_took_the_model_from_the_cache_is_no_second_model(small_store):
    first = small_store.record("run-1")
    small_store.record("run-2", reuse=first)
    impact = find_impact(small_store.reader, "/data/rows.jsonl")
    (model,) = impact.models
    assert (model.run_id, model.also_in) == ("run-1", ("run-2",))
    assert [push.version for push in model.pushes] == ["run-2", "run-1"]
    assert impact.reruns[0].run_id == "run-2", "the newest run is the one whose graph counts"
    assert "also run-2 (cached)" in show(impact)


def test_models_of_earlier_rounds_are_told_apart(small_store):
    run = small_store.start("run-1")
    examples = run.node("ExampleGen", {}, "examples", "Examples", data_path="/data/rows.jsonl", data_sha256="2" * 64)
    rounds = run.node("Round0Trainer", {"examples": examples}, "model", "Model", method="lora")
    run.node("Trainer", {"examples": examples, "base_model": rounds}, "model", "Model", method="lora")
    impact = find_impact(small_store.reader, "/data/rows.jsonl")
    assert [(m.node, m.for_other_models) for m in impact.models] == [("Trainer", False), ("Round0Trainer", True)]
    assert (impact.counts.models, impact.counts.for_other_models) == (1, 1)


def test_two_pipelines_in_one_store(small_store):
    small_store.record("run-1", "one")
    small_store.record("run-2", "two")
    small_store.record("run-3", "one", data="/data/other.jsonl")
    impact = find_impact(small_store.reader, "/data/rows.jsonl")
    assert [(m.run_id, m.pipeline_name, m.in_production) for m in impact.models] == [
        ("run-2", "two", True),
        ("run-1", "one", False),
    ]
    assert [(plan.pipeline_name, plan.run_id) for plan in impact.reruns] == [("two", "run-2"), ("one", "run-1")]


def test_only_the_newest_are_described_and_all_are_counted(small_store):
    for number in range(5):
        small_store.record(f"run-{number}")
    impact = find_impact(small_store.reader, "/data/rows.jsonl", limit=2)
    assert list_runs(impact) == ["run-4", "run-3"]
    assert impact.counts.models == 5
    assert "and 3 older" in show(impact)


def test_many_models_are_looked_up_as_few_are(small_store, monkeypatch):
    for number in range(3):
        small_store.record(f"run-{number}", blessed=number != 1)
    few = find_impact(small_store.reader, "/data/rows.jsonl")
    few_of_preset = find_impact(small_store.reader, "data/base/tiny")
    monkeypatch.setattr("pipeline.lineage.outcomes._FEW", 0)
    monkeypatch.setattr("pipeline.lineage.cause._FEW", 1)
    assert find_impact(small_store.reader, "/data/rows.jsonl") == few
    assert find_impact(small_store.reader, "data/base/tiny") == few_of_preset


# What a question can be about.


@pytest.mark.parametrize(
    ("recorded", "asked", "found"),
    [
        ("/data/rows-*.jsonl", "/data/rows-3.jsonl", True),
        ("/data/rows-*.jsonl", "/data/rows-*.jsonl", True),
        ("/data/rows-*.jsonl", "/data/other-3.jsonl", False),
        ("/data/rows-*.jsonl", "/else/rows-3.jsonl", False),
        ("/data", "/data/rows-3.jsonl", True),
        ("/data/3/a.jsonl, /data/4/a.jsonl", "/data/3/a.jsonl", True),
        ("/data/3/a.jsonl, /data/4/a.jsonl", "/data/5/a.jsonl", False),
        ("/data/a, b.jsonl", "/data/a, b.jsonl", True),
        ("/srv/of/another/data/rows.jsonl", "data/rows.jsonl", True),
        ("/srv/of/another/mydata/rows.jsonl", "data/rows.jsonl", False),
        ("gs://bucket/data/rows-*.jsonl", "gs://bucket/data/rows-3.jsonl", True),
        ("gs://bucket/data/rows.jsonl", "gs://other/data/rows.jsonl", False),
    ],
)
def test_data_files_of_patterns_folders_and_spans(small_store, recorded: str, asked: str, found: bool):
    small_store.record("run-1", data=recorded)
    if found:
        impact = find_impact(small_store.reader, asked)
        assert (impact.kind, list_runs(impact)) == ("data", ["run-1"])
        assert [data.path for data in follow_back(small_store.reader, asked).trace.data] == [recorded]
    else:
        for ask in (find_impact, follow_back):
            with pytest.raises(UserError, match="knows no"):
                ask(small_store.reader, asked)


def test_a_file_that_came_after_the_run_was_not_in_it(small_store):
    made = small_store.record("run-1", data="/data/rows-*.jsonl")
    folder = small_store.root.joinpath(made["ExampleGen"].uri)
    folder.mkdir(parents=True)
    (folder / "ingest_report.json").write_text(json.dumps({"files": [{"path": "/data/rows-1.jsonl"}]}))
    assert list_runs(find_impact(small_store.reader, "/data/rows-1.jsonl")) == ["run-1"]
    with pytest.raises(UserError, match="knows no"):
        find_impact(small_store.reader, "/data/rows-2.jsonl")


def test_a_relative_path_is_that_of_the_run(small_store, monkeypatch):
    (small_store.root / "data").mkdir()
    small_store.record("run-1", data=f"{small_store.root}/data/rows.jsonl")
    monkeypatch.chdir(small_store.root / "data")
    assert list_runs(find_impact(small_store.reader, "rows.jsonl")) == ["run-1"]
    subject = find_subject(small_store.reader, "rows.jsonl")
    assert (subject.reason, [a.type for a in subject.artifacts]) == ("a data file", ["Examples"])


def test_presets_by_name_path_and_hash(small_store):
    small_store.record("run-1", trained={"base_hash": HASH})
    small_store.record("run-2", preset="gpt2_base_en")
    by_name = find_impact(small_store.reader, "data/base/tiny")
    assert (by_name.kind, list_runs(by_name)) == ("preset", ["run-1"])
    assert list_runs(find_impact(small_store.reader, HASH[:12])) == ["run-1"]
    assert list_runs(find_impact(small_store.reader, "gpt2_base_en")) == ["run-2"]


def test_preset_by_the_hash_of_its_folder(small_store):
    for run_id, digest in (("run-1", HASH), ("run-2", "9" * 64)):
        run = small_store.start(run_id)
        custom = json.dumps({"model": {"preset": "data/base/tiny"}, "preset_hash": digest})
        run.node("Trainer", {}, "model", "Model", method="lora", parameters={"custom_config": custom})
    assert list_runs(find_impact(small_store.reader, HASH[:10])) == ["run-1"]


def test_the_reference_of_token_cleaning(small_store):
    run = small_store.start("run-1")
    examples = run.node("ExampleGen", {}, "examples", "Examples", data_path="/data/rows.jsonl", data_sha256="2" * 64)
    scoring = {"scoring": json.dumps({"base": "small", "reference": "large"})}
    scored = run.node(
        "TokenScorer", {"examples": examples}, "scored_examples", "Examples", reference="large", base="small",
        parameters=scoring,
    )  # fmt: skip
    run.node("Trainer", {"examples": scored}, "model", "Model", method="lora", preset="small")
    small_store.record("run-2")
    impact = find_impact(small_store.reader, "large")
    assert (impact.reason, list_runs(impact)) == ("a reference model of token cleaning", ["run-1"])
    assert impact.reruns[0].from_nodes == ("TokenScorer",)
    assert impact.reruns[0].nodes == ("TokenScorer", "Trainer")


def test_a_commit_affects_what_ran_with_it_and_what_reused_that(small_store):
    old, new = "a1" * 20, "b2" * 20
    first = small_store.record("run-1", record={"code_version": old})
    small_store.record("run-2", data=first, record={"code_version": new})
    small_store.record("run-3", reuse=first, record={"code_version": new})
    impact = find_impact(small_store.reader, new[:8])
    assert (impact.kind, list_runs(impact)) == ("commit", ["run-2"])
    assert impact.reruns == ()
    assert impact.ran[0].run_id == "run-3"
    assert impact.ran[0].cached_nodes == ("ExampleGen", "TokenizedSchema", "Tokenizer", "Transform", "Trainer")
    assert {"Evaluator", "Pusher"} <= set(impact.ran[0].nodes)
    both = find_impact(small_store.reader, old)
    assert list_runs(both) == ["run-2", "run-1"], "run-2 trained on what that commit had tokenized"
    assert "does not know" in show(both)


def test_the_beginning_of_two_commits_is_refused(small_store):
    small_store.record("run-1", record={"code_version": "abcdef" + "1" * 34})
    small_store.record("run-2", record={"code_version": "abcdef" + "2" * 34})
    with pytest.raises(UserError, match="the beginning of 2 commits"):
        find_impact(small_store.reader, "abcdef")


def test_a_model_by_folder_number_and_push_is_the_same_question(small_store):
    made = small_store.record("run-1")
    answers = [
        find_impact(small_store.reader, text)
        for text in (made["Trainer"].uri, str(made["Trainer"].id), f"{small_store.root}/serving/run-1")
    ]
    assert {answer.reason for answer in answers} == {f"the artifact {made['Trainer'].id} of type Model"}
    assert {answer.counts.models for answer in answers} == {0}
    assert answers[0].reruns[0].from_nodes == ("CandidatePredictor",)
    assert answers[0].reruns[0].nodes == ("CandidatePredictor", "Evaluator", "Pusher")
    assert "No model was made from it" in show(answers[0])


def test_data_that_only_measures_makes_no_model(small_store):
    made = small_store.record("run-1")
    run = small_store.start("run-2")
    general = run.node(
        "GeneralExampleGen", {}, "examples", "Examples", data_path="/data/wiki.jsonl", data_sha256="3" * 64
    )
    predictions = run.node(
        "GeneralCandidatePredictor", {"examples": general, "model": made["Trainer"]}, "predictions", "InferenceResult"
    )
    run.judge({"general_predictions": predictions, "model": made["Trainer"]}, True, {})
    impact = find_impact(small_store.reader, "/data/wiki.jsonl")
    assert impact.models == ()
    assert impact.reruns[0].nodes == ("GeneralExampleGen", "GeneralCandidatePredictor", "Evaluator")


def test_an_unknown_subject_says_what_is_known(small_store):
    small_store.record("run-1")
    with pytest.raises(UserError, match=r"knows no 'nothing/of/that.sort'.*run-1"):
        find_impact(small_store.reader, "nothing/of/that.sort")


# What runs again, against graphs drawn by hand.


def record_diamond(store, run_id: str = "run-1"):
    """A and B feed C; C and B feed D; E stands alone. Names are those of data nodes, so that a file can be asked for."""
    run = store.start(run_id, nodes=json.dumps(["A", "B", "C", "D", "E", "Trainer"]))
    a = run.node("A", {}, "examples", "Examples", data_path="/data/a.jsonl", data_sha256="a" * 64)
    b = run.node("B", {}, "examples", "Examples", data_path="/data/b.jsonl", data_sha256="b" * 64)
    c = run.node("C", {"examples": a, "more": b}, "out", "Examples")
    d = run.node("D", {"examples": c, "more": b}, "out", "Examples")
    run.node("E", {}, "schema", "Schema")
    model = run.node("Trainer", {"examples": d}, "model", "Model", method="lora")
    return {"a": a, "b": b, "c": c, "d": d, "model": model}


@pytest.mark.parametrize(
    ("asked", "first", "nodes", "cached"),
    [
        ("/data/a.jsonl", ("A",), ("A", "C", "D", "Trainer"), ("B", "E")),
        ("/data/b.jsonl", ("B",), ("B", "C", "D", "Trainer"), ("A", "E")),
        ("c", ("D",), ("D", "Trainer"), ("A", "B", "C", "E")),
        ("d", ("Trainer",), ("Trainer",), ("A", "B", "C", "D", "E")),
        ("a", ("C",), ("C", "D", "Trainer"), ("A", "B", "E")),
        ("b", ("C",), ("C", "D", "Trainer"), ("A", "B", "E")),
    ],
)
def test_the_smallest_set_of_nodes(small_store, asked: str, first, nodes, cached):
    made = record_diamond(small_store)
    (plan,) = find_impact(small_store.reader, str(made[asked].id) if asked in made else asked).reruns
    assert (plan.from_nodes, plan.nodes, plan.cached_nodes) == (first, nodes, cached)


def test_whoever_reads_an_artifact_runs_again_also_beside_the_training(small_store):
    made = small_store.record("run-1")
    (plan,) = find_impact(small_store.reader, str(made["Tokenizer"].id)).reruns
    assert plan.from_nodes == ("Transform", "BaselinePredictor")
    assert plan.nodes[-3:] == ("BaselinePredictor", "Evaluator", "Pusher")


def test_two_first_nodes_where_neither_comes_after_the_other(small_store):
    small_store.record("run-1")
    (plan,) = find_impact(small_store.reader, "data/base/tiny").reruns
    assert plan.from_nodes == ("Tokenizer", "PresetImporter")
    assert plan.cached_nodes == ("ExampleGen", "TokenizedSchema")


def test_the_resolver_of_the_baseline_waits_for_the_candidate(small_store):
    first = small_store.record("run-1", data="/data/old.jsonl")
    small_store.record("run-2", baseline=first["Trainer"])
    (plan,) = find_impact(small_store.reader, "/data/rows.jsonl").reruns
    assert plan.run_id == "run-2"
    assert "BaselineResolver" in plan.nodes and "BaselineResolver" not in plan.from_nodes


def test_an_affected_baseline_is_no_reason_to_predict_anew(small_store):
    first = small_store.record("run-1", "one", data="/data/old.jsonl", trained={"tuned_hash": HASH})
    small_store.record("run-2", "two", data="/data/new.jsonl", trained={"base_hash": HASH}, baseline=first["Trainer"])
    plans = {plan.pipeline_name: plan for plan in find_impact(small_store.reader, "/data/old.jsonl").reruns}
    assert plans["two"].from_nodes == ("Trainer",)


def test_the_graph_is_that_of_the_newest_run_that_ended_well(small_store):
    record_diamond(small_store, "run-1")
    run = small_store.start("run-2")
    a = run.node("A", {}, "examples", "Examples", data_path="/data/a.jsonl", data_sha256="a" * 64)
    model = run.node("Trainer", {"examples": a}, "model", "Model", method="lora")
    run.node("Evaluator", {"model": model}, state=mlmd.Execution.FAILED)
    (plan,) = find_impact(small_store.reader, "/data/a.jsonl").reruns
    assert plan.run_id == "run-1"


@pytest.mark.parametrize(
    ("asked", "first"), [("/data/rows.jsonl", ("ExampleGen",)), ("data/base/tiny", ("Tokenizer",))]
)
def test_a_part_of_the_pipeline_has_the_graph_of_the_whole(small_store, asked: str, first: tuple[str, ...]):
    """As TFX records a run with --from: of the nodes before, neither inputs nor parameters."""
    made = small_store.record("run-1")
    run = small_store.start("run-2", nodes=json.dumps(["Trainer", "Evaluator"]))
    for node in ("ExampleGen", "TokenizedSchema", "Tokenizer", "Transform"):
        run.node(node, {}, "out", reuse=made[node])
    inputs = {"examples": made["Transform"]}
    model = run.node("Trainer", inputs, "model", "Model", method="lora", preset="data/base/tiny")
    run.judge({"model": model}, True, {})
    (plan,) = find_impact(small_store.reader, asked).reruns
    assert (plan.run_id, plan.from_nodes) == ("run-2", first)
    assert plan.nodes[-4:] == ("Tokenizer", "Transform", "Trainer", "Evaluator"), "in the order of the pipeline"


def test_a_run_up_to_a_node_has_not_the_graph_of_the_whole(small_store):
    made = small_store.record("run-1")
    run = small_store.start("run-2")
    examples = run.node("ExampleGen", {}, "examples", reuse=made["ExampleGen"], parameters={"input_base": "/data"})
    run.node("Trainer", {"examples": examples}, "model", "Model", method="lora")
    impact = find_impact(small_store.reader, "/data/rows.jsonl")
    assert list_runs(impact) == ["run-2", "run-1"]
    assert impact.reruns[0].run_id == "run-1"


def test_a_node_that_was_tried_again_is_one_node(small_store):
    run = small_store.start("run-1")
    a = run.node("A", {}, "examples", "Examples", data_path="/data/a.jsonl", data_sha256="a" * 64)
    run.node("Trainer", {"examples": a}, state=mlmd.Execution.FAILED)
    run.node("Trainer", {"examples": a}, "model", "Model", method="lora")
    (plan,) = find_impact(small_store.reader, "/data/a.jsonl").reruns
    assert (plan.from_nodes, plan.nodes) == (("A",), ("A", "Trainer"))


def test_the_command_can_be_pasted(small_store):
    small_store.record("run-1", record={"config_path": "my configs/it's.yaml"})
    place = Place(runner_name="local", root="/my runs")
    impact = find_impact(small_store.reader, "data/base/tiny", place=place)
    words = ["run", "my configs/it's.yaml", "--from", "Tokenizer", "--from", "PresetImporter", "--root", "/my runs"]
    assert shlex.split(impact.reruns[0].command) == ["python", "-m", "pipeline", *words]
    lines = show(impact).splitlines()
    first = next(i for i, line in enumerate(lines) if "python -m pipeline" in line)
    last = next(i for i, line in enumerate(lines) if i > first and line.startswith("  runs "))
    shown = "\n".join(line.rstrip() for line in lines[first:last]).replace("\\\n", "")
    assert shlex.split(shown) == shlex.split(impact.reruns[0].command)


def test_values_that_the_file_does_not_have_are_told(small_store, monkeypatch):
    monkeypatch.chdir(small_store.root)
    (small_store.root / "tiny.yaml").write_text("pipeline: {name: tiny}\ntrain: {max_steps: 500}\n")
    config = "pipeline: {name: tiny}\ntrain: {max_steps: 10}\n"
    small_store.record("run-1", record={"config_path": "tiny.yaml", "config": config})
    (plan,) = find_impact(small_store.reader, "/data/rows.jsonl").reruns
    assert plan.notes == (
        "That run had other values than the file has now. To keep them, add: --set train.max_steps=10",
    )


def test_a_cluster_starts_the_whole_pipeline(small_store):
    small_store.record("run-1", record={"runner": "kubeflow"})
    (plan,) = find_impact(small_store.reader, "/data/rows.jsonl", place=Place(runner_name="kubeflow")).reruns
    assert plan.command == "python -m pipeline submit configs/tiny.yaml --runner kubeflow"
    assert "cache" in plan.notes[0]


def test_the_command_line_shows_some_and_json_has_all(small_store):
    for number in range(3):
        small_store.record(f"run-{number}")

    def ask(*words: str):
        root = str(small_store.root)
        return CliRunner().invoke(main, ["lineage", "impact", "/data/rows.jsonl", "--root", root, *words])

    assert "and 1 older; --all shows them" in ask("--limit", "2").stdout
    assert "older;" not in ask("--limit", "2", "--all").stdout
    told = json.loads(ask("--json", "--limit", "1").stdout)
    assert [model["run_id"] for model in told["models"]] == ["run-2", "run-1", "run-0"]
    assert told["reruns"][0]["command"].endswith(f"--from ExampleGen --root {small_store.root}")
    unknown = CliRunner().invoke(main, ["lineage", "impact", "abcdef", "--root", str(small_store.root)])
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert "files are gone" in unknown.stderr
