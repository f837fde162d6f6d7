"""Settings that TensorFlow reads when it starts."""

import os
import re
from pathlib import Path

from components import runtime

ROOT = Path(__file__).parents[1]


def test_what_the_user_has_set_stays(monkeypatch):
    monkeypatch.setattr(os, "environ", {"KERAS_BACKEND": "jax"})
    runtime.set_defaults()
    assert os.environ == runtime.DEFAULTS | {"KERAS_BACKEND": "jax"}


def test_the_image_has_the_same():
    pairs = dict(re.findall(r"(\w+)=(\S+)", (ROOT / "Dockerfile").read_text()))
    assert runtime.DEFAULTS.items() <= pairs.items()
