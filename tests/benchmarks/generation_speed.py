"""How fast does an exported model generate, beside transformers' `generate`?

GPT-2 with 124 M parameters, random weights, greedy, a key-value cache, float32. All sides complete the same prompts of real
instructions, `--batch-size` at a time, and write `--new-tokens` tokens for each (nothing ends earlier). A side runs in a process of
its own; the sides take turns. The first batch is not timed: graphs are made and compiled there.

    python tests/benchmarks/generation_speed.py --data FILE.jsonl.gz --vocabulary FOLDER \\
        --columns instruction=instruction,input=context,output=response --peer-python /path/to/python
"""

import argparse
import collections
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gpt2 import GPT2
from harness import measure_peak_rss, parse_columns, write_report

from components import runtime

OWN = "exported"
PEERS = ("transformers", "transformers compile")
SEED = 0


def generate(settings: dict[str, Any]) -> dict[str, Any]:
    """Exports a model, loads the SavedModel, and completes the prompts with it."""
    import keras
    import keras_hub
    import tensorflow as tf
    import tensorflow_text  # noqa: F401

    from components.text.model_tokenizer import adopt_own_rules
    from components.trainer.export import export_model

    keras.utils.set_random_seed(SEED)
    folder = Path(settings["vocabulary"])
    tokenizer = keras_hub.tokenizers.GPT2Tokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    adopt_own_rules(tokenizer, folder)
    model = keras_hub.models.GPT2CausalLM(
        backbone=keras_hub.models.GPT2Backbone(**GPT2, dropout=0.0),
        preprocessor=keras_hub.models.GPT2CausalLMPreprocessor(tokenizer),
    )
    text = {"template": "plain", "system": "", "max_length": settings["max_length"] + settings["new_tokens"]}
    with tempfile.TemporaryDirectory() as export:
        export_model(model, f"{export}/model", text, {"max_new_tokens": settings["new_tokens"]})
        del model
        loaded = tf.saved_model.load(f"{export}/model")
        complete = loaded.signatures["complete"]
        result: dict[str, Any] = {"seconds": [], "tokens": []}
        for batch in settings["batches"]:
            started = time.perf_counter()
            complete(prompt=tf.constant(batch["texts"]))["completion"].numpy()
            result["seconds"].append(time.perf_counter() - started)
            result["tokens"].append(len(batch["texts"]) * settings["new_tokens"])
        if settings["profile"]:
            result["profile"] = profile(lambda: complete(prompt=tf.constant(settings["batches"][1]["texts"])))
    return result | {"peak_rss": measure_peak_rss()}


def profile(run: Callable[[], Any]) -> dict[str, Any]:
    """Milliseconds of each kind of operation in one call, the longest twelve; operations may run at the same time."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        run()
        tf.profiler.experimental.stop()
        (path,) = Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(path.read_bytes())
    times: dict[str, float] = collections.Counter()
    for plane in space.planes:
        for event in (event for line in plane.lines for event in line.events):
            _, colon, kind = plane.event_metadata[event.metadata_id].name.rpartition(":")
            if colon:
                times[kind] += event.duration_ps / 1e9
    return dict(sorted(times.items(), key=lambda item: -item[1])[:12])


def make_batches(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Prompts of similar length together, as texts and as token ids."""
    import keras_hub
    from cleaning_data import read_records

    from components.text.model_tokenizer import adopt_own_rules

    rng = np.random.default_rng(SEED)
    records = read_records(arguments.data, arguments.columns)
    folder = Path(arguments.vocabulary)
    tokenizer = keras_hub.tokenizers.GPT2Tokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    adopt_own_rules(tokenizer, folder)
    prompts = []
    for i in rng.permutation(len(records)):
        text = records[i]["instruction"]
        ids = [int(token) for token in tokenizer(text)]
        if 4 <= len(ids) <= arguments.max_length and text.isascii():
            prompts.append((text, ids))
        if len(prompts) == arguments.batch_size * (arguments.batches + 1):
            break
    prompts.sort(key=lambda prompt: len(prompt[1]))
    batches = [prompts[i : i + arguments.batch_size] for i in range(0, len(prompts), arguments.batch_size)]
    # The first one is to warm up: the longest.
    batches = [batches[-1], *batches[:-1]]
    return [{"texts": [t for t, _ in batch], "ids": [ids for _, ids in batch]} for batch in batches]


