"""What the first container of a run on Kubeflow Pipelines does: it says whether the others are needed. Imports no TFX."""

import json
from pathlib import Path

from pipeline.execution.run_record import write_run_record
from pipeline.execution.run_state import PROCESS
from pipeline.execution.store_lock import lock_store
from pipeline.kubeflow.arguments import ContainerRun
from pipeline.metadata_connection import open_writable_store
from pipeline.repeats.decision import Decision, decide, record_skipped
from pipeline.repeats.inputs import INPUTS, make_record

NEEDED, NOT_NEEDED = "true", "false"


def check_run(run: ContainerRun, needed_file: Path, *, force: bool) -> Decision:
    """Compares the run's inputs with those of blessed runs, records the run, prints why it is needed or not.

    Args:
        run: The run.
        needed_file: Where the answer goes, `NEEDED` or `NOT_NEEDED`; the condition of all other containers.
        force: Whether the run goes on whatever is found.

    Raises:
        UserError: If the data cannot be read, or the store cannot be reached.
    """
    record = make_record(run.config, run.config_path, runner="kubeflow")
    # Its containers are many processes on many machines.
    for name in (PROCESS, "hardware"):
        record.pop(name)
    with lock_store(run.connection):
        store = open_writable_store(run.connection)
        decision = decide(store, run.config.pipeline.name, json.loads(str(record[INPUTS])), force=force)
        if decision.is_needed:
            write_run_record(store, run.run_id, record, run.nodes)
        else:
            record_skipped(store, run.run_id, record, decision)
    print(decision, flush=True)
    needed_file.parent.mkdir(parents=True, exist_ok=True)
    needed_file.write_text(NEEDED if decision.is_needed else NOT_NEEDED, encoding="utf-8")
    return decision
