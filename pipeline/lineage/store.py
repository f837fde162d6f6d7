"""Read-only access to the metadata store: opens it, finds the model that is asked about, fetches the graph around it.

Nothing here imports TFX or TensorFlow: their import alone takes ten times as long as the whole answer may take.
"""

import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from ml_metadata import errors as mlmd_errors
from ml_metadata.metadata_store.metadata_store import ListOptions, MetadataStore, OrderByField
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.errors import UserError
from components.pusher.versions import read_mark
from components.storage import is_remote
from pipeline.execution.run_state import RUN_CONTEXT
from pipeline.lineage.graph import get_properties
from pipeline.metadata_connection import ConnectionConfig, describe_connection

_SubgraphQuery = mlmd.LineageSubgraphQueryOptions
MODEL_TYPES = ("PushedModel", "Model")
# The second is what earlier runs wrote.
CLEANING_REPORT_TYPES = ("pipeline.TokenCleaningReport", "TokenCleaningReport")
# A chain of this project is below 30 hops; the rest is room for warm starts from an earlier run's model.
_MAX_HOPS = 100
# One hop leads to the executions that read the model (Evaluator, Pusher), the second to what they wrote.
_HOPS_TO_VERDICT = 2
# ML Metadata hands text of a filter on to SQL with another language's escapes: what would need one cannot be asked for.
_UNQUOTABLE = re.compile(r'["\\\x00-\x1f]')
# A subgraph starts from a hundred nodes at most: ML Metadata drops the others without an error.
_STARTS_AT_ONCE = 100
# A longer list makes a statement that is too long for some databases.
_IDS_AT_ONCE = 1000


def open_store(config: ConnectionConfig) -> MetadataStore:
    """Opens the metadata store for reading; never creates or changes one.

    Args:
        config: File, database or server. Modes that would write are replaced.

    Raises:
        UserError: there is no store, or what is there is not an ML Metadata store.
    """
    place = describe_connection(config)
    try:
        store = MetadataStore(_make_read_only(config))
        # A server is not asked before the first question.
        store.get_contexts(ListOptions(limit=1))
    except (RuntimeError, mlmd_errors.StatusError, UnicodeDecodeError) as error:
        raise UserError(
            f"Cannot read {place} as a metadata store. It must be one that a run has written (ML Metadata's tables, "
            f"same version), and be readable by you. Received: {_shorten(error)}"
        ) from error
    return store


def _make_read_only(config: ConnectionConfig) -> ConnectionConfig:
    if isinstance(config, mlmd.MetadataStoreClientConfig):
        return config
    read_only = mlmd.ConnectionConfig()
    read_only.CopyFrom(config)
    if config.HasField("sqlite"):
        if not Path(config.sqlite.filename_uri).is_file():
            raise UserError(
                f"There is no metadata store: the file {config.sqlite.filename_uri} does not exist. "
                "The first run writes it (`make run`); `--root` names the folder of a store that is elsewhere."
            )
        read_only.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READONLY
    else:
        getattr(read_only, str(config.WhichOneof("config"))).skip_db_creation = True
    return read_only


def get_latest_pushed(store: MetadataStore, pipeline_name: str | None = None) -> mlmd.Artifact:
    """Returns the newest model that was really pushed (the Pusher also records those that it held back).

    Raises:
        UserError: nothing was pushed yet.
    """
    if pushed := _list_pushed(store, limit=1, pipeline_name=pipeline_name):
        return pushed[0]
    if pipeline_name is not None and _list_pushed(store, limit=1):
        others = sorted({_get_pipeline_name(store, artifact) for artifact in _list_pushed(store, limit=100)})
        raise UserError(
            f"No model of the pipeline {pipeline_name!r} was pushed. Pipelines with one: {', '.join(others)}."
        )
    # The untouched preset is recorded as a model too; only trained ones have a method.
    trained = ListOptions(filter_query="type = 'Model' AND custom_properties.method.string_value != ''")
    if held_back := store.get_artifacts(trained):
        newest = max(held_back, key=lambda artifact: artifact.create_time_since_epoch)
        raise UserError(
            f"No model was pushed: the gate held back all {len(held_back)} trained ones, or their runs did not end. "
            f"Give the path of a trained model instead, the newest is {newest.uri}"
        )
    raise UserError(
        "No model was pushed, and none was trained: no run has got as far as the Trainer. See the run's log."
    )


