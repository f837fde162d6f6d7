"""The metadata store on a real MariaDB server."""

import pytest
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2

from components.errors import UserError
from configs.load import load_runner
from pipeline.execution.run_record import write_run_record
from pipeline.lineage import store as lineage_store
from pipeline.metadata_connection import make_connection_config


@pytest.fixture
def runner(mariadb, tmp_path, monkeypatch):
    path = tmp_path / "runner.yaml"
    path.write_text(
        f"kind: local\nroot: {tmp_path}\n"
        f"metadata: {{kind: mysql, host: 127.0.0.1, port: {mariadb.port}, database: mlmd, user: mlmd, password_env: MLMD_X}}\n"
    )
    monkeypatch.setenv("MLMD_X", mariadb.password)
    return load_runner(str(path))


def test_a_run_is_recorded_and_read_back(runner):
    connection = make_connection_config(runner)
    store = MetadataStore(connection)
    context_type = metadata_store_pb2.ContextType(name="pipeline_run")
    type_id = store.put_context_type(context_type)
    store.put_contexts([metadata_store_pb2.Context(type_id=type_id, name="run-1")])
    # A configuration with long, non-ASCII text.
    record = {"config": "text: ☕ naïve\n" * 2000, "code_version": "abc"}
    write_run_record(store, "run-1", record)
    again = lineage_store.open_store(connection).get_context_by_type_and_name("pipeline_run", "run-1")
    assert {k: v.string_value for k, v in again.custom_properties.items()} == record


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_password_may_be_in_a_file(runner, mariadb, tmp_path, monkeypatch, end):
    monkeypatch.delenv("MLMD_X")
    secret = tmp_path / "secret"
    secret.write_bytes(f"{mariadb.password}{end}".encode())
    metadata = runner.metadata.model_copy(update={"password_file": str(secret)})
    MetadataStore(make_connection_config(runner.model_copy(update={"metadata": metadata}))).get_contexts()


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_password_that_cannot_be_read(runner, tmp_path, content):
    secret = tmp_path / "secret"
    if content is not None:
        secret.write_bytes(content)
    metadata = runner.metadata.model_copy(update={"password_file": str(secret)})
    with pytest.raises(UserError, match="metadata.password_file"):
        make_connection_config(runner.model_copy(update={"metadata": metadata}))


def test_a_password_in_place_of_a_file_is_not_shown(runner):
    metadata = runner.metadata.model_copy(update={"password_file": "hunter2"})
    with pytest.raises(
        UserError, match="a file that metadata.password_file names, which cannot be read: No such file"
    ) as caught:
        make_connection_config(runner.model_copy(update={"metadata": metadata}))
    assert "hunter2" not in str(caught.value) and caught.value.__cause__ is None


def test_a_wrong_password_is_a_clear_error_that_does_not_show_it(runner, monkeypatch):
    monkeypatch.setenv("MLMD_X", "wrong secret")
    with pytest.raises(UserError) as caught:
        lineage_store.open_store(make_connection_config(runner))
    assert "wrong secret" not in str(caught.value)
