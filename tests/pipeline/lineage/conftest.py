"""Stores with runs of all nodes, written by the generator that the benchmark of large stores uses; roots with files."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd
from pydantic import TypeAdapter

from configs.runner_schema import MetadataSection
from pipeline.lineage.store import open_store
from pipeline.metadata_connection import ConnectionConfig, make_connection

_GENERATOR = Path(__file__).resolve().parents[2] / "benchmarks" / "lineage_store.py"


def _load(name: str, path: Path):
    # Tests have no package that they could import from.
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def generator():
    """The module that writes stores."""
    return _load("lineage_store_generator", _GENERATOR)


@pytest.fixture
def root_writer(tmp_path):
    """A writer of runs and their files below `tmp_path`."""
    return _load("lineage_root_writer", Path(__file__).with_name("root_writer.py")).RootWriter(tmp_path / "root")


@pytest.fixture(scope="session", params=["sqlite", "mariadb", "postgresql", "grpc"])
def many_runs(request, generator, tmp_path_factory):
    """A store with 60 runs of four pipelines, as the argument of `store_of`, and their ids, the oldest first."""
    if request.param == "sqlite":
        target = tmp_path_factory.mktemp("many_runs")
        return target, generator.write_store(target / "metadata.sqlite", 60)
    if request.param == "grpc":
        section: dict = {
            "kind": "grpc",
            "host": "127.0.0.1",
            "port": request.getfixturevalue("start_mlmd_server")().port,
        }
    else:
        server = request.getfixturevalue(request.param)
        server.make_database("many_runs")
        secret = tmp_path_factory.mktemp("secret") / "password"
        secret.write_text(server.password)
        kind = "mysql" if request.param == "mariadb" else request.param
        section = {"kind": kind, "port": server.port, "user": "mlmd", "database": "many_runs"}
        section["password_file"] = str(secret)
    target = make_connection(TypeAdapter(MetadataSection).validate_python(section), root="")
    return target, generator.write_store(target, 60)


@pytest.fixture
def store_of():
    """Opens a store for reading: that below a folder, or that of a connection."""

    def open_it(target: Path | ConnectionConfig):
        if not isinstance(target, Path):
            return open_store(target)
        config = mlmd.ConnectionConfig()
        config.sqlite.filename_uri = str(target / "metadata.sqlite")
        return open_store(config)

    return open_it


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


@pytest.fixture
def close_folder(monkeypatch):
    """Returns a function after which nobody may list a folder, not even the system's administrator."""
    closed, scan = set(), os.scandir

    def scan_open(place="."):
        if str(place).rstrip("/") in closed:
            raise PermissionError(13, "Permission denied", str(place))
        return scan(place)

    monkeypatch.setattr(os, "scandir", scan_open)
    return lambda folder: closed.add(str(folder))
