"""Runs: in order, page by page, with their state and outcome."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta

import pytest

from components.errors import UserError
from pipeline.execution.run_state import describe_process
from pipeline.lineage import runs
from pipeline.lineage.runs import list_runs
from pipeline.lineage.where import flatten_config, parse_condition, parse_since, require_known_keys


def set_recorded(store, run_id: str, **properties: str) -> None:
    context = store.get_context_by_type_and_name("pipeline_run", run_id)
    for name, value in properties.items():
        context.custom_properties[name].string_value = value
    store.put_contexts([context])


def test_the_newest_come_first_and_pages_leave_none_out(many_runs, store_of, monkeypatch):
    root, ids = many_runs
    store = store_of(root)
    found = list_runs(store, None)
    assert [run.id for run in found] == ids[::-1]
    monkeypatch.setattr(runs, "_PAGE", 7)
    assert list_runs(store, None) == found
    assert list_runs(store, 9) == found[:9]


def test_every_execution_is_there(many_runs, store_of):
    """A subgraph starts from a hundred nodes at most; sixty runs have eight hundred."""
    root, _ = many_runs
    found = list_runs(store_of(root), None)
    assert {len(run.nodes) for run in found if run.state == "complete"} == {14}
    assert all(run.metrics["perplexity"] > 0 for run in found if run.state == "complete")


def test_what_is_known_of_a_run(new_runs, store_of, tmp_path):
    run_id = new_runs.record_run(0)
    (run,) = list_runs(store_of(tmp_path), None)
    assert (run.id, run.pipeline_name, run.config_name, run.method) == (run_id, "support-lora", "support-lora", "lora")
    assert (run.state, run.blessed, run.reason) == ("complete", True, "")
    assert run.nodes["Trainer"] == "complete" and run.pushed == "/srv/runs/serving/support-lora/0"
    assert set(run.metrics) == {"perplexity", "token_accuracy", "example_count"}


def test_states(new_runs, store_of, tmp_path):
    ids = {state: new_runs.record_run(number, state) for number, state in enumerate(("complete", "failed", "killed"))}
    alive, waiting, skipped, gone = (new_runs.record_run(number, "killed") for number in (3, 4, 5, 6))
    writable = new_runs.store
    set_recorded(writable, alive, process=describe_process())
    set_recorded(writable, skipped, skipped="true", skip_reason="as run 1")
    for run_id, process in ((waiting, ""), (gone, describe_process().rpartition(" ")[0] + " 1.00")):
        set_recorded(writable, run_id, process=process)
        context = writable.get_context_by_type_and_name("pipeline_run", run_id)
        executions = writable.get_executions_by_context(context.id)
        for execution in executions:
            execution.last_known_state = 3
        writable.put_executions(executions)
    found = {run.id: run for run in list_runs(store_of(tmp_path), None)}
    assert {run_id: run.state for run_id, run in found.items()} == {
        ids["complete"]: "complete",
        ids["failed"]: "failed",
        ids["killed"]: "dead",
        alive: "running",
        skipped: "skipped",
        waiting: "partial",  # on a cluster: nothing runs, and nodes are missing
        gone: "dead",  # between two nodes
    }
    assert "out of memory" in found[ids["failed"]].reason
    assert found[skipped].reason == "as run 1"


def list_where(store, *texts: str, hints: bool = True) -> list:
    conditions = [parse_condition(text) for text in texts]
    return list_runs(
        store,
        None,
        checks=[c.fits_record for c in conditions if c.is_of_record],
        outcomes=[c.fits_outcome for c in conditions if not c.is_of_record],
        hints=[hint for c in conditions if hints and (hint := c.make_hint())],
    )


def test_conditions_on_record_configuration_and_outcome(many_runs, store_of):
    root, _ = many_runs
    store = store_of(root)
    everything = list_runs(store, None)
    qlora = list_where(store, "method=qlora")
    assert len(qlora) == 15 and {run.pipeline_name for run in qlora} == {"chat-qlora"}
    assert len(list_where(store, "method!=qlora")) == 45
    good = list_where(store, "perplexity<15", "blessed=true")
    expected = [run for run in everything if run.blessed and run.metrics["perplexity"] < 15]
    assert good == expected != []
    by_rate = [list_where(store, f"train.learning_rate{symbol}3e-5") for symbol in ("<", "=", ">")]
    assert all(by_rate) and sum(map(len, by_rate)) == 60
    assert len(list_where(store, "config~SUPPORT")) == 30
    code = everything[0].code_version
    assert {run.code_version for run in list_where(store, f"code={code[:8]}")} == {code}
    assert list_where(store, "state=failed") == [run for run in everything if run.state == "failed"]
    assert {run.pushed != "" for run in list_where(store, "pushed!=''")} == {True}


@pytest.mark.parametrize("many", [0, 3, 500])
@pytest.mark.parametrize(
    "texts",
    [("blessed=no",), ("perplexity<10", "blessed=yes"), ("verdict~not enough",), ("pushed~support",), ("loss=1",)],
)
def test_hints_change_nothing(many_runs, store_of, monkeypatch, texts, many):
    store = store_of(many_runs[0])
    expected = list_where(store, *texts, hints=False)
    monkeypatch.setattr(runs, "_MANY", many)
    monkeypatch.setattr(runs, "_PAGE", 5)
    assert list_where(store, *texts) == expected


def test_digits_of_a_commit_are_no_number(new_runs, store_of, tmp_path):
    run_id = new_runs.record_run(0)
    set_recorded(new_runs.store, run_id, code_version="0012345600000000000000000000000000000000")
    store = store_of(tmp_path)
    assert [run.id for run in list_where(store, "code=00123456")] == [run_id]
    assert list_where(store, "code=123456") == []


def test_a_misspelt_key_is_told_with_the_nearest(many_runs, store_of):
    store = store_of(many_runs[0])
    with pytest.raises(UserError, match=r"no run has 'metod'. Did you mean `method`\?"):
        require_known_keys(store, [parse_condition("metod=lora")])
    with pytest.raises(UserError, match="train.learning_rte"):
        require_known_keys(store, [parse_condition("train.learning_rte=1")])
    require_known_keys(store, [parse_condition(text) for text in ("perplexity<0", "metrics.perplexity<0", "seed=-1")])


@pytest.mark.parametrize("text", ["", "method", "=lora", "method=", "1x=3", "method lora"])
def test_what_is_no_condition(text):
    with pytest.raises(UserError, match="--where must be a key"):
        parse_condition(text)


def test_since(many_runs, store_of):
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert parse_since("90m", now) == now - timedelta(minutes=90)
    assert parse_since("2w", now) == now - timedelta(days=14)
    assert parse_since("2026-11-24", now) == datetime(2026, 11, 24, tzinfo=UTC)
    assert parse_since("2026-11-24T10:00+02:00", now).astimezone(UTC) == datetime(2026, 11, 24, 8, tzinfo=UTC)
    with pytest.raises(UserError, match="--since must be a date"):
        parse_since("yesterday", now)
    store = store_of(many_runs[0])
    assert len(list_runs(store, None, since=datetime.now(UTC) - timedelta(days=1))) == 60
    assert list_runs(store, None, since=datetime.now(UTC) + timedelta(days=1)) == []


def test_one_pipeline(many_runs, store_of):
    store = store_of(many_runs[0])
    found = list_runs(store, None, pipeline_name="legal-lora")
    assert len(found) == 15 and {run.pipeline_name for run in found} == {"legal-lora"}
    assert list_runs(store, None, pipeline_name='no"such') == []


def test_a_configuration_is_flat():
    assert flatten_config("a:\n  b: 1\n  c: {d: [1, 2], e: {}}\n") == {"a.b": 1, "a.c.d": [1, 2], "a.c.e": {}}
    assert flatten_config("") == {}


def test_json_of_a_run_can_be_written(many_runs, store_of):
    json.dumps([dataclasses.asdict(run) for run in list_runs(store_of(many_runs[0]), 3)])
