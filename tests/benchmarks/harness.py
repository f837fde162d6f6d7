"""What the benchmark scripts share: fresh processes, memory, options, and results with their command and machine."""

import argparse
import json
import os
import resource
import shlex
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

from machine import describe_machine

BEAM_ARGUMENTS = ["--runner=DirectRunner", "--prism_location=/nonexistent", "--sdk_container_image=none"]


def run_in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Returns what `function` returns; its peak of memory starts from nothing."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_end_with_parent) as pool:
        return pool.submit(function, *arguments).result()


def _end_with_parent() -> None:
    """Without it, the process of a benchmark that is killed goes on, and takes its time from the next one."""

    def wait() -> None:
        parent = parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def measure_rss() -> int:
    """Memory that this process holds now, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure_peak_rss() -> int:
    """The most memory that this process has held so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def parse_columns(text: str) -> dict[str, str]:
    """Reads `name=column,name=column`."""
    columns = dict(pair.split("=", 1) for pair in text.split(","))
    if not {"instruction", "output"} <= set(columns) <= {"instruction", "input", "output"}:
        raise argparse.ArgumentTypeError("give the columns of instruction, output and, if there is one, input")
    return columns


def describe_command() -> str:
    """Returns the command that runs; of absolute paths the last two parts, as the rest is one machine's own."""
    words = ["/".join(Path(word).parts[-2:]) if Path(word).is_absolute() else word for word in sys.argv[1:]]
    return shlex.join(["python", f"tests/benchmarks/{Path(sys.argv[0]).name}", *words])


def write_report(report: dict[str, Any], output: Path) -> None:
    """Writes the results of a script with the command that gave them and the machine, whole or not at all."""
    machine = describe_machine(["tensorflow", "keras", "keras-hub", "apache-beam", "numpy"])
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_suffix(".partial")
    text = json.dumps({"command": describe_command(), "machine": machine} | report, indent=1)
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(output)
