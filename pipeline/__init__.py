"""The pipeline: how it is put together, run on this machine, compiled for clusters, and what is shown of it."""

import importlib
from typing import Any

# A container of Vertex AI imports the class of an artifact by the name of its type (`TYPE_NAME`), as if it were a path.
_ARTIFACT_TYPES = {
    "TokenCleaningReport": "components.cleaning_report.component",
    "TrainingReceipt": "components.receipt.component",
}


def __getattr__(name: str) -> Any:
    """Returns an artifact type of our own; imported when it is asked for, because that takes TFX."""
    if name not in _ARTIFACT_TYPES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_ARTIFACT_TYPES[name]), name)
