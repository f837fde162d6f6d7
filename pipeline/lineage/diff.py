"""Answers what differs between two runs or models. What is equal is left out."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.lineage.changes import Change, Section, compare, make_change
from pipeline.lineage.code_changes import compare_code
from pipeline.lineage.data_changes import compare_data
from pipeline.lineage.flatten import flatten
from pipeline.lineage.graph import Properties, get_properties
from pipeline.lineage.measurements import compare_metrics, compare_outcomes
from pipeline.lineage.recorded import read_config
from pipeline.lineage.sides import Side, find_sides

# Which properties of a trained model belong where; all others are numbers of the training.
_PRESET = ("preset", "base_hash")
_ENVIRONMENT = (
    "backend",
    "device",
    "strategy",
    "num_replicas",
    "jit_compile",
    "compiled_lengths",
    "micro_batch_tokens",
)
_TIMINGS = ("seconds", "tokens_per_second")
_ELSEWHERE = {
    *_PRESET, *_ENVIRONMENT, *_TIMINGS,
    "code_version", "code_dirty", "lock_sha256", "hardware",  # of the run as well
    "started_from",  # a folder of the run itself in every round but the first; `base_hash` says what was in it
    "content_sha256", "content_bytes", "is_external", "tfx_version", "name", "state", "pipeline_name", "producer_component",
}  # fmt: skip
_STATES = {
    mlmd.Execution.COMPLETE: "ran", mlmd.Execution.CACHED: "cached", mlmd.Execution.FAILED: "failed",
    mlmd.Execution.RUNNING: "running", mlmd.Execution.NEW: "new", mlmd.Execution.CANCELED: "canceled",
}  # fmt: skip
# A node is as fast as before within these.
_MIN_SECONDS, _MIN_SHARE = 1.0, 0.1


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What a comparison is of."""

    subject: str
    run_id: str
    pipeline_name: str
    started_at: str
    model_id: int | None
    model_uri: str


