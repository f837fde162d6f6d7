"""Pushes of one model at the same time into one serving folder, some of which are killed.

    python tests/components/pusher/concurrent_pushes.py FOLDER [--pushes 50] [--kills 10] [--megabytes 40] [--seed 0]

Prints as JSON the numbers of the pushes that ended well. FOLDER then holds `model/`, `serving/`, and `pushed/<number>/` for each push.
"""

import argparse
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from components.content import record_content
from components.pusher.executor import Executor


def make_model(folder: Path, megabytes: int) -> standard_artifacts.Model:
    """Writes a model of several files, and records its content as a run does."""
    model = standard_artifacts.Model()
    model.uri = f"{folder}/model/Trainer/model/1"
    saved_model = Path(model.uri) / "Format-Serving"
    (saved_model / "variables").mkdir(parents=True)
    (saved_model / "saved_model.pb").write_text("graph")
    for number in range(4):
        (saved_model / "variables" / str(number)).write_bytes(os.urandom(1024) * (256 * megabytes or 1))
    record_content(model.mlmd_artifact)
    return model


def push(folder: Path, model: standard_artifacts.Model, number: int) -> None:
    """One push."""
    blessing, pushed = standard_artifacts.ModelBlessing(), standard_artifacts.PushedModel()
    blessing.set_int_custom_property("blessed", 1)
    pushed.uri = f"{folder}/pushed/{number}"
    serving = pusher_pb2.PushDestination.Filesystem(base_directory=f"{folder}/serving")
    Executor().Do(
        {"model": [model], "model_blessing": [blessing]},
        {"pushed_model": [pushed]},
        {"push_destination": proto_utils.proto_to_json(pusher_pb2.PushDestination(filesystem=serving))},
    )


def push_at_once(folder: Path, pushes: int, kills: int, megabytes: int, seed: int) -> list[int]:
    """Returns the numbers of the pushes that ended well."""
    model = make_model(folder, megabytes)
    # The processes are forked before anything of TensorFlow's runtime has started.
    children = {}
    for number in range(pushes):
        if not (child := os.fork()):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            code = 1
            try:
                push(folder, model, number)
                code = 0
            finally:
                os._exit(code)
        children[child] = number
    rng = random.Random(seed)
    for child in rng.sample(list(children), kills):
        time.sleep(rng.uniform(0, 2.0 / max(kills, 1)))
        os.kill(child, signal.SIGKILL)
    return sorted(number for child, number in children.items() if os.waitpid(child, 0)[1] == 0)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pushes", type=int, default=50)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--megabytes", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(json.dumps(push_at_once(**vars(arguments))))


if __name__ == "__main__":
    main()
