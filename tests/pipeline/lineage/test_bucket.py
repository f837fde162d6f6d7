"""Verification and collection of artifacts in a bucket."""

import pytest

from components import storage
from components.content import find_manifest, record_content
from pipeline.lineage.collect import collect
from pipeline.lineage.contents import State
from pipeline.lineage.store import open_store
from pipeline.lineage.verify import verify


class Nothing:
    def start(self, _: int) -> None: ...

    def advance(self, _: int) -> None: ...


@pytest.fixture
def models(root_writer, bucket):
    """Models of three runs, whose files are in the bucket."""
    made = []
    for i in range(3):
        root_writer.start_run(f"run-{i}", "tiny")
        (model,) = root_writer.execution(f"run-{i}", "tiny", "Trainer", {}, {"model": ("Model", {})}).values()
        model.uri = model.uri.replace(str(root_writer.root), bucket.url)
        for name in ("saved_model.pb", "variables/data"):
            storage.write_text(f"{model.uri}/{name}", f"{name} of run {i}")
        record_content(model)
        root_writer.store.put_artifacts([model])
        made.append(model)
    return made


def test_what_was_changed_in_a_bucket_is_told(root_writer, bucket, models):
    store, announced = open_store(root_writer.connection), []
    found = verify(store, bucket.url, None, Nothing(), on_bucket=announced.append)
    assert (len(found.checks), found.wrong, found.orphans) == (3, [], ())
    assert announced[0].startswith(bucket.url)
    storage.write_text(f"{models[1].uri}/variables/data", "other")
    storage.remove(models[2].uri)
    storage.write_text(f"{bucket.url}/artifacts/tiny/Trainer/model/77/x", "left")
    found = verify(store, bucket.url, None, Nothing())
    assert [check.state for check in found.checks] == [State.OK, State.CHANGED, State.MISSING]
    assert found.checks[1].details == ("variables/data: 5 bytes instead of 23",)
    assert [orphan.place for orphan in found.orphans] == [f"{bucket.url}/artifacts/tiny/Trainer/model/77"]


def test_a_collection_removes_from_a_bucket(root_writer, bucket, models):
    done = collect(root_writer.connection, bucket.url, keep=1)
    assert [candidate.place for candidate in done.plan.candidates] == [models[0].uri, models[1].uri]
    assert done.failures == () and done.plan.num_bytes == 92
    there = [storage.exists(f"{model.uri}/saved_model.pb") for model in models]
    assert there == [storage.exists(find_manifest(model.uri)) for model in models] == [False, False, True]
    assert [root_writer.state(model) for model in models] == ["DELETED", "DELETED", "LIVE"]
