"""What TFX's launcher publishes of a node, and what its cache gives to a later run."""

from pathlib import Path

import pytest
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.dsl.component.experimental.annotations import InputArtifact
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration.pipeline import Pipeline
from tfx.types.standard_artifacts import PushedModel, Schema

from components.content import CONTENT_BYTES, CONTENT_FILES, CONTENT_SHA256, find_manifest, read_content
from components.errors import UserError
from components.schema_importer.component import SchemaImporter
from pipeline.execution import node_launcher
from pipeline.execution.run_record import write_run_record
from pipeline.execution.run_state import PROCESS, describe_process, mark_running, read_node
from pipeline.lineage.collect import collect

SCHEMA = 'feature { name: "x" type: INT }'
DELETED, LIVE, MARKED = mlmd.Artifact.DELETED, mlmd.Artifact.LIVE, mlmd.Artifact.MARKED_FOR_DELETION


class Project:
    """A pipeline of one node of TFX's own code, in a root."""

    def __init__(self, root: Path):
        self.root = root
        self.connection = mlmd.ConnectionConfig()
        self.connection.sqlite.filename_uri = str(root / "metadata.sqlite")
        self.connection.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        self.schema = root / "schema.pbtxt"
        self.schema.write_text(SCHEMA)

    def create(self) -> Pipeline:
        return Pipeline("tiny", str(self.root / "artifacts/tiny"), components=[SchemaImporter(self.schema)])

    def run(self, run_id: str) -> tuple[bool, mlmd.Artifact]:
        """Runs the node; returns whether it was cached, and its artifact."""

        def create() -> Pipeline:
            pipeline = self.create()
            pipeline.enable_cache = True
            return pipeline

        compiled = node_launcher.compile_pipeline(create, (), run_id, self.connection)
        node_launcher.launch_node(compiled, "SchemaImporter", self.connection)
        store = MetadataStore(self.connection)
        host = describe_process().split(" ")[0]
        write_run_record(store, run_id, {"pipeline_name": "tiny", PROCESS: f"{host} 999999999 1.00"})
        state = read_node(store, "tiny", run_id, "SchemaImporter")
        return state.cached, state.outputs["schema"][0]

    def set_state(self, artifact: mlmd.Artifact, state: int) -> None:
        artifact.state = state
        MetadataStore(self.connection).put_artifacts([artifact])


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_nodes_of_tfx_have_their_content_recorded(project: Project):
    _, artifact = project.run("run-1")
    content = read_content(artifact.uri)
    recorded = artifact.custom_properties
    assert recorded[CONTENT_SHA256].string_value == content.sha256
    assert recorded[CONTENT_FILES].int_value == len(content.files) == 1
    assert recorded[CONTENT_BYTES].int_value == content.num_bytes > 0
    assert Path(find_manifest(artifact.uri)).read_text() == content.manifest


def test_what_has_changed_is_not_taken_from_the_cache(project: Project, monkeypatch: pytest.MonkeyPatch, capfd):
    monkeypatch.delenv("PIPELINE_CONSOLE_FD", raising=False)
    _, first = project.run("run-1")
    assert project.run("run-2") == (True, first)
    (path,) = Path(first.uri).iterdir()
    path.write_text(path.read_text() + " ")
    cached, second = project.run("run-3")
    assert not cached and second.uri != first.uri
    assert (
        f"Not taken from the cache: {first.uri} has changed since it was made ({path.name} has "
        in capfd.readouterr().err
    )
    # The one that is whole is found behind others that are not.
    assert project.run("run-4") == (True, second)
    (Path(second.uri) / "more").write_text("x")
    path.write_text(path.read_text()[:-1])
    assert project.run("run-5") == (True, first)
    assert f"{second.uri} has changed since it was made (more was added)" in capfd.readouterr().err
    path.unlink()
    assert project.run("run-6")[0] is False
    assert f"({path.name} is missing)" in capfd.readouterr().err


def test_a_run_that_goes_on_finds_nothing_of_the_attempt_before(project: Project):
    compiled = node_launcher.compile_pipeline(project.create, (), "run-1", project.connection)
    project.schema.unlink()  # the first attempt fails
    with pytest.raises(Exception, match="schema"):
        node_launcher.launch_node(compiled, "SchemaImporter", project.connection)
    store = MetadataStore(project.connection)
    (execution,) = store.get_executions()
    place = project.root / "artifacts/tiny/SchemaImporter/schema" / str(execution.id)
    (place / ".hidden").mkdir(parents=True)
    for path in (place / "half.pbtxt", place / ".hidden" / "x"):
        path.write_text("x")
    project.schema.write_text(SCHEMA)
    mark_running(store, execution)
    node_launcher.launch_node(compiled, "SchemaImporter", project.connection)
    assert [path.name for path in place.iterdir()] == ["schema.pbtxt"]


