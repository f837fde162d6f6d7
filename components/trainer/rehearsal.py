"""A rehearsal: all that follows the last step of a long training is done once before the first one, with a small copy of the model.

So what cannot be merged, saved, loaded again, exported or checked is known within seconds and not after hours. The copy is made
from the model's own configuration, with two blocks and narrow layers, and has the model's own tokenizer; classes, configuration
files, template, signatures and checks are those of the real one. What it cannot find: a want of memory while the whole model is
exported, and what depends on the trained weights themselves. Room on the disk is looked at instead.
"""

import contextlib
import dataclasses
import gc
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np
from absl import logging
from keras.src.utils.dtype_utils import dtype_size  # there is no public way

from components.console_line import ConsoleLine
from components.errors import UserError
from components.methods import make_method
from components.models.publisher_files import copy_publisher_files
from components.precision import resolve_dtype
from components.trainer.directories import find_preset
from components.trainer.last_steps import doing, list_doings, log_cost, note_doing, write_tuned
from components.trainer.model import load_model
from components.trainer.record import make_record
from components.trainer.state import TrainState
from components.trainer.training import Training, TrainingArguments

_ROOT = Path(__file__).resolve().parents[2]
# Two, so that what differs between blocks, or is looked up by their number, is there.
_NUM_LAYERS = 2
# Even, for rotary positions.
_HEAD_DIM = 8

Export = Callable[[TrainingArguments, Training], None]


def rehearse(model: keras_hub.models.CausalLM, arguments: TrainingArguments, export: Export) -> None:
    """Does what follows the last step with a small copy of the model, in a temporary folder.

    Args:
        model: the model that will be trained; it stays as it is.
        arguments: of the training.
        export: exports and checks the tuned preset, as `module.export_tuned` does.

    Raises:
        UserError: something would have failed; the message says what.
    """
    started = time.monotonic()
    line = ConsoleLine()
    try:
        line.show("rehearsal: merge, save, load, export and check of a small copy")
        asked = ("export", "hugging_face")
        check_space(model, arguments.root, copies=1 + sum(bool(arguments.config.get(name)) for name in asked))
        with _same_random_numbers():
            copy = make_small_copy(model)
            if copy is None:
                logging.warning("No rehearsal: no small copy can be made of %s.", type(model.backbone).__name__)
                return
            with tempfile.TemporaryDirectory(prefix="rehearsal-") as folder:
                _try_all(copy, _move(arguments, folder), export)
            del copy
            gc.collect()
        line.keep(
            f"rehearsal: merge, save, load, export and check of a small copy took {time.monotonic() - started:.0f} s"
        )
        log_cost("the rehearsal", time.monotonic() - started)
    finally:
        line.close()


def check_space(model: keras.Model, folder: str, copies: int) -> None:
    """Checks that a local folder has room for what will be written.

    Args:
        model: whose weights will be written.
        folder: where to; one in a bucket is not looked at.
        copies: how often.

    Raises:
        UserError: it has not.
    """
    if "://" in folder:
        return
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    needed = copies * sum(int(np.prod(weight.shape)) * dtype_size(weight.dtype) // 8 for weight in model.weights)
    free = shutil.disk_usage(place).free
    if needed > free:
        raise UserError(
            f"the disk of {place} must have room for the tuned model, {needed / 2**30:.1f} GiB in {copies} formats. Free: "
            f"{free / 2**30:.1f} GiB. Make room, or give another --root."
        )


def make_small_copy(model: keras_hub.models.CausalLM) -> keras_hub.models.CausalLM | None:
    """Returns an untrained model of the same classes and configuration, with few and narrow layers and the same tokenizer.

    None where the backbone cannot be made smaller.
    """
    config = model.backbone.get_config()
    if "num_layers" not in config:
        return None
    few = config | {"num_layers": min(config["num_layers"], _NUM_LAYERS)}
    # A configuration whose sizes depend on each other in another way keeps them.
    for smaller in (_narrow(few), few):
        try:
            backbone = type(model.backbone).from_config(smaller)
        except Exception as error:  # noqa: BLE001 - each class checks its sizes in its own way
            logging.info("%s cannot be made with %s: %s", type(model.backbone).__name__, smaller, error)
            continue
        copy = type(model)(backbone=backbone, preprocessor=model.preprocessor)
        copy_publisher_files(model, copy)
        return copy
    return None


def export_in_process(arguments: TrainingArguments, training: Training) -> None:
    """Like `module.export_tuned`, in a process of its own: TensorFlow exports, and this process has another backend.

    Raises:
        RuntimeError: it fails.
    """
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    # The accelerator's memory belongs to this process.
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "-1"}
    with tempfile.TemporaryDirectory() as folder:
        request, answer = Path(folder, "request.json"), Path(folder, "answer.json")
        request.write_text(json.dumps([dataclasses.asdict(arguments), dataclasses.asdict(training)]), encoding="utf-8")
        command = [sys.executable, "-m", "components.trainer.rehearsal", str(request), str(answer)]
        code = subprocess.run(command, env=environment, check=False).returncode
        failure = json.loads(answer.read_text(encoding="utf-8")) if answer.exists() else None
    if code or failure:
        what, doings = failure or (f"the process that exports ended with {code}; see its output above", [])
        error = RuntimeError(what)
        for done in doings:
            note_doing(error, done)
        raise error


