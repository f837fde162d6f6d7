"""Tiny models of every family."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_models():
    """Returns the module `tiny_models.py`."""
    spec = importlib.util.spec_from_file_location("tiny_models", Path(__file__).with_name("tiny_models.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
