"""Kills runs at random moments, lets them go on, and compares what comes out with an undisturbed run.

    python tests/e2e/kill_campaign.py FOLDER [--kills 100] [--seed 0] [--output FILE]

Each time a run in a new root is ended by SIGKILL, in turns the main process and one node's, and goes on by `--resume` or as a plain run. It
must end as the undisturbed one: the same tuned weights, one pushed version that the lineage knows, no execution left running, nothing
that belongs to nothing, no temporary files. FOLDER gets the project and the roots; what ended well is removed.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import psutil
from conftest import Project
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

# From the first line of a run to where nodes run: before, there is nothing to kill but imports.
_SHORTEST_SECONDS = 8.0


class Campaign:
    """An undisturbed run, and runs that are killed."""

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

    def try_once(self, number: int, rng: random.Random) -> dict[str, Any]:
        """Kills one run, lets it go on, and returns what happened; `problems` is empty if all is well."""
        name, delay = f"root-{number}", rng.uniform(_SHORTEST_SECONDS, self.seconds)
        victim, way = ("main", "node")[number % 2], ("--resume", "plain")[number // 2 % 2]
        process = self._start(name)
        time.sleep(delay)
        killed = self._kill(process, victim, rng)
        first_output, _ = process.communicate()
        attempt = {
            "number": number,
            "delay": round(delay, 1),
            "victim": killed,
            "way": way,
            "first": process.returncode,
        }
        if process.returncode == 0:  # it had ended before, or what was killed had nothing left to do
            way = "plain"
        process = self._start(name, *(["--resume"] if way == "--resume" else []))
        output, _ = process.communicate()
        problems = (
            [] if process.returncode == 0 else [f"it went on to exit code {process.returncode}: {output[-1500:]}"]
        )
        if not problems:
            found = self._describe(name)
            problems += [
                f"{key}: {found[key]}, not {self.expected[key]}" for key in found if found[key] != self.expected[key]
            ]
        if not problems:
            shutil.rmtree(self.folder / name)
        return attempt | {"problems": problems} | ({"first_output": first_output[-500:]} if problems else {})

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
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="where the attempts go, as JSON")
    arguments = parser.parse_args()
    campaign = Campaign(arguments.folder.resolve())
    print(f"undisturbed: {campaign.seconds:.0f} s, {json.dumps(campaign.expected)}", flush=True)
    rng = random.Random(arguments.seed)
    attempts = []
    for number in range(arguments.kills):
        attempts.append(campaign.try_once(number, rng))
        print(json.dumps(attempts[-1]), flush=True)
        if arguments.output:
            arguments.output.write_text(json.dumps(attempts, indent=1) + "\n", encoding="utf-8")
    bad = sum(bool(attempt["problems"]) for attempt in attempts)
    print(f"{len(attempts)} kills, {bad} with problems")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
