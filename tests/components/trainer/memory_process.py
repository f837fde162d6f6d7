"""Trains one step in a process of its own, whose growth is compared with the estimate. Prints JSON: bytes by name.

python memory_process.py METHOD NUM_MICRO_BATCHES ROWS LENGTH [FOLDER]

FOLDER holds a pretrained model; without one, it is a random model of 12 blocks.
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras_hub
import numpy as np

from components.methods import make_method
from components.trainer.data import Step
from components.trainer.model import load_model
from components.trainer.placement import Placement
from components.trainer.shared_trace import share_trace
from components.trainer.training import make_training_engine

SECTION = {
    "learning_rate": 1e-3, "schedule": "constant", "warmup_fraction": 0.0, "weight_decay": 0.01, "clip_norm": 1.0,
}  # fmt: skip


def read_status(name):
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields[name].split()[0]) * 1024


def make_step(num_micro_batches, rows, length):
    rng = np.random.default_rng(0)
    token_ids = rng.integers(1, 4096, (num_micro_batches, 1, rows, length)).astype("int32")
    count = rows * length
    positions = np.tile(np.arange(count, dtype="int32"), (num_micro_batches, 1, 1))
    weight = np.zeros(positions.shape, "float32")
    weight[..., : count // 2] = 2 / count / num_micro_batches
    return Step(token_ids, np.ones_like(token_ids), positions, positions % 4096, weight)


def make_model(folder):
    if folder:
        return load_model(folder, "float32", 0)
    backbone = keras_hub.models.Llama3Backbone(
        vocabulary_size=8192,
        num_layers=12,
        num_query_heads=6,
        num_key_value_heads=2,
        hidden_dim=384,
        intermediate_dim=1024,
    )
    return keras_hub.models.Llama3CausalLM(backbone=backbone, preprocessor=None)


def main():
    method, *shape = sys.argv[1:5]
    shape = tuple(map(int, shape))
    model = make_model("".join(sys.argv[5:]))
    make_method(method, {}).apply(model)
    share_trace(model)
    placement = Placement(name="one_device", devices=("CPU:0",))
    engine = make_training_engine(model, SECTION, 10, placement)
    before = read_status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is that of now
    estimate = engine.estimate_memory(*shape)
    engine.reserve_memory(estimate)
    step = make_step(*shape)
    engine.evaluate(step)
    for _ in range(2):
        engine.train(step)
    print(json.dumps({"estimate": estimate, "growth": read_status("VmHWM") - before}))


if __name__ == "__main__":
    main()
