"""Identifiers that exports share: the same execution has the same UUID in events and in bills of materials."""

import json
import uuid

# The project as a package URL (purl): the one URI that it has wherever it is hosted.
PROJECT = "lm-fine-tuning"
PROJECT_URI = f"pkg:generic/{PROJECT}"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, PROJECT_URI)


def make_uuid(*parts: str | int) -> str:
    """Returns the UUID (version 5) of some words: equal for equal words."""
    return str(uuid.uuid5(_NAMESPACE, json.dumps(parts)))


def make_run_uuid(pipeline_name: str, run_id: str) -> str:
    """Returns a run's own id where that is a UUID (as on Kubeflow Pipelines), else one made from it.

    Args:
        pipeline_name: Its pipeline; runs of several pipelines may start in the same moment.
        run_id: The run's id.
    """
    try:
        own = str(uuid.UUID(run_id))
    except ValueError:
        own = ""
    return own if own == run_id.lower() else make_uuid("run", pipeline_name, run_id)


def make_execution_uuid(pipeline_name: str, run_id: str, node: str, execution_id: int) -> str:
    """Returns the UUID of an execution; the number tells the attempts of one node apart.

    Args:
        pipeline_name: Its pipeline.
        run_id: Its run.
        node: Its node.
        execution_id: Its number in the metadata store.
    """
    return make_uuid("execution", pipeline_name, run_id, node, execution_id)
