"""What killed nodes have left goes when the next run begins, and nothing else does."""

import pytest
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.content import find_manifest
from components.storage import write_text
from configs.runner_schema import SqliteSection
from pipeline.execution.failed_outputs import remove_failed_outputs
from pipeline.metadata_connection import make_connection


@pytest.fixture
def store(tmp_path):
    return MetadataStore(make_connection(SqliteSection(kind="sqlite"), str(tmp_path)))


@pytest.fixture
def execute(store, tmp_path):
    """`execute(pipeline, state) -> its output folder`."""

    def make(pipeline, state):
        type_id = store.put_execution_type(mlmd.ExecutionType(name="Node"))
        kind = store.put_context_type(mlmd.ContextType(name="pipeline"))
        context = store.get_context_by_type_and_name("pipeline", pipeline)
        context_id = context.id if context else store.put_contexts([mlmd.Context(type_id=kind, name=pipeline)])[0]
        (number,) = store.put_executions([mlmd.Execution(type_id=type_id, last_known_state=state)])
        store.put_attributions_and_associations([], [mlmd.Association(execution_id=number, context_id=context_id)])
        folder = tmp_path / "artifacts" / "p" / "Trainer" / "model" / str(number)
        folder.mkdir(parents=True)
        (folder / "half").write_text("x")
        return folder

    return make


def test_only_what_failed_and_was_not_published_goes(store, execute, tmp_path):
    Execution = mlmd.Execution  # noqa: N806
    kept = [execute("p", state) for state in (Execution.COMPLETE, Execution.RUNNING, Execution.CACHED)]
    kept.append(execute("q", Execution.FAILED))
    published = execute("p", Execution.FAILED)
    write_text(find_manifest(str(published)), "")
    other = tmp_path / "artifacts" / "p" / ".system" / "executor_execution" / "5"
    other.mkdir(parents=True)
    gone = [execute("p", Execution.FAILED) for _ in range(2)]
    assert remove_failed_outputs(store, "p", str(tmp_path / "artifacts" / "p")) == [str(folder) for folder in gone]
    assert not any(folder.exists() for folder in gone)
    assert all((folder / "half").exists() for folder in (*kept, published)) and other.exists()
    assert remove_failed_outputs(store, "p", str(tmp_path / "artifacts" / "p")) == []
    assert remove_failed_outputs(store, "p", str(tmp_path / "none")) == []
