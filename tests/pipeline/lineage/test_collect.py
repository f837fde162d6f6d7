"""Tests of `lineage gc`, on files and a store as runs write them."""

import contextlib
import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components import storage
from components.errors import UserError
from pipeline.execution.run_state import describe_process
from pipeline.lineage import collect as collection
from pipeline.lineage import retention
from pipeline.lineage.collect_plan import make_plan
from pipeline.lineage.store import open_store
from pipeline.lineage.trace import trace


def plan(writer, keep: int = 1, pipeline: str | None = None):
    return make_plan(open_store(writer.connection), str(writer.root), keep, pipeline)


def collect(writer, keep: int = 1, pipeline: str | None = None):
    return collection.collect(writer.connection, str(writer.root), keep, pipeline)


def places(made: dict[str, mlmd.Artifact]) -> set[str]:
    return {artifact.uri for artifact in made.values()}


def there(made: dict[str, mlmd.Artifact]) -> set[str]:
    return {key for key, artifact in made.items() if Path(artifact.uri).exists()}


def collected(found) -> set[str]:
    return {candidate.place for candidate in found.candidates}


def run_command(writer, *arguments: str):
    from pipeline.lineage_cli.group import lineage_group

    return CliRunner().invoke(lineage_group, [*arguments, "--root", str(writer.root)])


def rename(writer, context_id: int, name: str) -> None:
    with contextlib.closing(sqlite3.connect(writer.root / "metadata.sqlite")) as store:
        store.execute("UPDATE Context SET name = ? WHERE id = ?", (name, context_id))
        store.commit()


def test_all_but_the_newest_runs_may_go(root_writer):
    runs = [root_writer.record_run(f"run-{i}") for i in range(4)]
    assert collected(plan(root_writer, keep=2)) == places(runs[0]) | places(runs[1])
    assert collected(plan(root_writer, keep=4)) == set()


def test_a_plan_changes_nothing(root_writer):
    runs = [root_writer.record_run(f"run-{i}") for i in range(2)]
    before = sorted(root_writer.root.rglob("*"))
    plan(root_writer)
    assert sorted(root_writer.root.rglob("*")) == before
    assert {root_writer.state(artifact) for made in runs for artifact in made.values()} == {"LIVE"}


def test_files_go_and_records_stay(root_writer):
    old, new = root_writer.record_run("run-1"), root_writer.record_run("run-2")
    done = collect(root_writer)
    assert done.failures == ()
    assert there(old) == set() and there(new) == set(new)
    assert {root_writer.state(artifact) for artifact in old.values()} == {"DELETED"}
    assert {root_writer.state(artifact) for artifact in new.values()} == {"LIVE"}
    (model,) = root_writer.store.get_artifacts_by_id([old["model"].id])
    assert model.custom_properties["method"].string_value == "lora"
    assert model.custom_properties[collection.COLLECTED_AT].string_value
    assert not list(root_writer.root.glob(f"artifacts/*/*/.system/contents/{Path(model.uri).name}/*"))
    assert plan(root_writer).candidates == ()


def test_sizes_ages_and_runs_are_told(root_writer):
    old = root_writer.record_run("run-1")
    root_writer.record_run("run-2")
    (Path(old["model"].uri) / "data").write_text("x" * 1000)
    found = next(c for c in plan(root_writer).candidates if c.artifact_id == old["model"].id)
    assert (found.num_bytes, found.run_id, found.kind, found.pipeline_name) == (1000, "run-1", "Model", "tiny")
    assert 0 <= found.age_seconds < 3600