def find_model(store: MetadataStore, path: str) -> mlmd.Artifact:
    """Returns the pushed or trained model that `path` is, or lies in.

    Args:
        store: an open store.
        path: a pushed folder, the URI of a Model or PushedModel artifact, or a file inside one of these.

    Raises:
        UserError: the store does not know the path, or it belongs to something that is not a model.
    """
    found = find_by_path(store, path)
    if found:
        if found[0].type in MODEL_TYPES:
            return found[0]
        raise UserError(
            f"{path} belongs to an artifact of type {found[0].type}. The path must be, or lie in, a pushed or trained model."
        )
    known = [artifact.custom_properties["pushed_destination"].string_value for artifact in _list_pushed(store, limit=3)]
    hint = f"The latest pushed models: {', '.join(known)}" if known else "No model was pushed yet."
    raise UserError(f"The metadata store does not know {path}, nor any folder above it. {hint}")


def find_by_path(store: MetadataStore, path: str) -> list[mlmd.Artifact]:
    """Returns the artifacts that `path` is, or lies in: the innermost folder first.

    A version that was pushed by a process which was killed before it could record that is found by what it holds itself: the model that
    it was pushed from.

    Args:
        store: an open store.
        path: a URI or a path, written as the run wrote it, or from the current folder.
    """
    spellings = _list_spellings(path)
    found = _find_by_spellings(store, spellings)
    if not found:
        # A bucket would be asked through TensorFlow, which takes longer to load than the whole answer may.
        marks = (read_mark(spelling) for spelling in spellings if not is_remote(spelling))
        found = next(
            (
                _find_by_spellings(store, [mark["model"]])
                for mark in marks
                if mark and mark.get("model") and is_quotable(mark["model"])
            ),
            [],
        )
    return found


def _find_by_spellings(store: MetadataStore, spellings: list[str]) -> list[mlmd.Artifact]:
    if not spellings:
        return []
    names = ", ".join(f'"{spelling}"' for spelling in spellings)
    # Two queries: a condition on a property, even as one side of an OR, drops the artifacts that lack the property.
    found = [
        artifact
        for field in ("uri", "custom_properties.pushed_destination.string_value")
        for artifact in store.get_artifacts(ListOptions(filter_query=f"{field} IN ({names})"))
    ]

    def rank(artifact: mlmd.Artifact) -> tuple[int, bool, int]:
        # The innermost folder wins; of several artifacts with one place, what was pushed (a benchmark registers a pushed folder
        # as a model), then the newest.
        places = (artifact.uri, artifact.custom_properties["pushed_destination"].string_value)
        return (
            min(spellings.index(place) for place in places if place in spellings),
            artifact.type != "PushedModel",
            -artifact.id,
        )

    return sorted(found, key=rank)


def fetch_upstream(store: MetadataStore, *artifact_ids: int) -> mlmd.LineageGraph:
    """Fetches everything that went into artifacts, down to the data.

    A cached execution repeats the inputs of the one it stands for: going on behind it finds nothing new, and with many
    cached runs it is most of the graph.
    """
    merged = mlmd.LineageGraph()
    for part in _fetch(
        store, "artifacts", artifact_ids, _SubgraphQuery.UPSTREAM, _MAX_HOPS, stop_at="last_known_state = CACHED"
    ):
        merged.MergeFrom(part)
    return merged


def fetch_downstream(
    store: MetadataStore, artifact_ids: Iterable[int], max_num_hops: int = _MAX_HOPS
) -> list[mlmd.LineageGraph]:
    """Fetches everything that was made from artifacts: who read them, what these wrote, and so on.

    Args:
        store: An open store.
        artifact_ids: Where to start; any number.
        max_num_hops: From an artifact to its reader is one, to what that wrote another.
    """
    return _fetch(store, "artifacts", artifact_ids, _SubgraphQuery.DOWNSTREAM, max_num_hops)


def fetch_runs(store: MetadataStore, context_ids: Iterable[int]) -> list[mlmd.LineageGraph]:
    """Fetches the executions of runs with all that they read and wrote.

    Args:
        store: An open store.
        context_ids: Of the runs' contexts; any number.
    """
    return _surround(store, list_executions(store, context_ids))


def fetch_written(store: MetadataStore, runs: Iterable[mlmd.Context], keys: frozenset[str]) -> list[mlmd.LineageGraph]:
    """Fetches the executions of runs, of what they wrote only that under some names, and of what they read nothing.

    Args:
        store: An open store.
        runs: The runs' contexts; any number.
        keys: Names of outputs.
    """
    contexts = {context.id: context for context in runs}
    return _surround(store, list_executions(store, contexts), contexts, keys)


