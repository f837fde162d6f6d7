"""Tests of impact and diff on a store of many runs, SQLite and MariaDB, against a plain walk over all of it."""

import pytest
from ml_metadata.metadata_store.metadata_store import ListOptions
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.lineage.descent import find_linked, get_keys, is_made_from
from pipeline.lineage.diff import find_diff
from pipeline.lineage.graph import Graph
from pipeline.lineage.impact import find_impact
from pipeline.lineage.store import fetch_runs

FAILED = mlmd.Execution.FAILED


# The questions are the same everywhere; what differs between stores, test_runs.py and test_show.py ask.
pytestmark = pytest.mark.parametrize("many_runs", ["sqlite", "mariadb"], indirect=True)


@pytest.fixture
def store(many_runs, store_of):
    return store_of(many_runs[0])


@pytest.fixture
def edges(store):
    """Every artifact with what was made directly from it."""
    executions = [execution.id for execution in store.get_executions()]
    events = [
        event
        for start in range(0, len(executions), 500)
        for event in store.get_events_by_execution_ids(executions[start : start + 500])
    ]
    written: dict[int, set[int]] = {}
    for event in events:
        if event.type == mlmd.Event.OUTPUT:
            written.setdefault(event.execution_id, set()).add(event.artifact_id)
    made: dict[int, set[int]] = {}
    for event in events:
        if event.type == mlmd.Event.INPUT and is_made_from(get_keys(event)):
            made.setdefault(event.artifact_id, set()).update(written.get(event.execution_id, ()))
    return made


def walk(edges: dict[int, set[int]], starts: set[int]) -> set[int]:
    found, waiting = set(starts), list(starts)
    while waiting:
        new = edges.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found - starts


def list_trained(store) -> dict[int, mlmd.Artifact]:
    return {a.id: a for a in store.get_artifacts_by_type("Model") if "method" in a.custom_properties}


def test_every_data_file_has_the_models_that_a_plain_walk_finds(store, edges):
    query = ListOptions(filter_query="type = 'Examples' AND custom_properties.data_path.string_value != ''")
    by_path: dict[str, set[int]] = {}
    for artifact in store.get_artifacts(query):
        by_path.setdefault(artifact.custom_properties["data_path"].string_value, set()).add(artifact.id)
    trained = list_trained(store)
    assert len(by_path) > 3
    for path, ids in by_path.items():
        expected = walk(edges, ids) & trained.keys()
        assert {model.artifact_id for model in find_impact(store, path).models} == expected, path


def test_any_artifact_has_the_models_that_a_plain_walk_finds(store, edges):
    trained = list_trained(store)
    every = store.get_artifacts()
    for artifact in every[:: max(1, len(every) // 40)]:
        expected = walk(edges, {artifact.id}) & trained.keys()
        assert not find_linked(store, [trained[i] for i in expected]), "no model of this store starts from another"
        found = find_impact(store, f"artifact:{artifact.id}")
        if artifact.type != "PushedModel":  # its model is asked about
            assert {model.artifact_id for model in found.models} == expected, artifact


def test_plans_are_closed_and_their_beginnings_needed(store):
    impacts = [find_impact(store, "data/base/tiny_gpt2_en")]
    impacts += [find_impact(store, artifact.uri) for artifact in store.get_artifacts_by_type("Examples")[::5]]
    plans = [(impact, plan) for impact in impacts for plan in impact.reruns]
    assert len(plans) > 8
    for impact, plan in plans:
        run = store.get_context_by_type_and_name("pipeline_run", plan.run_id)
        graph = Graph(*fetch_runs(store, [run.id]))
        names = {i: graph.get_node_name(i) for i in graph.executions}
        following: dict[str, set[str]] = {name: set() for name in names.values()}
        for reader, read in graph.inputs.items():
            for writer, written in graph.outputs.items():
                if read.keys() & written.keys() and names[writer] != names[reader]:
                    following[names[writer]].add(names[reader])
        reached = {first: walk(following, {first}) for first in plan.from_nodes}
        if impact.kind == "artifact":
            changed = int(impact.reason.split()[2])
            assert {names[i] for i, read in graph.inputs.items() if changed in read} <= set(plan.nodes)
        assert set(plan.nodes) == set(plan.from_nodes).union(*reached.values())
        assert not any(first in later for first in plan.from_nodes for later in reached.values())
        assert set(plan.nodes).isdisjoint(plan.cached_nodes) and {*plan.nodes, *plan.cached_nodes} == set(following)


def test_counts_are_those_of_all_models(store):
    trained = list_trained(store)
    impact = find_impact(store, "data/base/tiny_gpt2_en", limit=3)
    blessed = {
        a.uri.rpartition("/")[2]
        for a in store.get_artifacts_by_type("ModelBlessing")
        if a.custom_properties["blessed"].int_value
    }
    assert (impact.counts.models, impact.counts.blessed, len(impact.models)) == (len(trained), len(blessed), 3)
    assert len(impact.production) == len(impact.reruns) == 4


def test_a_run_differs_from_itself_in_nothing_and_from_others_in_its_seed(store, many_runs):
    _, run_ids = many_runs
    for run_id in run_ids[::7]:
        assert find_diff(store, run_id, run_id).sections == ()
    diff = find_diff(store, run_ids[0], run_ids[1])
    changes = {change.key: change for section in diff.sections for change in section.changes}
    assert (changes["train.seed"].before, changes["train.seed"].after) == (0, 1)
    swapped = find_diff(store, run_ids[1], run_ids[0])
    back = {change.key: change for section in swapped.sections for change in section.changes}
    assert {key: (c.after, c.before) for key, c in back.items()} == {
        key: (c.before, c.after) for key, c in changes.items()
    }
