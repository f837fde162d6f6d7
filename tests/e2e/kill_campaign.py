"""Kills runs at random moments, lets them go on, and compares what comes out with an undisturbed run.

    python tests/e2e/kill_campaign.py FOLDER [--kills 100] [--faults main node room inodes] [--seed 0] [--output FILE]

A history begins in a new root. Its run is struck at a random moment: SIGKILL ends the main process or one node's; or something takes
all room, or all inodes, of the file system (FOLDER must then be a small one, a tmpfs of 4 GiB, say), and gives them back when the run
has failed, which must say so in a sentence. Then it goes on by `--resume` or as a plain run, is struck again, and so on until it has ended. It must end as the undisturbed one: the same tuned weights,
one pushed version that the lineage knows, no execution left running, nothing that belongs to nothing, no temporary files. FOLDER gets
the project and the roots; what ended well is removed.
"""

import argparse
import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import psutil
from conftest import Project
from harness import write_report
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

# From the first line of a run to where nodes run: before, there is nothing to kill but imports.
_SHORTEST_SECONDS = 8.0
FAULTS = ("main", "node", "room", "inodes")


class Campaign:
    """An undisturbed run, and histories of runs that are killed."""

    def __init__(self, folder: Path):
        """Makes the project, and runs it once."""
        self.project = Project(folder / "project")
        self.folder = folder
        started = time.monotonic()
        process = self._start("undisturbed")
        output, _ = process.communicate()
        if process.returncode != 0:
            sys.exit(f"the undisturbed run ended with {process.returncode}:\n{output}")
        self.seconds = time.monotonic() - started
        self.expected = self._describe("undisturbed")

    def try_history(self, number: int, most: int, faults: Sequence[str], rng: random.Random) -> dict[str, Any]:
        """Strikes one run again and again until it ends, and returns what happened; `problems` is empty if all is well."""
        name, way = f"root-{number}", "plain"
        struck: list[dict[str, Any]] = []
        outputs: list[str] = []
        problems: list[str] = []
        while True:
            process = self._start(name, *(["--resume"] if way == "--resume" else []))
            delay = rng.uniform(_SHORTEST_SECONDS, self.seconds)
            with contextlib.suppress(subprocess.TimeoutExpired):
                outputs.append(process.communicate(timeout=delay if len(struck) < most else None)[0])
                break
            fault = rng.choice(faults)
            if fault in ("main", "node"):
                fault = self._kill(process, fault, rng)
                outputs.append(process.communicate()[0])
            else:
                with self._filled(fault):
                    outputs.append(process.communicate()[0])
                told = " ".join(outputs[-1].split())  # lines are broken where the terminal ends
                if process.returncode != 0 and ("the disk is full" not in told or "Traceback (most" in told):
                    problems.append(f"it did not say in a sentence that there was no room: {outputs[-1][-1500:]}")
            way = rng.choice(("--resume", "plain"))
            if not (self.folder / name / "runs" / "metadata.sqlite").is_file():
                way = "plain"  # there is nothing yet to go on with
            struck.append({"seconds": round(delay, 1), "fault": fault, "exit_code": process.returncode, "then": way})
            if process.returncode == 0:
                break
        if process.returncode != 0:
            problems.append(f"it went on to exit code {process.returncode}: {outputs[-1][-1500:]}")
        else:
            found = self._describe(name)
            problems += [
                f"{key}: {found[key]}, not {self.expected[key]}" for key in found if found[key] != self.expected[key]
            ]
        if not problems:
            shutil.rmtree(self.folder / name)
        history = {"number": number, "struck": struck, "problems": problems}
        return history | ({"outputs": [output[-800:] for output in outputs]} if problems else {})

    @contextlib.contextmanager
    def _filled(self, what: str) -> Iterator[None]:
        """Takes all room, or all inodes, of the file system as long as it lasts."""
        ballast = self.folder / "ballast"
        ballast.mkdir()
        try:
            with contextlib.suppress(OSError):
                if what == "inodes":
                    for i in itertools.count():
                        (ballast / str(i)).touch()
                with (ballast / "room").open("wb", buffering=0) as stream:
                    for size in (1 << 20, 1 << 12, 1):
                        with contextlib.suppress(OSError):
                            while stream.write(bytes(size)):
                                pass
            yield
        finally:
            shutil.rmtree(ballast)

    def _start(self, name: str, *options: str) -> Any:
        temporary = self.folder / name / "temporary"
        temporary.mkdir(parents=True, exist_ok=True)
        os.environ["TMPDIR"] = str(temporary)
        return self.project.start("--root", str(self.folder / name / "runs"), *options)

    def _kill(self, process: Any, victim: str, rng: random.Random) -> str:
        """Returns what was killed."""
        target = psutil.Process(process.pid)
        if victim == "node":
            with contextlib.suppress(psutil.Error):
                # The fork server's children: what nodes run in.
                nodes = [
                    p for server in target.children() for p in server.children() if p.status() != psutil.STATUS_ZOMBIE
                ]
                if nodes:
                    chosen = rng.choice(nodes)
                    chosen.send_signal(signal.SIGKILL)
                    return f"node's process {chosen.pid}"
        with contextlib.suppress(psutil.Error):
            target.send_signal(signal.SIGKILL)
        return "main process"

    def _describe(self, name: str) -> dict[str, Any]:
        """Returns what must be as in the undisturbed run."""
        root = self.folder / name / "runs"
        config = mlmd.ConnectionConfig()
        config.sqlite.filename_uri = str(root / "metadata.sqlite")
        config.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READONLY
        store = MetadataStore(config)
        running = [
            e.id for e in store.get_executions() if e.last_known_state in (mlmd.Execution.NEW, mlmd.Execution.RUNNING)
        ]
        live = [a for a in store.get_artifacts() if a.state == mlmd.Artifact.LIVE]
        tuned = {a.custom_properties["tuned_hash"].string_value for a in live if "tuned_hash" in a.custom_properties}
        versions = sorted(path for path in (root / "serving" / "e2e").glob("[0-9]*"))
        recorded = {a.custom_properties["pushed_destination"].string_value for a in live if a.type == "PushedModel"}
        verified = self.project.command("lineage", "verify", "--root", str(root), "--json")
        report = json.loads(verified.stdout)
        left = [path.name for path in (self.folder / name / "temporary").iterdir()]
        return {
            "tuned weights": sorted(tuned),
            "pushed versions": len(versions),
            "versions that are not whole": [v.name for v in versions if not (v / "saved_model.pb").is_file()],
            "versions that nothing records": [v.name for v in versions if str(v) not in recorded],
            "executions that still run": running,
            "artifacts that are wrong": [
                check for check in report["checks"] if check["state"] not in ("ok", "unverifiable")
            ],
            "orphans": [o["place"] for o in report["orphans"] if "stateful_working_dir" not in o["place"]],
            "temporary files": left,
        }