def _surround(
    store: MetadataStore,
    executions: list[mlmd.Execution],
    known: Mapping[int, mlmd.Context] = MappingProxyType({}),
    keys: frozenset[str] | None = None,
) -> list[mlmd.LineageGraph]:
    """Returns executions with their contexts, and with all that they read and wrote, or only what they wrote under some names.

    A subgraph of one hop is the same, and takes four times as long.
    """
    parts = []
    for start in range(0, len(executions), _IDS_AT_ONCE):
        graph = mlmd.LineageGraph(executions=executions[start : start + _IDS_AT_ONCE])
        graph.execution_types.extend(store.get_execution_types_by_id({e.type_id for e in graph.executions}))
        ids = [execution.id for execution in graph.executions]
        for part in _fetch(store, "executions", ids, _SubgraphQuery.BIDIRECTIONAL, 0, fields=("associations",)):
            graph.associations.extend(part.associations)
        contexts = {association.context_id for association in graph.associations}
        graph.contexts.extend(known[i] for i in contexts & known.keys())
        if others := sorted(contexts - known.keys()):
            graph.contexts.extend(store.get_contexts_by_id(others))
        events = store.get_events_by_execution_ids(ids)
        graph.events.extend(event for event in events if keys is None or _is_written_as(event, keys))
        if artifacts := sorted({event.artifact_id for event in graph.events}):
            graph.artifacts.extend(store.get_artifacts_by_id(artifacts))
        parts.append(graph)
    return parts


def list_executions(store: MetadataStore, context_ids: Iterable[int]) -> list[mlmd.Execution]:
    """Returns the executions of contexts; any number."""
    # A subgraph that starts from the contexts would drop executions beyond the hundredth without a word.
    return [
        execution
        for chunk in chunk_ids(sorted(context_ids))
        for execution in store.get_executions(ListOptions(filter_query=f"contexts_r.id IN ({_join(chunk)})"))
    ]


def _is_written_as(event: mlmd.Event, keys: frozenset[str]) -> bool:
    return event.type == mlmd.Event.OUTPUT and any(step.key in keys for step in event.path.steps)


def fetch_executions(store: MetadataStore, execution_ids: Iterable[int]) -> list[mlmd.LineageGraph]:
    """Fetches executions with their contexts, and nothing of what they read and wrote; any number."""
    return _fetch(store, "executions", execution_ids, _SubgraphQuery.BIDIRECTIONAL, 0)


def fetch_run_contexts(store: MetadataStore, artifact_ids: Iterable[int]) -> list[mlmd.Context]:
    """Fetches the contexts of the runs that wrote artifacts, or took them from the cache; each once, the newest first."""
    found: dict[int, mlmd.Context] = {}
    for part in _fetch(store, "artifacts", artifact_ids, _SubgraphQuery.UPSTREAM, 0):
        found |= {context.id: context for context in part.contexts if context.type == RUN_CONTEXT}
    return [found[i] for i in sorted(found, reverse=True)]


def fetch_makers(store: MetadataStore, artifact_ids: Iterable[int]) -> list[mlmd.LineageGraph]:
    """Fetches the executions that really made artifacts (cached ones only point to them), with all that these read and wrote.

    Args:
        store: An open store.
        artifact_ids: Any number.
    """
    executions = [
        execution
        for chunk in chunk_ids(sorted(artifact_ids))
        for execution in store.get_executions(
            ListOptions(
                filter_query=f"last_known_state = COMPLETE AND events_0.type = OUTPUT AND events_0.artifact_id IN ({_join(chunk)})"
            )
        )
    ]
    return _surround(store, executions)


def fetch_verdict(store: MetadataStore, model_id: int) -> mlmd.LineageGraph:
    """Fetches what was said of a model and done with it: evaluations, blessings, pushes.

    Not part of `fetch_upstream` from the pushed model, because an evaluation also reads the baseline model, and behind
    that one lies the history of all earlier runs.
    """
    (part,) = _fetch(store, "artifacts", [model_id], _SubgraphQuery.DOWNSTREAM, _HOPS_TO_VERDICT)
    return part


def fetch_cleaning_reports(store: MetadataStore, transform_graph_ids: Iterable[int]) -> list[mlmd.Artifact]:
    """Fetches what was reported of the cuts that transform graphs hold; the newest report of each graph."""
    reports = _fetch_reports(store, transform_graph_ids, *CLEANING_REPORT_TYPES)
    return sorted(reports, key=lambda report: get_properties(report)["round"])


