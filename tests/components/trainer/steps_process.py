"""Trains a few steps of a tiny model, once for each case, in a process of its own: a backend's devices are set at its start.

    KERAS_BACKEND=... python steps_process.py OUTPUT PATTERN CASE...

A case is JSON: {"name", "strategy", "mesh", "accumulation", "method", "dtype", "clip_norm", "jit",
"rematerialize"}. The weights of all cases
are the same numbers, whatever the backend draws. Each step prints a line. Written to OUTPUT (npz), by `<name>/`: `losses`, `norms`, `evaluation`,
`weights` and `moments` (of the trained weights, in one row each), `layout`.
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if os.environ["KERAS_BACKEND"] == "jax":
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"

import keras
import keras_hub
import numpy as np
import tensorflow as tf

from components.methods import make_method
from components.trainer.data import make_dataset
from components.trainer.engine import make_engine
from components.trainer.fine_tuner import FineTuner
from components.trainer.fit import evaluate_tokens
from components.trainer.optimizer import make_optimizer
from components.trainer.placement import make_placement
from components.trainer.rematerialize import rematerialize

NUM_STEPS = int(os.environ.get("NUM_STEPS", "20"))
SECTION = {"learning_rate": 1e-2, "schedule": "cosine", "warmup_fraction": 0.1, "weight_decay": 0.01}


def make_model(dtype):
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=64,
        num_layers=1,
        num_heads=2,
        hidden_dim=32,
        intermediate_dim=64,
        max_sequence_length=32,
        dropout=0.0,
        dtype=dtype,
    )
    return keras_hub.models.GPT2CausalLM(backbone=backbone)


def run(case, pattern):
    keras.utils.set_random_seed(0)
    section = SECTION | {"strategy": case.get("strategy", "one_device"), "mesh": case.get("mesh")}
    placement = make_placement(section, lambda: keras_hub.models.GPT2Backbone)
    with placement.scope():
        model = make_model(case.get("dtype", "float32"))
        make_method(**case.get("method", {"name": "full", "options": {}})).apply(model)
        if case.get("rematerialize"):
            rematerialize(model)
        rng = np.random.default_rng(1)
        for weight in model.weights:
            is_scale = weight.name in ("gamma", "scale")
            weight.assign((1.0 if is_scale else 0.0) + rng.normal(size=weight.shape) * 0.1)
        settings = {"max_length": 16, "vocabulary_size": 64, "num_shards": placement.num_replicas, "batch_size": 8}
        data = make_dataset(
            [pattern],
            bucket_boundaries=[],
            accumulation_steps=case.get("accumulation", 1),
            shuffle=True,
            normalize=True,
            **settings,
        )
        eval_data = make_dataset([pattern], bucket_boundaries=[], **settings)
        tuner = FineTuner(model)
        optimizer = make_optimizer(section, NUM_STEPS, tuner)
        engine = make_engine(
            tuner, optimizer, placement, clip_norm=case.get("clip_norm", 0.5), jit_compile=case.get("jit", False)
        )
        results = []
        for number, step in enumerate(data.iterate(last=NUM_STEPS)):
            results.append(engine.train(step))
            print(f"step {number}", flush=True)
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        written = {
            "losses": [result.loss for result in results],
            "norms": [result.gradient_norm for result in results],
            "evaluation": evaluate_tokens(engine, eval_data),
            "weights": flatten(tuner.trainable_variables),
            "moments": flatten(inner._momentums),
            "layout": json.dumps(
                {v.path: str(getattr(getattr(v.value, "sharding", None), "spec", "")) for v in model.weights}
            ),
        }
    return {f"{case['name']}/{key}": value for key, value in written.items()}


def flatten(variables):
    return np.concatenate([np.ravel(keras.ops.convert_to_numpy(v)).astype("float64") for v in variables])


def main():
    output, pattern, *cases = sys.argv[1:]
    if keras.backend.backend() == "tensorflow" and "TF_CONFIG" not in os.environ:
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    written = {}
    for case in cases:
        written |= run(json.loads(case), pattern)
    np.savez(output, **written)


if __name__ == "__main__":
    main()