def test_what_cannot_be_hashed_is_published_without(project: Project, monkeypatch: pytest.MonkeyPatch):
    def fail(_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(node_launcher, "record_content", fail)
    _, artifact = project.run("run-1")
    assert artifact.state == LIVE
    assert CONTENT_SHA256 not in artifact.custom_properties


def test_the_cache_gives_what_is_live_alone(project: Project):
    _, first = project.run("run-1")
    assert project.run("run-2") == (True, first)
    # As a collection leaves it that is killed before it has removed a file.
    project.set_state(first, MARKED)
    assert Path(first.uri).exists()
    cached, second = project.run("run-3")
    assert not cached and second.id != first.id


def test_after_a_collection_a_run_makes_anew_what_it_needs(project: Project):
    _, first = project.run("run-1")
    project.schema.write_text(SCHEMA.replace("INT", "FLOAT"))
    _, second = project.run("run-2")
    done = collect(project.connection, str(project.root), keep=1)
    assert [candidate.artifact_id for candidate in done.plan.candidates] == [first.id]
    assert not Path(first.uri).exists() and Path(second.uri).exists()
    project.schema.write_text(SCHEMA)
    cached, third = project.run("run-3")
    assert not cached and Path(third.uri).exists()
    states = [a.state for a in MetadataStore(project.connection).get_artifacts_by_id([first.id, second.id, third.id])]
    assert states == [DELETED, LIVE, LIVE]


@component
def Reader(schema: InputArtifact[Schema]):  # noqa: N802
    assert Path(schema.uri, "schema.pbtxt").read_text().startswith("feature")


@pytest.mark.parametrize(("change", "told"), [("more", "schema.pbtxt has"), ("gone", "schema.pbtxt is missing")])
def test_a_run_that_goes_on_does_not_read_what_has_changed(project: Project, change: str, told: str):
    """Whatever it takes as finished: of a run that is resumed, or of an earlier one for a part of a pipeline."""

    def create() -> Pipeline:
        importer = SchemaImporter(project.schema)
        nodes = [importer, Reader(schema=importer.outputs["schema"])]
        return Pipeline("tiny", str(project.root / "artifacts/tiny"), components=nodes)

    compiled = node_launcher.compile_pipeline(create, (), "run-1", project.connection)
    for node in ("SchemaImporter", "Reader"):
        node_launcher.launch_node(compiled, node, project.connection)
    store = MetadataStore(project.connection)
    (artifact,) = store.get_artifacts_by_type("Schema")
    path = Path(artifact.uri, "schema.pbtxt")
    path.write_text(SCHEMA + " ") if change == "more" else path.unlink()
    part = node_launcher.compile_pipeline(create, (), "run-2", project.connection, from_nodes=("Reader",))
    with pytest.raises(
        UserError, match=rf"Reader must read what was made\. Received: {artifact.uri}.*\({told}.*lineage verify"
    ):
        node_launcher.launch_node(part, "Reader", project.connection)
    path.write_text(SCHEMA)
    part = node_launcher.compile_pipeline(create, (), "run-3", project.connection, from_nodes=("Reader",))
    node_launcher.launch_node(part, "Reader", project.connection)


def test_a_push_that_is_not_in_service_is_not_taken_from_the_cache(tmp_path: Path, monkeypatch, capfd):
    monkeypatch.delenv("PIPELINE_CONSOLE_FD", raising=False)

    def check(**properties: str | int) -> None:
        pushed = PushedModel()
        pushed.uri = str(tmp_path)
        for name, value in properties.items():
            setattr(
                pushed.mlmd_artifact.custom_properties[name], "int_value" if name == "pushed" else "string_value", value
            )
        node_launcher._verify_cached(lambda _: None, {"pushed_model": [pushed]})

    version = tmp_path / "serving" / "1"
    version.mkdir(parents=True)
    (version / "saved_model.pb").write_text("x")
    told = {"pushed": 1, "pushed_destination": str(version), "pushed_version": "1"}
    check(**told)
    check(pushed=0)
    check(pushed=1)
    (tmp_path / "serving" / "2").mkdir()
    with pytest.raises(RuntimeError, match="is not the version in service"):
        check(**told)
    assert f"Not taken from the cache: {version} is not the version in service." in capfd.readouterr().err
    check(**told | {"pushed": 0})

    def fail(*_: object) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(node_launcher, "is_in_service", fail)
    with pytest.raises(RuntimeError, match="what is in service cannot be seen"):
        check(**told)