def main() -> None:
    """Runs the campaign; the exit code is 1 if anything was not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=100, help="faults in all")
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=FAULTS[:2], help="default: main node")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="where the attempts go, as JSON")
    arguments = parser.parse_args()
    if {"room", "inodes"} & set(arguments.faults):
        status = os.statvfs(arguments.folder)
        if status.f_bavail * status.f_frsize > 16 << 30:
            parser.error(
                f"{arguments.folder} must be a small file system of its own: it will be filled. Mount a tmpfs there"
            )
    campaign = Campaign(arguments.folder.resolve())
    print(f"undisturbed: {campaign.seconds:.0f} s, {json.dumps(campaign.expected)}", flush=True)
    rng = random.Random(arguments.seed)
    histories: list[dict[str, Any]] = []
    kills = 0
    while kills < arguments.kills:
        histories.append(campaign.try_history(len(histories), arguments.kills - kills, arguments.faults, rng))
        kills += len(histories[-1]["struck"])
        print(json.dumps(histories[-1]), flush=True)
        if arguments.output:
            result = {"undisturbed_seconds": round(campaign.seconds, 1), "faults": kills, "histories": histories}
            write_report(result, arguments.output)
    bad = sum(bool(history["problems"]) for history in histories)
    print(f"{kills} faults in {len(histories)} histories, {bad} with problems")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