class TestWhatStays:
    def test_all_that_a_pushed_model_was_made_from(self, root_writer):
        pushed = root_writer.record_run("run-1", pushed=True)
        held_back = root_writer.record_run("run-2")
        for i in range(3, 8):
            root_writer.record_run(f"run-{i}")
        collect(root_writer)
        assert there(pushed) == set(pushed)
        assert there(held_back) == set()
        assert (root_writer.root / "serving/tiny/run-1/data").exists()

    def test_that_of_a_pushed_model_whose_folder_is_gone(self, root_writer):
        pushed = root_writer.record_run("run-1", pushed=True)
        root_writer.record_run("run-2")
        shutil.rmtree(root_writer.root / "serving")
        collect(root_writer)
        assert there(pushed) == set(pushed)

    def test_that_of_a_model_that_was_pushed_to_an_endpoint(self, root_writer):
        root_writer.start_run("run-1", "tiny")
        made = root_writer.execution("run-1", "tiny", "Trainer", {}, {"model": ("Model", {})})
        root_writer.execution("run-1", "tiny", "Pusher", made, {"pushed_model": ("PushedModel", {"pushed": 1})})
        root_writer.record_run("run-2")
        assert collected(plan(root_writer)) == set()

    def test_the_history_behind_the_baseline_of_a_pushed_model(self, root_writer):
        first = root_writer.record_run("run-1")
        second = root_writer.record_run("run-2", pushed=True, baseline=first["model"])
        root_writer.record_run("run-3")
        collect(root_writer)
        assert there(second) == set(second)
        assert there(first) == {"model", "examples"}, "its own evaluation is no evidence of the second"

    def test_a_pushed_model_of_a_reused_model(self, root_writer):
        first = root_writer.record_run("run-1")
        root_writer.start_run("run-2", "tiny")
        cached = root_writer.execution(
            "run-2",
            "tiny",
            "Trainer",
            {"examples": first["examples"]},
            {"model": first["model"]},
            state=mlmd.Execution.CACHED,
        )
        properties = {"pushed": 1, "pushed_destination": "/elsewhere/1"}
        root_writer.execution("run-2", "tiny", "Pusher", cached, {"pushed_model": ("PushedModel", properties)})
        root_writer.record_run("run-3")
        collect(root_writer)
        assert there(first) == {"model", "examples"}

    def test_all_blessed_models(self, root_writer):
        blessed = root_writer.record_run("run-1", blessed=True)
        root_writer.record_run("run-2")
        collect(root_writer)
        assert there(blessed) == {"examples", "model", "evaluation", "blessing"}

    def test_what_a_newer_run_has_taken_from_the_cache(self, root_writer):
        old = root_writer.record_run("run-1")
        new = root_writer.record_run("run-2", reuse=old)
        collect(root_writer)
        assert there(old) == {"examples"}
        assert there(new) == set(new)

    def test_what_runs_that_go_on_use(self, root_writer):
        old = root_writer.record_run("run-1")
        going = root_writer.record_run("run-2", reuse=old, process=describe_process())
        root_writer.record_run("run-3")
        collect(root_writer)
        assert there(old) == {"examples"}
        assert there(going) == set(going)
        assert (root_writer.root / "logs/tiny/run-2").exists()

    @pytest.mark.parametrize("process", ["", "another-host 1 1.00"])
    def test_runs_of_which_it_is_not_known_whether_they_go_on(self, root_writer, process: str, monkeypatch):
        old = root_writer.record_run("run-1", process=process)
        root_writer.record_run("run-2")
        assert collected(plan(root_writer)) == set()
        assert plan(root_writer).kept[retention.GOING] == len(old)
        monkeypatch.setattr(retention, "MAYBE_GOING_SECONDS", -1)
        assert collected(plan(root_writer)) == places(old)
        root_writer.execution("run-1", "tiny", "Slow", {}, {}, state=mlmd.Execution.RUNNING)
        assert collected(plan(root_writer)) == set()

    def test_a_killed_run_does_not_go_on(self, root_writer):
        old = root_writer.record_run("run-1")
        root_writer.execution("run-1", "tiny", "Slow", {}, {}, state=mlmd.Execution.RUNNING)
        root_writer.record_run("run-2")
        assert collected(plan(root_writer)) == places(old)

    def test_each_pipeline_keeps_its_own(self, root_writer):
        one, other = root_writer.record_run("run-1"), root_writer.record_run("run-2", pipeline="other")
        root_writer.record_run("run-3")
        assert collected(plan(root_writer)) == places(one)
        root_writer.record_run("run-4", pipeline="other")
        assert collected(plan(root_writer)) == places(one) | places(other)
        assert collected(plan(root_writer, pipeline="other")) == places(other)

    def test_what_another_pipeline_has_read(self, root_writer):
        one = root_writer.record_run("run-1")
        root_writer.start_run("run-2", "other")
        root_writer.execution("run-2", "other", "Trainer", {"examples": one["examples"]}, {})
        root_writer.record_run("run-3", pipeline="other")
        root_writer.record_run("run-4")
        found = plan(root_writer, pipeline="tiny")
        assert one["examples"].uri not in collected(found) and one["model"].uri in collected(found)
        assert found.kept[retention.SHARED]
        assert one["examples"].uri in collected(plan(root_writer)), "no run that stays needs it"

    def test_runs_that_were_not_needed_do_not_count(self, root_writer):
        old = root_writer.record_run("run-1")
        root_writer.start_run("run-2", "tiny")  # `run --if-changed` records such
        assert collected(plan(root_writer)) == set()
        assert there(old) == set(old)

    def test_more_runs_than_one_question_can_ask_for(self, root_writer):
        for i in range(75):
            root_writer.start_run(f"run-{i:03d}", "tiny")
            made = root_writer.execution(f"run-{i:03d}", "tiny", "Trainer", {}, {"model": ("Model", {})})
            if i % 2:
                root_writer.execution(f"run-{i:03d}", "tiny", "Pusher", made, {"p": ("PushedModel", {"pushed": 1})})
        found = plan(root_writer, keep=5)
        assert len(found.candidates) == 35  # of the 70 old runs half were not pushed
        assert found.kept == {retention.PUSHED: 74, retention.RECENT: 3}


