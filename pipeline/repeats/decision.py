"""Whether a run has anything to do: its inputs against those of earlier blessed runs. Imports no TFX."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ml_metadata.metadata_store.metadata_store import ListOptions, OrderByField

from components.pusher.versions import is_in_service
from pipeline.execution.run_record import RunRecord, write_run_record
from pipeline.execution.run_state import RUN_CONTEXT, SKIPPED
from pipeline.lineage.recorded import read_json
from pipeline.repeats.inputs import INPUTS, PARTS

# Custom properties of a run that was not needed.
SKIP_REASON = "skip_reason"
SAME_AS = "same_as_run"
_FEW = 1000  # runs that are read at first


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether a run is needed.

    Attributes:
        same_as: The blessed run with the same inputs; None if there is none.
        reason: Why, in words.
        forced: Whether it runs also if there is one.
    """

    same_as: str | None
    reason: str
    forced: bool = False

    @property
    def is_needed(self) -> bool:
        """Whether the run goes on."""
        return self.forced or self.same_as is None

    def __str__(self) -> str:
        if self.same_as is None:
            return f"Needed: {self.reason}."
        return f"{'Runs all the same (--force)' if self.forced else 'Skipped'}: {self.reason}."


def decide(store: Any, pipeline_name: str, inputs: dict[str, str], *, force: bool = False) -> Decision:
    """Says whether a run of the pipeline that was blessed and pushed had the very same inputs.

    Args:
        store: An `ml_metadata.MetadataStore`.
        pipeline_name: The pipeline.
        inputs: See `hash_inputs`.
        force: Whether the run goes on whatever is found.
    """
    newest: tuple[str, list[str]] | None = None
    refused = False
    for context_id, name, before in _list_runs(store, pipeline_name):
        # Whether a run was pushed is a question to the store for each: only where the answer matters.
        changes = [words for part, words in PARTS.items() if before.get(part) != inputs.get(part)]
        if newest is not None and changes:
            continue
        if not _is_pushed(store, context_id):
            # Another model is in service since, and that of these inputs was not found to be better.
            refused = refused or (not changes and _is_refused(store, context_id))
            continue
        if not changes and not refused and (problem := _find_problem_in_service(store, context_id)):
            reason = f"the model of the blessed run {name}, which had the same inputs, {problem}"
            return Decision(same_as=None, reason=reason, forced=force)
        if not changes:
            reason = f"data, configuration, code, preset and packages are those of the blessed run {name}"
            return Decision(same_as=name, reason=reason, forced=force)
        newest = (name, changes)
    if newest is None:
        return Decision(same_as=None, reason="no run of this pipeline was blessed and pushed before", forced=force)
    reason = f"changed since the blessed run {newest[0]}: {', '.join(newest[1])}"
    return Decision(same_as=None, reason=reason, forced=force)


def record_skipped(store: Any, run_id: str, record: RunRecord, decision: Decision) -> None:
    """Puts a run that was not needed into the store: a context without executions, with the reason.

    Args:
        store: An `ml_metadata.MetadataStore`.
        run_id: The run.
        record: See `make_record`.
        decision: That it is not needed.
    """
    found: RunRecord = {SKIPPED: "true", SKIP_REASON: decision.reason, SAME_AS: decision.same_as or ""}
    write_run_record(store, run_id, record | found)


def _list_runs(store: Any, pipeline_name: str) -> Iterator[tuple[int, str, dict[str, str]]]:
    """Yields context, name and inputs of the runs that were not skipped, newest first."""
    query = f"type = '{RUN_CONTEXT}' AND custom_properties.pipeline_name.string_value = '{pipeline_name}'"
    seen = 0
    # Those that were skipped can be most of them, and the store cannot leave them out.
    for limit in (_FEW, None):
        options = ListOptions(filter_query=query, order_by=OrderByField.ID, is_asc=False, limit=limit)
        contexts = store.get_contexts(options)
        for context in contexts[seen:]:
            inputs = context.custom_properties[INPUTS].string_value
            if not context.custom_properties[SKIPPED].string_value and (found := read_json(inputs, dict)):
                yield context.id, context.name, found
        seen = len(contexts)
        if seen < _FEW:
            break


def _is_pushed(store: Any, context_id: int) -> bool:
    """Returns whether a run has done all that it is for: one that was blessed may have failed to push."""
    return all(
        any(
            artifact.custom_properties[name].int_value == 1
            for artifact in store.get_artifacts(
                ListOptions(filter_query=f"type = '{kind}' AND contexts_r.id = {context_id}")
            )
        )
        for kind, name in (("ModelBlessing", "blessed"), ("PushedModel", "pushed"))
    )


def _is_refused(store: Any, context_id: int) -> bool:
    query = f"type = 'ModelBlessing' AND custom_properties.blessed.int_value = 0 AND contexts_r.id = {context_id}"
    return bool(store.get_artifacts(ListOptions(filter_query=query)))


def _find_problem_in_service(store: Any, context_id: int) -> str:
    """Returns why what a run has pushed is not what is served: it is gone, or another model was pushed since; "" if it is."""
    query = f"type = 'PushedModel' AND custom_properties.pushed.int_value = 1 AND contexts_r.id = {context_id}"
    names = ("pushed_destination", "pushed_version")
    try:
        is_served = any(
            is_in_service(*(artifact.custom_properties[name].string_value for name in names))
            for artifact in store.get_artifacts(ListOptions(filter_query=query))
        )
    except OSError as error:
        return f"cannot be looked for ({error})"
    return "" if is_served else "is not the one in service"
