"""Exports as bytes: OpenLineage events, one a line, and bills of materials, signed on request."""

from collections.abc import Iterator

from ml_metadata.metadata_store.metadata_store import MetadataStore

from pipeline.lineage.export.canonical import to_canonical
from pipeline.lineage.export.subjects import find_model, find_runs
from pipeline.lineage.trace import trace_artifact


def export_events(
    store: MetadataStore, subject: str | None, pipeline_name: str | None, namespace: str
) -> Iterator[bytes]:
    """Yields the events of the runs behind a subject, as lines of canonical JSON.

    Args:
        store: An open store.
        subject: See `pipeline.lineage.export.subjects.find_runs`.
        pipeline_name: Likewise.
        namespace: Of the jobs.

    Raises:
        UserError: The store knows nothing of the subject.
    """
    from pipeline.lineage.export.openlineage import list_events

    for event in list_events(store, find_runs(store, subject, pipeline_name), namespace):
        yield to_canonical(event) + b"\n"


def export_bom(store: MetadataStore, subject: str | None, pipeline_name: str | None, key_path: str | None) -> bytes:
    """Returns the bill of materials of the model that a subject means, as canonical JSON.

    Args:
        store: An open store.
        subject: See `pipeline.lineage.export.subjects.find_model`.
        pipeline_name: Likewise.
        key_path: The private key that signs it; None leaves it unsigned.

    Raises:
        UserError: The store knows nothing of the subject, it is no model, or the key cannot be used.
    """
    from pipeline.lineage.export.cyclonedx import make_bom
    from pipeline.lineage.export.schemas import check_bom

    if key_path is None:
        return to_canonical(make_bom(trace_artifact(store, find_model(store, subject, pipeline_name))))
    from pipeline.lineage.export.keys import load_private_key
    from pipeline.lineage.export.signature import sign

    # First, so that a key that cannot be used is told at once.
    key = load_private_key(key_path)
    bom = sign(make_bom(trace_artifact(store, find_model(store, subject, pipeline_name))), key)
    check_bom(bom)
    return to_canonical(bom)