class TestWhatIsNeverTouched:
    @pytest.mark.parametrize(
        "place",
        ["{outside}", "{root}", "{root}/artifacts", "{root}/artifacts/tiny", "{root}/artifacts/tiny/Trainer/model",
         "{root}/serving/tiny/1", "{root}/artifacts/tiny/../../../outside/a/b/c", "{root}/artifacts/tiny/Trainer/.system/1"],
    )  # fmt: skip
    def test_other_folders_than_those_of_artifacts(self, root_writer, tmp_path: Path, place: str):
        root_writer.start_run("run-1", "tiny")
        made = root_writer.execution("run-1", "tiny", "Trainer", {}, {"model": ("Model", {})}, recorded=False)["model"]
        made.uri = place.format(root=root_writer.root, outside=tmp_path / "outside")
        root_writer.store.put_artifacts([made])
        Path(made.uri).mkdir(parents=True, exist_ok=True)
        (Path(made.uri) / "mine").write_text("x")
        root_writer.record_run("run-2")
        found = plan(root_writer)
        assert (found.candidates, found.num_untouchable) == ((), 1)

    @pytest.mark.parametrize(
        "level", ["artifacts", "artifacts/tiny", "artifacts/tiny/Trainer", "artifacts/tiny/Trainer/model/1"]
    )
    def test_links_are_not_followed(self, root_writer, tmp_path: Path, level: str):
        root_writer.start_run("run-1", "tiny")
        made = root_writer.execution("run-1", "tiny", "Trainer", {}, {"model": ("Model", {})}, recorded=False)["model"]
        assert made.uri.endswith("Trainer/model/1")
        root_writer.start_run("run-2", "tiny")
        root_writer.execution("run-2", "tiny", "Trainer", {}, {})
        link = root_writer.root / level
        shutil.move(link, tmp_path / "outside")
        os.symlink(tmp_path / "outside", link)
        files = sorted((tmp_path / "outside").rglob("*"))
        collect(root_writer)
        assert sorted((tmp_path / "outside").rglob("*")) == files

    def test_a_link_that_is_put_there_later(self, root_writer, tmp_path: Path, monkeypatch):
        old = root_writer.record_run("run-1")
        root_writer.record_run("run-2")
        place = Path(old["model"].uri)

        def swap(*arguments):
            result = original(*arguments)
            shutil.move(place, tmp_path / "outside")
            os.symlink(tmp_path / "outside", place)
            return result

        original = collection.make_plan
        monkeypatch.setattr(collection, "make_plan", swap)
        done = collect(root_writer)
        assert (tmp_path / "outside/data").exists()
        assert "not in the folder of its pipeline" in done.failures[0]
        assert root_writer.state(old["model"]) == "MARKED_FOR_DELETION"

    def test_the_root_itself_may_be_a_link(self, root_writer, tmp_path: Path):
        old = root_writer.record_run("run-1")
        root_writer.record_run("run-2")
        os.symlink(root_writer.root, tmp_path / "link")
        found = make_plan(open_store(root_writer.connection), str(tmp_path / "link"), 1)
        assert collected(found) == places(old)

    def test_folders_that_a_kept_artifact_shares(self, root_writer):
        old = root_writer.record_run("run-1")
        root_writer.start_run("run-2", "tiny")
        (made,) = root_writer.execution(
            "run-2", "tiny", "Importer", {}, {"model": ("Model", {})}, recorded=False
        ).values()
        made.uri = old["model"].uri
        root_writer.store.put_artifacts([made])
        assert collected(plan(root_writer)) == places(old) - {old["model"].uri}
        made.uri = f"{old['examples'].uri}/Split-train"
        root_writer.store.put_artifacts([made])
        assert collected(plan(root_writer)) == places(old) - {old["examples"].uri}

    def test_keeping_nothing_is_refused(self, root_writer):
        root_writer.record_run("run-1")
        with pytest.raises(UserError, match="at least 1"):
            plan(root_writer, keep=0)

    def test_an_unknown_pipeline_is_told(self, root_writer):
        root_writer.record_run("run-1")
        with pytest.raises(UserError, match="Pipelines: tiny"):
            plan(root_writer, pipeline="other")


