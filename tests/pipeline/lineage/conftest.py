"""Stores with runs of all nodes, written by the generator that the benchmark of large stores uses."""

import importlib.util
import sys
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.lineage.store import open_store

_GENERATOR = Path(__file__).resolve().parents[2] / "benchmarks" / "lineage_store.py"


@pytest.fixture(scope="session")
def generator():
    """The module that writes stores."""
    spec = importlib.util.spec_from_file_location("lineage_store_generator", _GENERATOR)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def many_runs(generator, tmp_path_factory):
    """The root of a store with 60 runs of four pipelines, and their ids, the oldest first."""
    root = tmp_path_factory.mktemp("many_runs")
    return root, generator.write_store(root / "metadata.sqlite", 60)


@pytest.fixture
def store_of():
    """Opens the store of a root for reading."""

    def open_root(root: Path):
        config = mlmd.ConnectionConfig()
        config.sqlite.filename_uri = str(root / "metadata.sqlite")
        return open_store(config)

    return open_root


@pytest.fixture
def new_runs(generator, tmp_path):
    """A writer of runs into an empty store below `tmp_path`."""
    return generator.StoreWriter(generator.connect(tmp_path / "metadata.sqlite"))


@pytest.fixture(scope="session")
def small_store_class():
    """The class of stores whose every node and edge a test writes itself."""
    path = Path(__file__).with_name("small_store.py")
    spec = importlib.util.spec_from_file_location("lineage_small_store", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.SmallStore


@pytest.fixture
def small_store(small_store_class, tmp_path):
    """An empty store below `tmp_path`, to write into and to ask."""
    return small_store_class(tmp_path)
