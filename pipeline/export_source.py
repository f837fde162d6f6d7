"""What `export` is asked for: from the words on the command line to a preset, and to what is known of it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components import storage
from components.errors import UserError
from pipeline.lineage.export.subjects import find_model
from pipeline.lineage.graph import Trace
from pipeline.lineage.store import find_by_path
from pipeline.lineage.trace import trace_artifact
from pipeline.paths import require_plain

if TYPE_CHECKING:
    from ml_metadata.metadata_store import MetadataStore

_HANDLES = ("kaggle://", "hf://")
# KerasHub's names have an underscore; ids of runs and hashes have none.
_BUILT_IN = re.compile(r"[a-z0-9.]+_[a-z0-9_.]+")
_PRESET, _SAVED_MODEL = "preset", "Format-Serving"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A model that is to be exported.

    Attributes:
        name: For its folder and its card.
        preset: A folder, a name or a handle.
        saved_model: Folder of the SavedModel that was made of it; None if there is none.
        trace: Where it came from; None if the store does not say.
    """

    name: str
    preset: str
    saved_model: str | None = None
    trace: Trace | None = None


def find_source(text: str | None, pipeline_name: str | None, open_store: Callable[[], "MetadataStore"]) -> Source:
    """Returns the model that words mean.

    Args:
        text: A preset (folder, name or handle), a Model artifact's folder, a pushed version, or what `lineage` takes: a run, an
            artifact's number, a hash. None: the model pushed last.
        pipeline_name: Without `text`: only models of this pipeline.
        open_store: Opens the metadata store.

    Raises:
        UserError: It means no model, or one whose files are gone.
    """
    if text is not None and (text.startswith(_HANDLES) or (_BUILT_IN.fullmatch(text) and not Path(text).exists())):
        return Source(name=re.sub(r"[^\w.-]+", "-", text.partition("://")[2] or text), preset=text)
    if text is not None and Path(text).is_dir() and (found := _find_folder(Path(text), open_store)):
        return found
    store = open_store()
    return _make_source(trace_artifact(store, find_model(store, text, pipeline_name)))


def _find_folder(folder: Path, open_store: Callable[[], "MetadataStore"]) -> Source | None:
    """A preset's folder or a Model artifact's; None for others, such as a pushed version, which the store knows."""
    folder = folder.resolve()
    if (folder / "config.json").is_file():
        preset, saved_model = folder, None
    elif (folder / _PRESET / "config.json").is_file():
        preset = folder / _PRESET
        saved_model = str(folder / _SAVED_MODEL) if (folder / _SAVED_MODEL / "saved_model.pb").is_file() else None
    else:
        return None
    try:
        store = open_store()
        known = [artifact for artifact in find_by_path(store, str(folder)) if artifact.type == "Model"]
        trace = trace_artifact(store, known[0]) if known else None
    except UserError:
        trace = None  # a folder from elsewhere, or no store at all: the model is written all the same
    name = require_plain(f"{trace.run.pipeline_name}-{trace.run.id}") if trace else folder.name
    return Source(name=name, preset=str(preset), saved_model=saved_model, trace=trace)


def _make_source(trace: Trace) -> Source:
    uri, recorded = trace.artifact.uri, trace.artifact.properties
    name = require_plain(f"{trace.run.pipeline_name}-{trace.run.id}")
    preset = storage.join(uri, _PRESET)
    if storage.exists(storage.join(preset, "config.json")):
        saved_model = storage.join(uri, _SAVED_MODEL)
        is_there = storage.exists(storage.join(saved_model, "saved_model.pb"))
        return Source(name=name, preset=preset, saved_model=saved_model if is_there else None, trace=trace)
    if not recorded.get("method") and recorded.get("preset"):  # the untouched preset
        return Source(name=name, preset=str(recorded["preset"]), trace=None)
    gone = "its files were removed by a collection" if trace.artifact.is_collected else f"there is none in {uri}"
    raise UserError(
        f"the model must have its preset, from which every format is written; {gone}. Run the pipeline again, or export another "
        "model: `python -m pipeline lineage runs` lists them."
    )
