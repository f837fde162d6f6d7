"""Wall time of a whole run: a process a node, side by side (`python -m pipeline run`), against TFX's `LocalDagRunner`.

Both start from nothing, in turn, each run as a process of its own with a root of its own; the same pipeline, the same arguments
of Beam. Peak memory is the largest of the process and of its children.

    python tests/benchmarks/local_runners.py [CONFIG] [--set SECTION.KEY=VALUE ...] [--repeats 3]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness import write_report

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_CONFIG = "configs/runs/tiny_gpt2_en_lora.yaml"
_BLESSED_OR_NOT = (0, 3)


def run_with_tfx(config_path: str, root: str, overrides: list[str]) -> None:
    """Runs the pipeline in this process, node by node, as TFX does."""
    from components import runtime

    runtime.set_defaults()
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner
    from tfx.orchestration.metadata import sqlite_metadata_connection_config

    from configs.runner_schema import BeamSection
    from pipeline.beam.options import make_beam_args
    from pipeline.paths import make_places
    from pipeline.pipeline import create_pipeline
    from pipeline.validate import load_config

    config = load_config(config_path, overrides)
    pipeline = create_pipeline(
        config,
        places=make_places(root, config.pipeline.name),
        metadata_connection_config=sqlite_metadata_connection_config(f"{root}/metadata.sqlite"),
        beam_pipeline_args=make_beam_args(BeamSection()),
    )
    LocalDagRunner().run(pipeline)


def measure(command: list[str]) -> dict[str, float]:
    """Returns the wall time in seconds and the peak of the process group's memory in GiB."""
    started = time.monotonic()
    peak = 0
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        while process.poll() is None:
            peak = max(peak, _read_group_memory(process.pid))
            # Adding up the pages of twenty processes takes a tenth of a second of a core.
            time.sleep(2)
        if process.returncode not in _BLESSED_OR_NOT:
            log.seek(0)
            sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{log.read().decode()[-3000:]}")
    return {"wall_seconds": round(time.monotonic() - started, 1), "peak_gib": round(peak / 2**30, 2)}


def _read_group_memory(group: int) -> int:
    """Returns the proportional memory (PSS) of all processes of a session, in bytes: shared pages count once."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == group:
                lines = (folder / "smaps_rollup").read_text().splitlines()
                total += next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
    return total


def main() -> None:
    """Measures and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default=DEFAULT_CONFIG)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tfx-root", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "local_runners.json")
    arguments = parser.parse_args()
    if arguments.tfx_root:
        run_with_tfx(arguments.config, arguments.tfx_root, arguments.overrides)
        return
    settings = [word for override in arguments.overrides for word in ("--set", override)]
    rounds: list[dict[str, Any]] = []
    for number in range(arguments.repeats):
        with tempfile.TemporaryDirectory() as folder:
            here = [sys.executable, "-m", "pipeline", "run", arguments.config, "--root", f"{folder}/ours", *settings]
            tfx = [sys.executable, __file__, arguments.config, "--tfx-root", f"{folder}/tfx", *settings]
            sides = {"a process a node": here, "LocalDagRunner": tfx}
            order = list(sides) if number % 2 == 0 else list(sides)[::-1]
            one = {side: measure(sides[side]) for side in order}
        rounds.append(one)
        print(json.dumps(one), file=sys.stderr, flush=True)
    ratios = [r["a process a node"]["wall_seconds"] / r["LocalDagRunner"]["wall_seconds"] for r in rounds]
    summary = {"wall time, ours by LocalDagRunner's": {"median": round(statistics.median(ratios), 3), "all": ratios}}
    write_report({"summary": summary, "rounds": rounds}, arguments.output)


if __name__ == "__main__":
    main()