class TestLogsAndCheckpoints:
    def test_logs_of_runs_of_which_nothing_stays_go(self, root_writer):
        root_writer.record_run("run-1")
        first = root_writer.record_run("run-2", blessed=True)
        root_writer.record_run("run-3", reuse=first)
        collect(root_writer)
        logs = sorted(p.name for p in (root_writer.root / "logs/tiny").iterdir())
        assert logs == ["run-2", "run-3"]

    def test_checkpoints_older_than_all_that_stays_go(self, root_writer):
        root_writer.record_run("run-1")
        root_writer.record_run("run-2")
        old, new = (root_writer.root / "checkpoints/tiny" / name / "step.npz" for name in ("old", "new"))
        for path in (old, new):
            path.parent.mkdir(parents=True)
            path.write_text("x")
        os.utime(old, (1, 1))
        collect(root_writer)
        assert not old.parent.exists() and new.exists()

    @pytest.mark.parametrize(
        "name",
        ["../../../victim", "..", ".", "a/../../../../victim", "link", "../tiny/run-2", "./run-2", "run-2/", "run-2/."],
    )
    def test_names_of_runs_lead_nowhere_else(self, root_writer, tmp_path: Path, name: str):
        victim = tmp_path / "victim"
        victim.mkdir()
        (victim / "file").write_text("x")
        root_writer.record_run("run-1")
        root_writer.record_run("run-2")
        (root_writer.root / "logs/tiny/link").symlink_to(victim)
        (run,) = (c for c in root_writer.store.get_contexts_by_type("pipeline_run") if c.name == "run-1")
        rename(root_writer, run.id, name)
        collect(root_writer)
        assert (victim / "file").exists()
        assert (root_writer.root / "metadata.sqlite").exists() and (root_writer.root / "logs/tiny/run-2").exists()

    @pytest.mark.parametrize("name", ["..", "../../victim", "."])
    def test_names_of_pipelines_lead_nowhere_else(self, root_writer, tmp_path: Path, name: str):
        others = [tmp_path / "victim" / "old" / "file", root_writer.root / "other" / "file"]
        for run in ("run-1", "run-2"):
            root_writer.record_run(run)
        (root_writer.root / "checkpoints").mkdir(exist_ok=True)
        for path in others:
            path.parent.mkdir(parents=True)
            path.write_text("x")
            os.utime(path, (1, 1))
        (pipeline,) = root_writer.store.get_contexts_by_type("pipeline")
        rename(root_writer, pipeline.id, name)
        collect(root_writer)
        assert all(path.exists() for path in others)

    def test_checkpoints_stay_while_a_run_goes_on(self, root_writer):
        root_writer.record_run("run-1", process=describe_process())
        old = root_writer.root / "checkpoints/tiny/old/step.npz"
        old.parent.mkdir(parents=True)
        old.write_text("x")
        os.utime(old, (1, 1))
        collect(root_writer)
        assert old.exists()