def main(request: str, answer: str) -> None:
    """Exports and checks what the file `request` names; writes to `answer` why that fails."""
    from components.trainer.module import export_tuned

    arguments, training = json.loads(Path(request).read_text(encoding="utf-8"))
    try:
        export_tuned(TrainingArguments(**arguments), Training(**training))
    except Exception as error:
        failure = [f"{type(error).__name__}: {error}", list_doings(error)]
        Path(answer).write_text(json.dumps(failure), encoding="utf-8")
        raise


def _narrow(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the configuration with narrow layers: as many heads, each of `_HEAD_DIM`."""
    heads = config.get("num_query_heads") or config.get("num_heads")
    if not heads or "hidden_dim" not in config:
        return config
    width = heads * _HEAD_DIM
    sizes = {"hidden_dim": width, "intermediate_dim": 2 * width, "head_dim": _HEAD_DIM}
    return config | {name: size for name, size in sizes.items() if config.get(name) is not None}


def _move(arguments: TrainingArguments, folder: str) -> TrainingArguments:
    serving_model_dir = os.path.join(folder, "model", os.path.basename(arguments.serving_model_dir))
    return dataclasses.replace(
        arguments, serving_model_dir=serving_model_dir, model_run_dir=os.path.join(folder, "model_run")
    )


def _try_all(model: keras_hub.models.CausalLM, arguments: TrainingArguments, export: Export) -> None:
    config, start = arguments.config, arguments.start
    options = {key: value for key, value in config["method"].items() if key != "name"}
    method = make_method(config["method"]["name"], options)
    try:
        method.apply(model)
        os.makedirs(arguments.root)
        dtype = resolve_dtype(config["model"]["dtype"])
        facts = write_tuned(model, method, arguments.root, config, start, base_hash="", dtype=dtype)
        record = make_record(
            TrainState(),
            num_steps=0,
            steps_per_epoch=1,
            method=config["method"],
            preset=config["model"]["preset"],
            started_from=start,
            base_hash="",
            dtype=dtype,
            **facts,
        )
        if config["export"]:
            export(arguments, Training(record=record, checkpoints=""))
        else:
            with doing("loading the tuned preset"):
                load_model(find_preset(arguments.root), config["model"]["dtype"], config["train"]["seed"])
    except Exception as error:  # whatever it is, it would have come after the last step
        what = ", ".join(list_doings(error)) or "what follows the training was done"
        raise UserError(
            "what follows the last step of a training must work, and is tried with a small untrained copy of the model before the "
            f"first one. It failed while {what}: {type(error).__name__}: {str(error)[:1500]} Nothing was trained. If neither the "
            "configuration nor the preset can be the cause, it is a defect: the log has the traceback."
        ) from error


@contextlib.contextmanager
def _same_random_numbers() -> Iterator[None]:
    """Leaves the generators as they were: a training is the same with a rehearsal and without."""
    from keras.src.backend.common import global_state  # there is no public way
    from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR

    python, arrays = random.getstate(), np.random.get_state()
    # None until somebody draws.
    generator = global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)
    state = None if generator is None else keras.ops.copy(generator.state.value)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)
        if generator is not None:
            generator.state.assign(state)
        global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, generator)


if __name__ == "__main__":
    main(*sys.argv[1:])
