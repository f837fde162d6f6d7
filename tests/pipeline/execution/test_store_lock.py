import fcntl
import os
import tempfile

import pytest
from ml_metadata.proto import metadata_store_pb2

from pipeline.execution.store_lock import lock_store


@pytest.fixture
def connection(tmp_path):
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(tmp_path / "new" / "metadata.sqlite")
    return config


def is_free(connection):
    descriptor = os.open(f"{connection.sqlite.filename_uri}.lock", os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def test_it_is_held_inside_and_given_back_even_after_an_error(connection):
    with lock_store(connection):
        assert not is_free(connection)
        with lock_store(connection):  # the same thread again
            assert not is_free(connection)
        assert not is_free(connection)
    assert is_free(connection)
    with pytest.raises(ValueError, match="x"), lock_store(connection):
        raise ValueError("x")
    assert is_free(connection)


@pytest.mark.parametrize("kind", ["mysql", "postgresql"])
def test_a_database_has_one_a_machine(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def connect(host):
        config = metadata_store_pb2.ConnectionConfig()
        getattr(config, kind).host = host
        return config

    with lock_store(connect("here")), lock_store(connect("there")), lock_store(connect("here")):
        assert len(list(tmp_path.iterdir())) == 2


def test_a_server_needs_none(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with lock_store(metadata_store_pb2.MetadataStoreClientConfig(host="nowhere")):
        assert not list(tmp_path.iterdir())
