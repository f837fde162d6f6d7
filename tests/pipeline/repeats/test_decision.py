"""Whether a run is needed, by the runs in a real store."""

import pytest
from ml_metadata.metadata_store import MetadataStore

from configs.runner_schema import SqliteSection
from pipeline.metadata_connection import make_connection
from pipeline.repeats.decision import decide, record_skipped
from pipeline.repeats.inputs import PARTS

INPUTS = {"data": "d", "config": "c", "code": "k", "preset": "p", "lock": "l"}


@pytest.fixture
def store(tmp_path):
    return MetadataStore(make_connection(SqliteSection(kind="sqlite"), str(tmp_path)))


@pytest.fixture
def add(store, record_run, bless):
    def make(run_id, inputs, blessed, pipeline="p"):
        record_run(store, run_id, inputs, pipeline)
        bless(store, run_id, blessed)

    return make


def read(store, run_id):
    properties = store.get_context_by_type_and_name("pipeline_run", run_id).custom_properties
    return {name: value.string_value for name, value in properties.items()}


def test_the_same_inputs_as_a_blessed_run_are_skipped_and_recorded(store, add):
    add("run-1", INPUTS, 1)
    add("run-2", INPUTS | {"data": "other"}, 1)
    decision = decide(store, "p", INPUTS)
    reason = "data, configuration, code, preset and packages are those of the blessed run run-1"
    assert (decision.is_needed, decision.same_as, str(decision)) == (False, "run-1", f"Skipped: {reason}.")
    record_skipped(store, "run-3", {"pipeline_name": "p"}, decision)
    assert read(store, "run-3") == {
        "pipeline_name": "p",
        "skipped": "true",
        "same_as_run": "run-1",
        "skip_reason": reason,
    }


def test_a_skipped_run_is_no_blessed_one_whatever_is_attached_to_it(store, add, bless):
    add("run-1", INPUTS, 1)
    record_skipped(store, "run-2", {"pipeline_name": "p", "inputs": "{}"}, decide(store, "p", INPUTS))
    bless(store, "run-2", 1)
    assert decide(store, "p", INPUTS).same_as == "run-1"
    assert decide(store, "p", {}.fromkeys(INPUTS, "new")).reason.startswith("changed since the blessed run run-1")


def test_force_goes_on_and_says_what_it_was_forced_against(store, add):
    assert (
        str(decide(store, "p", INPUTS, force=True)) == "Needed: no run of this pipeline was blessed and pushed before."
    )
    add("run-1", INPUTS, 1)
    decision = decide(store, "p", INPUTS, force=True)
    assert (decision.is_needed, decision.same_as) == (True, "run-1")
    assert str(decision).startswith("Runs all the same (--force): data, configuration, code")


@pytest.mark.parametrize(("part", "words"), list(PARTS.items()))
def test_whatever_changed_is_named(store, add, part, words):
    add("run-1", INPUTS, 1)
    decision = decide(store, "p", INPUTS | {part: "new"})
    assert (decision.same_as, str(decision)) == (None, f"Needed: changed since the blessed run run-1: {words}.")


def test_a_model_that_is_not_in_service_any_more_is_a_reason_to_run(store, add, tmp_path):
    add("run-1", INPUTS, 1)
    (pushed,) = store.get_artifacts_by_type("PushedModel")
    version = tmp_path / "serving" / "1"
    version.mkdir(parents=True)
    (version / "saved_model.pb").write_text("x")
    pushed.custom_properties["pushed_destination"].string_value = str(version)
    pushed.custom_properties["pushed_version"].string_value = "1"
    store.put_artifacts([pushed])
    assert decide(store, "p", INPUTS).same_as == "run-1"
    (tmp_path / "serving" / "2").mkdir()
    assert str(decide(store, "p", INPUTS)) == (
        "Needed: the model of the blessed run run-1, which had the same inputs, is not the one in service."
    )


def test_inputs_that_were_refused_since_are_not_tried_again(store, add, bless, record_run, tmp_path):
    """Two configurations of one pipeline: what the other one has pushed since was found to be as good."""
    add("run-1", INPUTS, 1)
    (pushed,) = store.get_artifacts_by_type("PushedModel")
    pushed.custom_properties["pushed_destination"].string_value = str(tmp_path / "1")
    pushed.custom_properties["pushed_version"].string_value = "1"
    store.put_artifacts([pushed])
    assert decide(store, "p", INPUTS).is_needed
    add("run-2", INPUTS, 0)
    assert decide(store, "p", INPUTS).same_as == "run-1"


def test_a_place_that_cannot_be_asked_is_told(store, add, monkeypatch):
    add("run-1", INPUTS, 1)

    def fail(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pipeline.repeats.decision.is_in_service", fail)
    assert "which had the same inputs, cannot be looked for ([Errno 13]" in str(decide(store, "p", INPUTS))


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000])
def test_a_run_whose_record_is_damaged_is_no_reason_to_skip(store, add, text):
    add("run-1", INPUTS, 1)
    context = store.get_context_by_type_and_name("pipeline_run", "run-1")
    context.custom_properties["inputs"].string_value = text
    store.put_contexts([context])
    assert decide(store, "p", INPUTS).is_needed


def test_what_was_refused_or_another_pipelines_does_not_count(store, add):
    add("run-1", INPUTS, 0)
    add("run-2", INPUTS, 1, pipeline="q")
    decision = decide(store, "p", INPUTS)
    assert (decision.same_as, decision.reason) == (None, "no run of this pipeline was blessed and pushed before")


def test_in_an_empty_store_a_run_is_needed(store):
    assert decide(store, "p", INPUTS).is_needed


def test_the_store_is_asked_for_few_of_many_blessings(store, add, monkeypatch):
    for number in range(10):
        add(f"run-{number}", INPUTS | {"data": str(number)}, 1)
    asked = []
    get_artifacts = store.get_artifacts
    monkeypatch.setattr(store, "get_artifacts", lambda options: asked.append(options) or get_artifacts(options))
    assert "run-9: the data" in decide(store, "p", INPUTS).reason
    assert len(asked) == 2  # the verdict and the push
    asked.clear()
    assert decide(store, "p", INPUTS | {"data": "3"}).same_as == "run-3"
    assert len(asked) == 5  # also what is in service


def test_what_was_blessed_and_not_pushed_is_not_done(store, add, bless, record_run):
    record_run(store, "run-1", INPUTS, "p")
    bless(store, "run-1", 1, pushed=0)
    assert decide(store, "p", INPUTS).is_needed


def test_many_skipped_runs_hide_none(store, add, monkeypatch):
    monkeypatch.setattr("pipeline.repeats.decision._FEW", 3)
    add("run-1", INPUTS, 1)
    for number in range(7):
        record_skipped(store, f"skipped-{number}", {"pipeline_name": "p"}, decide(store, "p", INPUTS))
    assert decide(store, "p", INPUTS).same_as == "run-1"