def run_side(side: str, settings: dict[str, Any], peer_python: str) -> dict[str, Any]:
    """Runs one side in a process of its own."""
    script = __file__ if side == OWN else str(Path(__file__).with_name("generation_speed_peers.py"))
    with tempfile.TemporaryDirectory() as folder:
        given, output = Path(folder, "settings.json"), Path(folder, "result.json")
        given.write_text(json.dumps(settings | {"side": side, "output": str(output)}))
        environment = os.environ | (runtime.DEFAULTS if side == OWN else {"HF_HUB_OFFLINE": "1"})
        command = [sys.executable if side == OWN else peer_python, script, "--side", str(given)]
        subprocess.run(command, env=environment, check=True)
        return json.loads(output.read_text()) | {"side": side}


def summarize(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """New tokens a second: median over processes, and the ratio of ours to the fastest of the peers."""
    sides = {}
    for side in dict.fromkeys(run["side"] for run in runs):
        speeds = [sum(run["tokens"][1:]) / sum(run["seconds"][1:]) for run in runs if run["side"] == side]
        peak = statistics.median(run["peak_rss"] for run in runs if run["side"] == side)
        sides[side] = {"new_tokens_per_second": statistics.median(speeds), "of_each_process": speeds}
        sides[side]["peak_rss_gib"] = peak / 2**30
    peers = [sides[side]["new_tokens_per_second"] for side in sides if side in PEERS]
    ratio = sides[OWN]["new_tokens_per_second"] / max(peers) if peers and OWN in sides else None
    return {"sides": sides, "ratio_to_fastest_peer": ratio}


def main() -> None:
    """Measures and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--data", help="JSON Lines (also .gz)")
    parser.add_argument("--columns", type=parse_columns, default="instruction=instruction,input=input,output=output")
    parser.add_argument("--vocabulary", help="folder with GPT-2's vocab.json and merges.txt")
    parser.add_argument("--peer-python", default="", help="interpreter with torch and transformers")
    parser.add_argument("--sides", nargs="+", default=[OWN, *PEERS])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--max-length", type=int, default=64, help="of prompts, in tokens")
    parser.add_argument("--batches", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=2, help="processes of each side")
    parser.add_argument(
        "--profile", action="store_true", help="also time the operations of one batch, after all others"
    )
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "generation_speed.json")
    arguments = parser.parse_args()
    if arguments.side:
        settings = json.loads(Path(arguments.side).read_text())
        Path(settings["output"]).write_text(json.dumps(generate(settings)))
        return
    if not (arguments.data and arguments.vocabulary):
        parser.error("--data and --vocabulary are needed")
    settings = {name: getattr(arguments, name) for name in ("new_tokens", "max_length", "vocabulary", "profile")}
    settings["batches"] = make_batches(arguments)
    sides = [side for side in arguments.sides if side == OWN or arguments.peer_python]
    runs = []
    for repeat in range(arguments.repeats):
        for side in sides if repeat % 2 == 0 else reversed(sides):
            runs.append(run_side(side, settings, arguments.peer_python))
            shown = {key: runs[-1][key] for key in ("side", "seconds", "peak_rss")}
            print(json.dumps(shown), file=sys.stderr, flush=True)
    shown = {
        name: getattr(arguments, name) for name in ("batch_size", "new_tokens", "max_length", "batches", "repeats")
    }
    write_report({"settings": shown, "summary": summarize(runs), "runs": runs}, arguments.output)


if __name__ == "__main__":
    main()