def fetch_receipts(store: MetadataStore, examples_ids: Iterable[int]) -> list[mlmd.Artifact]:
    """Fetches the receipts of trainings that read these examples; the newest receipt of each, in order of time."""
    return sorted(_fetch_reports(store, examples_ids, "pipeline.TrainingReceipt"), key=lambda receipt: receipt.id)


def _fetch_reports(store: MetadataStore, artifact_ids: Iterable[int], *kinds: str) -> list[mlmd.Artifact]:
    """Fetches artifacts of some types that were made from others by executions which read these; the newest for each of these."""
    reads = [e for e in store.get_events_by_artifact_ids(list(artifact_ids)) if e.type == mlmd.Event.INPUT]
    readers = {e.execution_id: e.artifact_id for e in reads}
    written = [e for e in store.get_events_by_execution_ids(list(readers)) if e.type == mlmd.Event.OUTPUT]
    source_of = {e.artifact_id: readers[e.execution_id] for e in written}
    reports = [a for a in store.get_artifacts_by_id(list(source_of)) if a.type in kinds]
    newest = {source_of[report.id]: report for report in sorted(reports, key=lambda report: report.id)}
    return list(newest.values())


def _fetch(
    store: MetadataStore,
    kind: str,
    ids: Iterable[int],
    direction: int,
    max_num_hops: int,
    stop_at: str | None = None,
    fields: tuple[str, ...] = (),
) -> list[mlmd.LineageGraph]:
    query = _SubgraphQuery(direction=direction, max_num_hops=max_num_hops)
    if stop_at:
        query.ending_executions.filter_query = stop_at
    parts = []
    for chunk in chunk_ids(sorted(set(ids)), _STARTS_AT_ONCE):
        getattr(query, f"starting_{kind}").filter_query = f"id IN ({_join(chunk)})"
        parts.append(store.get_lineage_subgraph(query, fields))
    return parts


def chunk_ids(ids: list[int], size: int = _IDS_AT_ONCE) -> Iterator[list[int]]:
    """Yields ids in parts that one question may hold."""
    return (ids[start : start + size] for start in range(0, len(ids), size))


def _join(ids: Iterable[int]) -> str:
    return ", ".join(str(int(i)) for i in ids)


def _list_pushed(store: MetadataStore, limit: int, pipeline_name: str | None = None) -> list[mlmd.Artifact]:
    query = "type = 'PushedModel' AND custom_properties.pushed_destination.string_value != ''"
    if pipeline_name is not None:
        if not is_quotable(pipeline_name):
            return []
        query += f" AND contexts_p.type = 'pipeline' AND contexts_p.name = \"{pipeline_name}\""
    options = ListOptions(filter_query=query, limit=limit, order_by=OrderByField.ID, is_asc=False)
    return list(store.get_artifacts(options))


def _get_pipeline_name(store: MetadataStore, artifact: mlmd.Artifact) -> str:
    names: Iterable[str] = (c.name for c in store.get_contexts_by_artifact(artifact.id) if c.type == "pipeline")
    return next(iter(names), "(unnamed)")


def _list_spellings(path: str) -> list[str]:
    """Lists how the store may have written `path` and the folders above it, innermost first."""
    if not path or not is_quotable(path):
        return []
    if "://" in path:
        scheme, _, rest = path.partition("://")
        pure = PurePosixPath(rest)
        return _drop_unquotable(f"{scheme}://{folder}" for folder in (pure, *pure.parents) if str(folder) != ".")
    # Runs write absolute paths, or paths relative to where they were started; and a user may have followed a link.
    written_as = (os.path.abspath(path), os.path.relpath(path), os.path.realpath(path))
    by_level = itertools.zip_longest(*((pure, *pure.parents) for pure in map(PurePosixPath, written_as)))
    folders = [str(folder) for level in by_level for folder in level if folder is not None]
    return _drop_unquotable(f for f in dict.fromkeys(folders) if f not in (".", "/") and not f.endswith(".."))


def _drop_unquotable(folders: Iterable[str]) -> list[str]:
    return [folder for folder in folders if is_quotable(folder)]


def is_quotable(text: str) -> bool:
    """Returns whether a text can stand in double quotes in a filter of ML Metadata."""
    return not _UNQUOTABLE.search(text)


def _shorten(error: Exception) -> str:
    # MLMD adds the whole SQL statement.
    return (str(error).partition(" query:")[0].splitlines() or [type(error).__name__])[0][:200]
