"""What was made from what: the rule by which lineage is followed forward, and the walk along it."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ml_metadata.metadata_store.metadata_store import ListOptions, MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.lineage.store import is_quotable

# The names under which an execution reads what its outputs are not made from. A model is judged beside others and pushed by
# leave of a blessing; neither makes it a descendant of what the others or the judgement came from.
_ONLY_COMPARED = frozenset(
    {
        "baseline_model",
        "baseline_predictions",
        "like",
        "preset_model",
        "preset_predictions",
        "general_preset_predictions",
    }
)
_ONLY_ASKED = frozenset({"model_blessing", "infra_blessing"})
_NO_DESCENT = _ONLY_COMPARED | _ONLY_ASKED

MODEL = "model"  # the name under which an execution writes a model, or reads the one that it is about
BLESSING = "blessing"
PUSHED_MODEL = "pushed_model"
# The names under which the training and the token cleaning of a later round read the model of an earlier one.
EARLIER_ROUND = frozenset({"base_model", "reference_model"})
_PRESET_FOLDER = "/preset"
# A longer list makes a statement that is too long for some databases.
_VALUES_AT_ONCE = 500


def find_preset_folder(model_uri: str) -> str:
    """Returns the folder inside of a Model artifact from which another run can start."""
    return model_uri.rstrip("/") + _PRESET_FOLDER


def is_made_from(keys: Iterable[str]) -> bool:
    """Returns whether an execution's outputs are made from an input that it read under these names.

    An input under a name that is not known here counts: what a new component reads is what its outputs are made from.
    """
    return not (names := set(keys)) or not names <= _NO_DESCENT


def _leads_to_models(keys: set[str]) -> bool:
    # What reads a model under this name alone predicts with it, judges it or pushes it: with many models most of the graph.
    return is_made_from(keys) and keys != {MODEL}


def get_keys(event: mlmd.Event) -> set[str]:
    """Returns the names under which an execution read or wrote an artifact."""
    return {step.key for step in event.path.steps if step.HasField("key")}


class EventReader:
    """Reads the events of artifacts, those of each once."""

    def __init__(self, store: MetadataStore):
        self._store = store
        self._events: dict[int, list[mlmd.Event]] = {}

    def read(self, artifact_ids: Iterable[int]) -> Iterator[mlmd.Event]:
        """Yields all events of artifacts."""
        wanted = list(artifact_ids)
        if missing := [i for i in wanted if i not in self._events]:
            self._events |= {i: [] for i in missing}
            for event in self._store.get_events_by_artifact_ids(missing):
                self._events[event.artifact_id].append(event)
        for artifact_id in wanted:
            yield from self._events[artifact_id]


@dataclass(kw_only=True)
class Descent:
    """What models were made of, and by.

    Attributes:
        artifacts: Ids of what the question is about, and of all that was made from it; without what was only said of models.
        executions: Those that made it, cached repetitions included.
        models: Ids of the models among what was made: whatever was written under the name `model`.
        links: Ids of the models and scores that no event leads to: they were made in a run whose configuration names an earlier
            model.
    """

    artifacts: set[int] = field(default_factory=set)
    executions: set[int] = field(default_factory=set)
    models: set[int] = field(default_factory=set)
    links: set[int] = field(default_factory=set)


def find_descent(
    store: MetadataStore,
    artifact_ids: Iterable[int],
    models: Iterable[mlmd.Artifact] = (),
    events: EventReader | None = None,
) -> Descent:
    """Follows artifacts to all models that were made from them.

    Two kinds of edges lead on: events (an execution read an artifact and wrote another), and the record of a training or of
    token cleaning that another run's model was its start or its reference, named by folder or known by its weights.

    Args:
        store: An open store.
        artifact_ids: What the question is about.
        models: Models that are known to be made from it already; the walk goes on from them too.
        events: Reads the events; keeps those that it has read.
    """
    events = events or EventReader(store)
    unlinked = list(models)
    descent = Descent(models={model.id for model in unlinked})
    frontier = {*artifact_ids, *descent.models}
    # A model that the question is about can be the start of others as much as one that was made from it.
    candidates = frontier - descent.models
    while frontier:
        candidates |= _walk(store, events, frontier, descent)
        if candidates:
            unlinked += [a for a in store.get_artifacts_by_id(sorted(candidates)) if a.type == "Model"]
        linked = [artifact for artifact in find_linked(store, unlinked) if artifact.id not in descent.artifacts]
        frontier = {artifact.id for artifact in linked}
        unlinked = [artifact for artifact in linked if artifact.type == "Model"]
        descent.links |= frontier
        descent.models |= {model.id for model in unlinked}
        candidates = set()
    return descent


def _walk(store: MetadataStore, events: EventReader, starts: set[int], descent: Descent) -> set[int]:
    """Follows events; one query for what is read and one for what was written at each distance. Returns the new models."""
    models: set[int] = set()
    frontier = starts - descent.artifacts
    descent.artifacts |= frontier
    while frontier:
        readers = {
            event.execution_id
            for event in events.read(sorted(frontier))
            if event.type == mlmd.Event.INPUT and _leads_to_models(get_keys(event))
        } - descent.executions
        if not readers:
            break
        descent.executions |= readers
        frontier = set()
        for event in store.get_events_by_execution_ids(sorted(readers)):
            if event.type == mlmd.Event.OUTPUT and event.artifact_id not in descent.artifacts:
                frontier.add(event.artifact_id)
                if MODEL in get_keys(event):
                    models.add(event.artifact_id)
        descent.artifacts |= frontier
    descent.models |= models
    return models


def find_linked(store: MetadataStore, models: Iterable[mlmd.Artifact]) -> list[mlmd.Artifact]:
    """Finds what other runs made from models that their configuration named, which leaves no event.

    Args:
        store: An open store.
        models: Model artifacts.

    Returns:
        Models that started from the weights or the folder of one of these, and examples that were scored with one as the
        reference.
    """
    hashes, folders, own = set(), set(), set()
    for model in models:
        own.add(model.id)
        folders.add(model.uri)
        # Read one by one: with many models it is what takes the time.
        tuned, base = (model.custom_properties[name].string_value for name in ("tuned_hash", "base_hash"))
        # Weights that training left as they were are the preset's: all that starts from the preset would seem to follow.
        if tuned and tuned != base:
            hashes.add(tuned)
    found = {artifact.id: artifact for artifact in _find_by_hash(store, hashes)}
    if folders:
        found |= {artifact.id: artifact for artifact in _find_by_folder(store, folders)}
    return [artifact for artifact in found.values() if artifact.id not in own]


def _find_by_hash(store: MetadataStore, hashes: set[str]) -> Iterator[mlmd.Artifact]:
    values = sorted(value for value in hashes if is_quotable(value))
    for start in range(0, len(values), _VALUES_AT_ONCE):
        names = ", ".join(f'"{value}"' for value in values[start : start + _VALUES_AT_ONCE])
        query = f"type = 'Model' AND custom_properties.base_hash.string_value IN ({names})"
        yield from store.get_artifacts(ListOptions(filter_query=query))


def _find_by_folder(store: MetadataStore, folders: set[str]) -> Iterator[mlmd.Artifact]:
    for kind, name in (("Model", "started_from"), ("Examples", "reference")):
        query = f"type = '{kind}' AND custom_properties.{name}.string_value LIKE '%{_PRESET_FOLDER}'"
        for artifact in store.get_artifacts(ListOptions(filter_query=query)):
            folder = artifact.custom_properties[name].string_value.removesuffix(_PRESET_FOLDER)
            if folder in folders or ("://" not in folder and os.path.abspath(folder) in folders):
                yield artifact
