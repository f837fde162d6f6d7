"""Finds the receipts of a run: in the metadata store, and those of runs that were stopped by one. Needs no TensorFlow."""

from dataclasses import dataclass
from pathlib import Path

from ml_metadata.metadata_store.metadata_store import ListOptions, MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.errors import UserError
from pipeline.receipt_report import RECEIPT_FILE, Receipt, read_receipt

RECEIPT_TYPE = "pipeline.TrainingReceipt"
_RECEIPTS = ListOptions(filter_query=f"type = '{RECEIPT_TYPE}' AND state = LIVE")
_NUM_NAMED = 5  # of what an error message lists


@dataclass(frozen=True, kw_only=True)
class RunReceipts:
    """The receipts of a run by node, in order."""

    run_id: str
    pipeline_name: str
    receipts: dict[str, Receipt]


def list_places(artifacts: list[mlmd.Artifact]) -> dict[str, Path]:
    """Returns where the receipts among artifacts are, by the node that wrote them, in order of time."""
    found = sorted((artifact for artifact in artifacts if artifact.type == RECEIPT_TYPE), key=lambda a: a.id)
    # `<root>/<node>/receipt/<execution>`
    return {Path(artifact.uri).parts[-3]: Path(artifact.uri) / RECEIPT_FILE for artifact in found}


def load_receipts(
    store: MetadataStore, root: Path, run_id: str | None = None, pipeline_name: str | None = None
) -> RunReceipts:
    """Returns the receipts of a run; without `run_id`, of the newest run (of the pipeline) that has some.

    Args:
        store: An open store.
        root: The runner's root, below which `receipts/<pipeline>/` has those of runs that were stopped.
        run_id: The run.
        pipeline_name: Only runs of this pipeline.

    Raises:
        UserError: There is no such run, it has no receipt, or a receipt cannot be read.
    """
    runs: dict[tuple[str, str], dict[str, Path]] = {}
    times: dict[tuple[str, str], tuple[float, int]] = {}  # ids of a cluster's runs do not sort by time
    for path in sorted((root / "receipts").glob("*/*.json")):
        run, _, node = path.stem.partition(".")
        runs.setdefault((run, path.parent.name), {})[node] = path
        times[run, path.parent.name] = (path.stat().st_mtime * 1000, 0)
    by_run: dict[tuple[str, str], list[mlmd.Artifact]] = {}
    created: dict[tuple[str, str], tuple[float, int]] = {}
    for artifact in store.get_artifacts(_RECEIPTS):
        contexts = store.get_contexts_by_artifact(artifact.id)
        name = next((context.name for context in contexts if context.type == "pipeline"), "(unnamed)")
        for context in contexts:
            if context.type == "pipeline_run":
                by_run.setdefault((context.name, name), []).append(artifact)
                # Of the run: an artifact that it took from the cache is older.
                created[context.name, name] = (context.create_time_since_epoch, context.id)
    for key, artifacts in by_run.items():
        # A run that was stopped and then went on has both.
        runs[key] = runs.get(key, {}) | list_places(artifacts)
    times |= created
    chosen = [
        key
        for key in runs
        if (run_id is None or key[0] == run_id) and (pipeline_name is None or key[1] == pipeline_name)
    ]
    if not chosen:
        known = [key[0] for key in sorted(runs, key=times.__getitem__, reverse=True)]
        more = f" and {len(known) - _NUM_NAMED:,} more" if len(known) > _NUM_NAMED else ""
        raise UserError(
            "--run and --pipeline must fit a run that has come as far as the receipt of its training. Received: "
            f"{run_id or 'any run'} of {pipeline_name or 'any pipeline'}. Such runs, newest first: "
            f"{', '.join(known[:_NUM_NAMED]) or 'none'}{more}."
        )
    newest = max(chosen, key=times.__getitem__)
    receipts = {node: read_receipt(path) for node, path in runs[newest].items()}
    return RunReceipts(run_id=newest[0], pipeline_name=newest[1], receipts=receipts)
