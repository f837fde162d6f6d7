"""What became of models: the verdict on each, where it was pushed to, and whether it is in production."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ml_metadata.metadata_store.metadata_store import ListOptions, MetadataStore, OrderByField
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.lineage.descent import BLESSING, EARLIER_ROUND, MODEL, PUSHED_MODEL, EventReader, get_keys
from pipeline.lineage.graph import format_time
from pipeline.lineage.store import is_quotable

# Of how many models the verdicts are looked up one by one, rather than among all verdicts of the store.
_FEW = 300
_WRITTEN = ("ModelBlessing", "PushedModel")
_PUSHED = "type = 'PushedModel' AND custom_properties.pushed_destination.string_value != ''"


@dataclass(frozen=True, kw_only=True)
class Push:
    """A copy of a model that is served."""

    artifact_id: int
    destination: str
    version: str
    pushed_at: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a model.

    Attributes:
        blessed: By the newest evaluation of it; None if there was none.
        verdict: Why, in words.
        pushes: The newest first.
        is_read_by_trainings: Another training, or token cleaning, of its run read it.
    """

    blessed: bool | None = None
    verdict: str = ""
    pushes: tuple[Push, ...] = ()
    is_read_by_trainings: bool = False

    @property
    def is_for_other_models(self) -> bool:
        """Whether it served other trainings, and was never judged itself."""
        return self.is_read_by_trainings and self.blessed is None


def find_outcomes(store: MetadataStore, model_ids: Collection[int], events: EventReader) -> dict[int, Outcome]:
    """Returns what became of models.

    Args:
        store: An open store.
        model_ids: Their ids; of any number, with a few queries.
        events: Reads the models' events.
    """
    readers: dict[int, int] = {}  # an execution that judges or pushes reads one model under this name
    for_trainings = set()
    for event in events.read(sorted(model_ids)):
        keys = get_keys(event) if event.type == mlmd.Event.INPUT else set()
        if MODEL in keys:
            readers[event.execution_id] = event.artifact_id
        if keys & EARLIER_ROUND:
            for_trainings.add(event.artifact_id)
    written = _find_written(store, readers, is_few=len(model_ids) <= _FEW)
    verdicts: dict[int, mlmd.Artifact] = {}
    pushes: dict[int, dict[int, mlmd.Artifact]] = {}  # by model, then by id: a cached push is one with the first
    for artifact, execution_id in sorted(written, key=lambda item: -item[0].id):
        model_id = readers[execution_id]
        if artifact.type == "ModelBlessing":
            verdicts.setdefault(model_id, artifact)
        elif artifact.custom_properties["pushed_destination"].string_value:
            pushes.setdefault(model_id, {})[artifact.id] = artifact
    return {
        model_id: Outcome(
            blessed=_is_blessed(verdicts.get(model_id)),
            verdict=verdicts[model_id].custom_properties["reason"].string_value if model_id in verdicts else "",
            pushes=tuple(_make_push(artifact) for artifact in pushes.get(model_id, {}).values()),
            is_read_by_trainings=model_id in for_trainings,
        )
        for model_id in model_ids
    }


def _find_written(store: MetadataStore, readers: Collection[int], is_few: bool) -> Iterable[tuple[mlmd.Artifact, int]]:
    """Returns blessings and pushed models, each with the execution that wrote it."""
    if not readers:
        return []
    if is_few:
        events = store.get_events_by_execution_ids(sorted(readers))
        wanted = [e for e in events if e.type == mlmd.Event.OUTPUT and get_keys(e) & {BLESSING, PUSHED_MODEL}]
        found = store.get_artifacts_by_id(sorted({e.artifact_id for e in wanted})) if wanted else []
    else:
        # Each evaluation has a dozen events; it is quicker to ask all verdicts and pushes who wrote them.
        found = [artifact for kind in _WRITTEN for artifact in store.get_artifacts_by_type(kind)]
        wanted = store.get_events_by_artifact_ids([artifact.id for artifact in found]) if found else []
    by_id = {artifact.id: artifact for artifact in found if artifact.type in _WRITTEN}
    return [
        (by_id[event.artifact_id], event.execution_id)
        for event in wanted
        if event.type == mlmd.Event.OUTPUT and event.artifact_id in by_id and event.execution_id in readers
    ]


def find_production(store: MetadataStore, pipeline_names: Iterable[str]) -> dict[int, str]:
    """Returns the model that each pipeline has pushed last, with the pipeline's name."""
    newest: dict[int, str] = {}
    for name in filter(is_quotable, pipeline_names):
        condition = f"{_PUSHED} AND contexts_p.type = 'pipeline' AND contexts_p.name = \"{name}\""
        options = ListOptions(filter_query=condition, limit=1, order_by=OrderByField.ID, is_asc=False)
        newest |= {artifact.id: name for artifact in store.get_artifacts(options)}
    writers = {
        event.execution_id: event.artifact_id
        for event in (store.get_events_by_artifact_ids(sorted(newest)) if newest else [])
        if event.type == mlmd.Event.OUTPUT
    }
    return {
        event.artifact_id: newest[writers[event.execution_id]]
        for event in (store.get_events_by_execution_ids(sorted(writers)) if writers else [])
        if event.type == mlmd.Event.INPUT and MODEL in get_keys(event)
    }


def _is_blessed(blessing: mlmd.Artifact | None) -> bool | None:
    return None if blessing is None else blessing.custom_properties["blessed"].int_value == 1


def _make_push(artifact: mlmd.Artifact) -> Push:
    return Push(
        artifact_id=artifact.id,
        destination=artifact.custom_properties["pushed_destination"].string_value,
        version=artifact.custom_properties["pushed_version"].string_value,
        pushed_at=format_time(artifact.create_time_since_epoch),
    )