@dataclass(frozen=True, kw_only=True)
class Diff:
    """All that differs.

    Attributes:
        before: The first side.
        after: The second.
        sections: Those in which something differs.
    """

    before: Compared
    after: Compared
    sections: tuple[Section, ...]

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs but times."""
        return all(section.is_timing for section in self.sections)


def find_diff(
    store: MetadataStore, before: str | None = None, after: str | None = None, pipeline_name: str | None = None
) -> Diff:
    """Compares two runs or models.

    Args:
        store: An open store.
        before: See `find_sides`.
        after: Likewise.
        pipeline_name: Likewise.

    Raises:
        UserError: There is no such run or model.
    """
    return compare_sides(*find_sides(store, before, after, pipeline_name))


def compare_sides(left: Side, right: Side) -> Diff:
    """Compares what is known of two sides."""
    by_title: dict[str, Callable[[Side, Side], Iterable[Change]]] = {
        "Verdict": _compare_outcomes,
        "Metrics": lambda a, b: compare_metrics(_find_evaluation(a), _find_evaluation(b)),
        "Data": compare_data,
        "Configuration": _compare_configs,
        "Preset": lambda a, b: compare(_get_model(a), _get_model(b), _PRESET),
        "Code": compare_code,
        "Packages": lambda a, b: _compare_known("lock_sha256", a, b),
        "Environment": _compare_environments,
        "Training": _compare_trainings,
        "Nodes": _compare_nodes,
        "Times": _compare_times,
    }
    sections = {title: tuple(changes(left, right)) for title, changes in by_title.items()}
    notes = {"Metrics": "of the candidates"}
    if sections["Data"]:
        notes["Metrics"] += ", which were measured on other data"
    return Diff(
        before=_describe(left),
        after=_describe(right),
        sections=tuple(
            Section(title=title, changes=changes, note=notes.get(title, ""), is_timing=title == "Times")
            for title, changes in sections.items()
            if changes
        ),
    )


def _describe(side: Side) -> Compared:
    return Compared(
        subject=side.text,
        run_id=side.run_id,
        pipeline_name=side.pipeline_name,
        started_at=side.started_at,
        model_id=side.model.id if side.model else None,
        model_uri=side.model.uri if side.model else "",
    )


def _get_model(side: Side) -> Properties:
    return get_properties(side.model) if side.model else {}


def _find_evaluation(side: Side) -> Properties:
    return side.find_output("ModelEvaluation", having="metrics")


def _compare_outcomes(left: Side, right: Side) -> Iterator[Change]:
    if left.pipeline_name != right.pipeline_name and left.pipeline_name and right.pipeline_name:
        yield Change(key="pipeline", before=left.pipeline_name, after=right.pipeline_name)
    yield from compare_outcomes(_find_verdict(left), _find_verdict(right))
    if change := make_change("pushed", _is_pushed(left), _is_pushed(right)):
        yield change


def _find_verdict(side: Side) -> Properties:
    return _find_evaluation(side) | side.find_output("ModelBlessing")


def _is_pushed(side: Side) -> str:
    return "yes" if side.find_output("PushedModel").get("pushed_destination") else "no"


def _compare_configs(left: Side, right: Side) -> Iterator[Change]:
    before, after = _read_config(left), _read_config(right)
    if before and after:
        yield from compare(before, after)
    elif before or after:
        words = ["recorded" if config else "not recorded" for config in (before, after)]
        yield Change(key="configuration", before=words[0], after=words[1])


def _read_config(side: Side) -> dict[str, Any]:
    config = read_config(side.run.get("config"))
    return flatten(config, name_elements=True) if config else {}


def _compare_known(name: str, left: Side, right: Side) -> Iterator[Change]:
    """A property of the run, or where that does not have it, of the model."""
    before, after = (side.run.get(name) or _get_model(side).get(name) for side in (left, right))
    if before and after and (change := make_change(name, before, after)):
        yield change


def _compare_environments(left: Side, right: Side) -> Iterator[Change]:
    yield from _compare_known("hardware", left, right)
    yield from _compare_known("runner", left, right)
    before, after = _get_model(left), _get_model(right)
    if before and after:
        yield from compare(before, after, _ENVIRONMENT)


def _compare_trainings(left: Side, right: Side) -> Iterator[Change]:
    before, after = ({k: v for k, v in _get_model(side).items() if k not in _ELSEWHERE} for side in (left, right))
    if before and after:
        yield from compare(before, after)
    elif before or after:
        words = ["trained" if model else "not trained" for model in (before, after)]
        yield Change(key="model", before=words[0], after=words[1])


def _compare_nodes(left: Side, right: Side) -> Iterator[Change]:
    if left.executions or right.executions:
        yield from compare(_list_states(left), _list_states(right))


def _list_states(side: Side) -> dict[str, str]:
    states = {node: side.graph.executions[i].last_known_state for node, i in side.executions.items()}
    return {node: _STATES.get(state, "unknown") for node, state in states.items()}


def _compare_times(left: Side, right: Side) -> Iterator[Change]:
    before, after = _list_times(left), _list_times(right)
    changes = [*compare(before, after, [node for node in before if node in after])]
    before, after = _get_model(left), _get_model(right)
    if before and after:
        changes += compare(before, after, _TIMINGS)
    for change in changes:
        if change.difference is not None and _is_notable(change.before, change.after):
            yield change


def _list_times(side: Side) -> dict[str, float]:
    """Returns the seconds of each node that really ran to its end."""
    executions = {node: side.graph.executions[i] for node, i in side.executions.items()}
    return {
        f"{node} (s)": (e.last_update_time_since_epoch - e.create_time_since_epoch) / 1000
        for node, e in executions.items()
        if e.last_known_state == mlmd.Execution.COMPLETE
    }


def _is_notable(before: float, after: float) -> bool:
    return abs(after - before) > max(_MIN_SECONDS, _MIN_SHARE * max(abs(before), abs(after)))


def to_json(diff: Diff) -> dict[str, Any]:
    """Returns a comparison as JSON has it, with `equal` beside the rest."""
    import dataclasses

    return {"equal": diff.is_equal, **json.loads(json.dumps(dataclasses.asdict(diff)))}