class TestInterruption:
    @pytest.mark.parametrize("after", range(5))
    def test_the_next_collection_finishes(self, root_writer, monkeypatch, after: int):
        old, new = root_writer.record_run("run-1"), root_writer.record_run("run-2")
        calls = []

        def remove(place: str) -> None:
            if len(calls) == after:
                raise KeyboardInterrupt
            calls.append(place)
            original(place)

        original = storage.remove
        monkeypatch.setattr(storage, "remove", remove)
        with pytest.raises(KeyboardInterrupt):
            collect(root_writer)
        states = {key: root_writer.state(artifact) for key, artifact in old.items()}
        assert all(states[key] != "LIVE" for key in set(old) - there(old)), (
            "no run may take what is gone from the cache"
        )
        monkeypatch.undo()
        # Whatever the number is now: what is half removed is of no use.
        assert len(collect(root_writer, keep=5).plan.candidates) == len(old)
        assert {root_writer.state(artifact) for artifact in old.values()} == {"DELETED"}
        assert there(old) == set() and there(new) == set(new)

    def test_before_anything_is_marked_nothing_is_gone(self, root_writer, monkeypatch):
        old = root_writer.record_run("run-1")
        root_writer.record_run("run-2")

        def fail(*_: object) -> None:
            raise RuntimeError("the store is gone")

        monkeypatch.setattr(collection, "_set_state", fail)
        with pytest.raises(RuntimeError):
            collect(root_writer)
        assert there(old) == set(old)

    def test_what_cannot_be_removed_stays_marked(self, root_writer, monkeypatch):
        old = root_writer.record_run("run-1")
        root_writer.record_run("run-2")

        def remove(place: str) -> None:
            if place == old["model"].uri:
                raise PermissionError(13, "Permission denied", place)
            original(place)

        original = storage.remove
        monkeypatch.setattr(storage, "remove", remove)
        (failure,) = collect(root_writer).failures
        assert "Permission denied" in failure
        assert root_writer.state(old["model"]) == "MARKED_FOR_DELETION"
        assert root_writer.state(old["examples"]) == "DELETED"
        assert run_command(root_writer, "gc", "--keep", "1", "--yes").exit_code == 1

    def test_what_a_run_takes_while_a_server_is_read_is_given_back(self, root_writer, monkeypatch):
        old, new = root_writer.record_run("run-1"), root_writer.record_run("run-2")
        looks = []

        def decide(store, *arguments):
            (examples,) = store.get_artifacts_by_id([old["examples"].id])
            looks.append(mlmd.Artifact.State.Name(examples.state))
            root_writer.execution("run-2", "tiny", "Again", {}, {"examples": examples}, state=mlmd.Execution.CACHED)
            return retention.decide_retention(store, *arguments)

        monkeypatch.setattr(collection, "decide_retention", decide)
        monkeypatch.setattr(collection, "_is_locked", lambda _: False)
        collect(root_writer)
        assert looks == ["MARKED_FOR_DELETION"]
        assert there(new) == set(new)
        assert there(old) == {"examples"} and root_writer.state(old["examples"]) == "LIVE"


class TestCommands:
    def test_nothing_is_removed_without_a_word(self, root_writer):
        old = root_writer.record_run("run-1")
        root_writer.record_run("run-2")
        result = run_command(root_writer, "gc", "--keep", "1")
        assert (result.exit_code, there(old)) == (0, set(old))
        assert "give --yes" in result.stdout
        told = json.loads(run_command(root_writer, "gc", "--keep", "1", "--json").stdout)
        assert told["removed"] is False and len(told["artifacts"]) == len(old)

    def test_yes_removes(self, root_writer):
        old = root_writer.record_run("run-1")
        root_writer.record_run("run-2")
        told = json.loads(run_command(root_writer, "gc", "--keep", "1", "--yes", "--json").stdout)
        assert (told["removed"], told["failures"], there(old)) == (True, [], set())
        assert "There is nothing to collect" in run_command(root_writer, "gc", "--keep", "1", "--yes").stdout

    def test_verify_takes_what_was_collected_for_what_it_is(self, root_writer):
        root_writer.record_run("run-1")
        root_writer.record_run("run-2")
        collect(root_writer)
        result = run_command(root_writer, "verify", "--strict")
        assert result.exit_code == 0, result.output
        assert "5 whose files were collected" in result.stdout

    def test_an_old_model_is_still_shown(self, root_writer):
        old = root_writer.record_run("run-1")
        root_writer.record_run("run-2")
        collect(root_writer)
        found = trace(open_store(root_writer.connection), old["model"].uri)
        assert found.artifact.is_collected and found.data
        result = run_command(root_writer, "show", old["model"].uri)
        assert "its files were collected" in result.stdout
        assert result.stdout.count("files collected") == 3

    def test_without_a_store_none_is_made(self, tmp_path: Path):
        from pipeline.lineage_cli.group import lineage_group

        result = CliRunner().invoke(lineage_group, ["gc", "--keep", "1", "--yes", "--root", str(tmp_path / "none")])
        assert isinstance(result.exception, UserError)
        assert not (tmp_path / "none").exists()


def test_a_store_on_a_server(root_writer, mariadb, tmp_path: Path):
    mariadb.make_database("collect")
    connection = mlmd.ConnectionConfig()
    connection.mysql.host, connection.mysql.port, connection.mysql.database = "127.0.0.1", mariadb.port, "collect"
    connection.mysql.user, connection.mysql.password = "mlmd", mariadb.password
    writer = type(root_writer)(tmp_path / "other", connection)
    old = writer.record_run("run-1")
    pushed = writer.record_run("run-2", pushed=True, reuse=old)
    writer.execution("run-2", "tiny", "Slow", {}, {}, state=mlmd.Execution.RUNNING)
    writer.record_run("run-3")
    assert collect(writer).failures == ()
    assert there(old) == {"examples"} and there(pushed) == set(pushed)
    assert writer.state(old["model"]) == "DELETED" and writer.state(old["examples"]) == "LIVE"
