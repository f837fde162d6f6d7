"""A training in a process of its own: Keras has one backend a process, chosen when it is imported."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from components.console_line import CONSOLE_FD_VARIABLE
from components.errors import UserError
from components.trainer.rehearsal import export_in_process, rehearse
from components.trainer.training import Training, TrainingArguments, train_model

_ROOT = Path(__file__).resolve().parents[2]


def train_in_process(arguments: TrainingArguments, backend: str) -> Training | None:
    """Like `train_model`, on another backend. The process ends with this one.

    Raises:
        UserError: as `train_model`.
        RuntimeError: the process failed otherwise; its output says why.
    """
    if importlib.util.find_spec(backend) is None:
        raise UserError(f"train.backend {backend} needs a package that is not installed. Run `make venv-{backend}`.")
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": path}
    console = os.environ.get(CONSOLE_FD_VARIABLE, "")
    with tempfile.TemporaryDirectory() as folder:
        request, answer = Path(folder, "request.json"), Path(folder, "answer.json")
        request.write_text(json.dumps(dataclasses.asdict(arguments)), encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-m", "components.trainer.process", str(request), str(answer)],
            env=environment,
            stdin=subprocess.PIPE,  # closed when this process ends, however it does
            pass_fds=[int(console)] if console.isdigit() else [],
        )
        try:
            code = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        if not answer.exists():
            raise RuntimeError(f"the training process on the backend {backend} ended with {code}; see its output above")
        content = json.loads(answer.read_text(encoding="utf-8"))
    if content["error"]:
        raise UserError(content["error"])
    return Training(**content["training"]) if content["training"] else None


def main(request: str, answer: str) -> None:
    """Trains as the file `request` says and writes what came of it to `answer`."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")  # here TensorFlow only reads data; its memory belongs to the training
    training, error = None, ""
    try:
        arguments = TrainingArguments(**json.loads(Path(request).read_text(encoding="utf-8")))
        training = train_model(arguments, lambda model: rehearse(model, arguments, export_in_process))
    except UserError as problem:
        error = str(problem)
    content = {"error": error, "training": dataclasses.asdict(training) if training else None}
    partial = Path(answer).with_suffix(".partial")
    partial.write_text(json.dumps(content), encoding="utf-8")
    partial.replace(answer)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
