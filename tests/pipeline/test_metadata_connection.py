"""The store of a root: made where there is none, and not begun anew where one was lost."""

import pytest

from components.errors import UserError
from configs.runner_schema import SqliteSection
from pipeline.metadata_connection import make_connection, open_writable_store


@pytest.fixture
def connection(tmp_path):
    return make_connection(SqliteSection(kind="sqlite"), str(tmp_path / "root"))


def test_a_store_is_made_in_a_new_root(connection, tmp_path):
    assert open_writable_store(connection).get_contexts() == []
    assert (tmp_path / "root" / "metadata.sqlite").stat().st_size


@pytest.mark.parametrize("folder", ["artifacts", "serving"])
def test_an_empty_file_beside_what_runs_have_made_is_a_lost_store(connection, tmp_path, folder):
    path = tmp_path / "root" / "metadata.sqlite"
    path.parent.mkdir()
    path.touch()
    (path.parent / folder).mkdir()
    assert open_writable_store(connection).get_contexts() == [], "nothing was made yet"
    path.write_bytes(b"")
    (path.parent / folder / "tiny").mkdir()
    with pytest.raises(UserError, match=rf"must not be lost: {path} has 0 bytes, though {path.parent / folder} holds"):
        open_writable_store(connection)
    assert path.stat().st_size == 0
    path.unlink()
    assert open_writable_store(connection).get_contexts() == []
