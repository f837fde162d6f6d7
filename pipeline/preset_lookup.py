"""Presets on hubs, when a run begins: the newest state is asked for once, checked, and compared with that of the last run."""

import json
from collections.abc import Iterator
from typing import Any

from ml_metadata.metadata_store.metadata_store import ListOptions, OrderByField
from rich.console import Console

from components.errors import UserError
from components.metrics.table import make_metrics
from components.presets.handles import HUB, fetch_snapshot, is_pinned, pin_handle
from configs.schema import RunConfig
from pipeline.execution.run_record import PRESET_REVISION
from pipeline.execution.run_state import RUN_CONTEXT
from pipeline.preset_checks import describe_preset, find_preset_problems


def look_up_presets(config: RunConfig, console: Console) -> None:
    """Asks the hub for the presets of a run, downloads what is missing, and says what the tuned one is.

    From then on the nodes take what is on this machine, so that all see one state.

    Raises:
        UserError: One cannot be had, or cannot be loaded.
    """
    metrics = make_metrics([section.model_dump(mode="json") for section in config.evaluation.metrics]).values()
    for metric in metrics:
        look_up_preset(getattr(metric, "preset", None), console)
    for preset in (config.model.preset, config.token_cleaning.reference.preset):
        look_up_preset(preset, console)
        if preset and (problems := find_preset_problems(preset)):
            raise UserError("model.preset " + " ".join(problems))
    if told := describe_preset(config.model.preset):
        console.print(told, style="dim", soft_wrap=True, markup=False, highlight=False)


def look_up_preset(preset: str | None, console: Console) -> None:
    """Asks the hub for the newest state of an `hf://` handle, and downloads what is missing; other presets are left as they are.

    Raises:
        UserError: It cannot be had.
    """
    if preset and preset.startswith(HUB):
        with console.status(f"Asking the hub for {preset}, and downloading what is missing"):
            fetch_snapshot(preset)


def describe_move(store: Any, config: RunConfig, commit: str) -> str | None:
    """Returns a sentence if a handle without a commit names another one than in the last run of the pipeline; else None.

    Args:
        store: An `ml_metadata.MetadataStore`.
        config: The run, not in the store yet.
        commit: That its handle names now; "" for other presets.
    """
    preset = config.model.preset
    if not commit or is_pinned(preset):
        return None
    query = f"type = '{RUN_CONTEXT}' AND custom_properties.pipeline_name.string_value = {_quote(config.pipeline.name)}"
    options = ListOptions(filter_query=query, order_by=OrderByField.ID, is_asc=False, limit=100)
    for context in store.get_contexts(options):
        properties = context.custom_properties
        before = properties[PRESET_REVISION].string_value
        if properties["preset"].string_value == preset and before:
            if before == commit:
                return None
            return (
                f"{preset} has moved since the run {context.name}: from commit {before[:12]} to {commit[:12]}. To stay with the model of "
                f"then: model.preset: {pin_handle(preset, before)}"
            )
    return None


def describe_other_weights(store: Any, model: Any) -> str | None:
    """Returns a sentence if a preset that is a name or a handle had other weights when it was last tuned; else None.

    Args:
        store: An `ml_metadata.MetadataStore`.
        model: The Trainer's Model artifact, in the store.
    """
    name, weights = (_get_text(model, key) for key in ("preset", "base_hash"))
    if not name or not weights or is_pinned(name) or _get_text(model, "started_from") != name:
        return None
    for other in _list_models(store, name):
        before = _get_text(other, "base_hash")
        if other.id < model.id and before:
            if before == weights:
                return None
            return (
                f"{name} has other weights than when it was tuned last (model {other.id}): {before[:12]} then, {weights[:12]} now. "
                "Results of the two do not compare."
            )
    return None


def _list_models(store: Any, preset: str) -> Iterator[Any]:
    query = f"type = 'Model' AND custom_properties.preset.string_value = {_quote(preset)}"
    options = ListOptions(filter_query=query, order_by=OrderByField.ID, is_asc=False, limit=100)
    yield from store.get_artifacts(options)


def _quote(text: str) -> str:
    return json.dumps(text)


def _get_text(artifact: Any, key: str) -> str:
    return artifact.custom_properties[key].string_value if key in artifact.custom_properties else ""
