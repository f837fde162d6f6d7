"""What must run again when something changes: the nodes whose inputs descend from it, and the command that runs them."""

import json
import os
import shlex
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.execution.run_record import NODES
from pipeline.lineage.descent import is_made_from
from pipeline.lineage.flatten import flatten
from pipeline.lineage.graph import Graph, Properties, get_properties
from pipeline.lineage.recorded import read_config, read_json

_RESOLVER = ".Resolver"


@dataclass(frozen=True, kw_only=True)
class Rerun:
    """How one pipeline is brought up to date.

    Attributes:
        pipeline_name: The pipeline.
        run_id: Its newest affected run, whose graph this is.
        command: Runs what is needed; empty if the run has not recorded its configuration.
        from_nodes: The first nodes that run: none of them comes after another.
        nodes: All nodes that run.
        cached_nodes: The others of that run; their outputs are taken over.
        notes: What else should be known, in sentences.
    """

    pipeline_name: str
    run_id: str
    command: str
    from_nodes: tuple[str, ...]
    nodes: tuple[str, ...]
    cached_nodes: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """Where a change enters a run.

    Attributes:
        artifacts: Ids of what changed: whoever reads one of these runs again.
        executions: Those that read the changed thing itself, be it from a file.
        names: Under which parameters of a node name the changed thing.
        descended: Ids of what was made from it elsewhere. Whoever reads one of these runs again if that leads to a model: that the
            baseline of a run was affected too is no reason to predict with it anew.
        models: Ids of the models that are affected.
    """

    artifacts: Collection[int]
    executions: Collection[int] = ()
    names: Collection[str] = ()
    descended: Collection[int] = ()
    models: Collection[int] = ()


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the pipeline runs, as the user has named it: the `--runner` and `--root` of the question."""

    runner_name: str = "local"
    root: str | None = None


HERE = Place()


def plan_rerun(graph: Graph, run: mlmd.Context, seeds: Seeds, place: Place = HERE) -> Rerun:
    """Returns the smallest set of nodes of a run that a change makes run again.

    Args:
        graph: Holds the run (`fetch_runs`).
        run: Its context.
        seeds: Where the change enters.
        place: Where it runs.
    """
    executions = [e for e in sorted(graph.executions) if graph.get_context(e, "pipeline_run").name == run.name]
    nodes: dict[str, list[int]] = {}  # a node that failed and was tried again has several
    for execution_id in executions:
        nodes.setdefault(graph.get_node_name(execution_id), []).append(execution_id)
    upstream = {node: _find_upstream(graph, node, nodes) for node in nodes}
    leading = _find_leading(graph, executions, seeds.models)
    affected = {node for node, ids in nodes.items() if any(_is_seed(graph, i, seeds, leading) for i in ids)}
    while more := {node for node in nodes if upstream[node] & affected} - affected:
        affected |= more
    first = [node for node in affected if not upstream[node] & affected]
    made = (graph.artifacts[i] for node in affected for e in nodes[node] for i in graph.list_outputs(e))
    if any(artifact.type == "Model" and "method" in artifact.custom_properties for artifact in made):
        # A resolver reads no artifact, but it looks for a model other than the candidate, and so waits for that.
        affected |= {node for node, ids in nodes.items() if any(_is_resolver(graph, i) for i in ids)}
    recorded = get_properties(run)
    order = _read_order(recorded, upstream)
    from_nodes = tuple(node for node in order if node in first)
    command, notes = _make_command(recorded, from_nodes, place)
    return Rerun(
        pipeline_name=graph.get_context(executions[0], "pipeline").name if executions else "",
        run_id=run.name,
        command=command,
        from_nodes=from_nodes,
        nodes=tuple(node for node in order if node in affected),
        cached_nodes=tuple(node for node in order if node not in affected),
        notes=notes,
    )


def list_config_changes(recorded: Properties) -> list[str]:
    """Lists the values of a run's configuration that its file does not have now, as `--set` takes them.

    The run was given them on its command line, or the file was edited since; which of the two, nobody has recorded.
    """
    from configs.load import ConfigError, parse_sections, read_yaml

    try:
        sections, _ = parse_sections(read_yaml(str(recorded["config_path"])))
        now = flatten({name: section.model_dump(mode="json") for name, section in sections.items()})
    except (ConfigError, KeyError):
        return []
    config = read_config(recorded.get("config"))
    before = flatten(config) if config else {}
    return [f"{key}={json.dumps(value)}" for key, value in before.items() if now.get(key) != value]


def _find_upstream(graph: Graph, node: str, nodes: dict[str, list[int]]) -> set[str]:
    read = {artifact_id for execution_id in nodes[node] for artifact_id in graph.inputs.get(execution_id, {})}
    return {
        other
        for other, ids in nodes.items()
        if other != node and any(read & graph.outputs.get(i, {}).keys() for i in ids)
    }


def _find_leading(graph: Graph, executions: Collection[int], models: Collection[int]) -> set[int]:
    """Returns the executions of a run that one of the models was made by."""
    makers: dict[int, set[int]] = {}
    for execution_id in executions:
        for artifact_id in graph.outputs.get(execution_id, ()):
            makers.setdefault(artifact_id, set()).add(execution_id)
    found: set[int] = set()
    waiting = {maker for model in models for maker in makers.get(model, ())}
    while waiting:
        found |= waiting
        read = {i for e in waiting for i, keys in graph.inputs.get(e, {}).items() if is_made_from(keys)}
        waiting = {maker for artifact_id in read for maker in makers.get(artifact_id, ())} - found
    return found


def _is_seed(graph: Graph, execution_id: int, seeds: Seeds, leading: Collection[int]) -> bool:
    if execution_id in seeds.executions:
        return True
    read = graph.inputs.get(execution_id, {})
    if any(i in seeds.artifacts for i in read):
        return True
    if execution_id in leading and any(i in seeds.descended and is_made_from(keys) for i, keys in read.items()):
        return True
    parameters = (
        [str(value) for value in get_properties(graph.executions[execution_id]).values()] if seeds.names else []
    )
    return any(text == name or json.dumps(name) in text for text in parameters for name in seeds.names)


def _is_resolver(graph: Graph, execution_id: int) -> bool:
    return graph.get_component(execution_id).endswith(_RESOLVER)


def _read_order(recorded: Properties, upstream: dict[str, set[str]]) -> list[str]:
    """Returns the nodes so that each comes after those it reads from, otherwise as the run has recorded them."""
    listed = read_json(recorded.get(NODES), list)
    # A run of a part of the pipeline lists the nodes of that part only.
    waiting = [node for node in listed if node in upstream] + [node for node in upstream if node not in listed]
    order: list[str] = []
    while waiting:
        ready = next((node for node in waiting if upstream[node] <= set(order)), waiting[0])
        waiting.remove(ready)
        order.append(ready)
    return order


def _make_command(recorded: Properties, from_nodes: tuple[str, ...], place: Place) -> tuple[str, tuple[str, ...]]:
    path = str(recorded.get("config_path", ""))
    if not path or not from_nodes:
        return "", ("The run has not recorded its configuration file: give it to `run` with these --from.",)
    if recorded.get("runner", "local") != "local":
        words = ["python", "-m", "pipeline", "submit", path, "--runner", place.runner_name]
        return shlex.join(words), ("A cluster starts the whole pipeline; what has not changed comes from its cache.",)
    words = ["python", "-m", "pipeline", "run", path]
    for node in from_nodes:
        words += ["--from", node]
    if place.runner_name != "local":
        words += ["--runner", place.runner_name]
    if place.root is not None:
        words += ["--root", place.root]
    return shlex.join(words), tuple(_list_notes(recorded, path))


def _list_notes(recorded: Properties, path: str) -> Iterator[str]:
    if not os.path.isfile(path):
        yield f"{path} is not below this folder: run the command where it is."
    elif changes := list_config_changes(recorded):
        options = " ".join(f"--set {shlex.quote(change)}" for change in changes)
        yield f"That run had other values than the file has now. To keep them, add: {options}"
