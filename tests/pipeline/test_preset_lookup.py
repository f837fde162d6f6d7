"""Presets on a hub, when a run begins."""

import pytest
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from rich.console import Console

from components.errors import UserError
from configs.runner_schema import LocalRunnerConfig
from pipeline import run_command
from pipeline.code_hash import hash_preset
from pipeline.execution.child_process import ChildError
from pipeline.execution.node_runner import NodeFailedError
from pipeline.execution.run_record import make_training_record, write_run_record
from pipeline.metadata_connection import make_connection_config
from pipeline.preset_checks import describe_preset, find_preset_problems, read_backbone_number
from pipeline.preset_lookup import describe_move, describe_other_weights, look_up_presets
from pipeline.validate import load_config

CONFIG = "configs/runs/tiny_gpt2_en_lora.yaml"
HANDLE = "hf://someone/tiny"


@pytest.fixture
def folder(make_golden_folder):
    return make_golden_folder("gpt2")


@pytest.fixture
def runner(tmp_path):
    return LocalRunnerConfig(kind="local", root=str(tmp_path / "runs"))


@pytest.fixture
def store(runner, tmp_path):
    (tmp_path / "runs").mkdir()
    return MetadataStore(make_connection_config(runner))


def load(preset, *overrides):
    return load_config(CONFIG, [f"model.preset={preset}", "text.max_length=64", *overrides])


def test_what_a_folder_takes_is_told(folder):
    told = describe_preset(str(folder))
    assert told.startswith(
        f"{folder}: GPT-2, 10,096 parameters; the weights take 0.04 MiB of memory in float32, 0.02 MiB"
    )


def test_a_folder_in_hugging_faces_layout_is_checked(folder):
    assert find_preset_problems(str(folder)) == []
    assert read_backbone_number(str(folder), "max_sequence_length") == 64
    (folder / "model.safetensors").write_bytes(b"12345678")
    (problem,) = find_preset_problems(str(folder))
    assert problem.startswith(f"{folder}: model.safetensors is not whole")


def test_other_models_than_language_models_may_be_of_any_family(folder):
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"gpt2"', '"bert"'))
    assert find_preset_problems(str(folder), is_language_model=False) == []
    assert len(find_preset_problems(str(folder))) == 1


def test_a_handle_is_checked_once_it_is_here(hub, folder):
    hub.put("someone/tiny", folder)
    assert find_preset_problems(HANDLE) == []
    assert describe_preset(HANDLE) == f"{HANDLE} is not on this machine yet: it is checked when the run begins."
    assert hub.requests == []  # validate asks nobody
    look_up_presets(load(HANDLE), Console(quiet=True))
    assert "GPT-2, 10,096 parameters" in describe_preset(HANDLE)
    assert read_backbone_number(HANDLE, "max_sequence_length") == 64


def test_a_handle_of_another_family_stops_the_run(hub, folder):
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"gpt2"', '"phi3"'))
    hub.put("someone/tiny", folder)
    with pytest.raises(UserError, match="no converter to a causal language model for 'phi3'"):
        look_up_presets(load(HANDLE), Console(quiet=True))


@pytest.mark.parametrize("preset", ["hf://a", "hf://a/b@v1", "kaggle://a/b/keras/c", "kaggle://a/b/keras/c/2"])
def test_forms_of_handles(hub, preset):
    assert find_preset_problems(preset) == []


@pytest.mark.parametrize("preset", ["hf://a/b/c", "hf://a b", "kaggle://a/b"])
def test_what_is_no_handle(preset):
    assert find_preset_problems(preset)[0].startswith("must be ")


def test_the_commit_is_the_hash_of_a_handle(hub, folder):
    commit = hub.put("someone/tiny", folder)
    assert hash_preset(HANDLE) == ("", "")
    config = load(HANDLE)
    assert "preset_revision" not in make_training_record(config, CONFIG)
    look_up_presets(config, Console(quiet=True))
    assert hash_preset(HANDLE) == (commit, commit)
    assert make_training_record(config, CONFIG)["preset_revision"] == commit


def test_a_handle_that_has_moved_is_told(hub, folder, store):
    config = load(HANDLE)
    first = hub.put("someone/tiny", folder)
    look_up_presets(config, Console(quiet=True))
    assert describe_move(store, config, first) is None
    write_run_record(store, "run-1", make_training_record(config, CONFIG))
    assert describe_move(store, config, first) is None
    (folder / "README.md").write_text("moved")
    second = hub.put("someone/tiny", folder)
    told = describe_move(store, config, second)
    assert told.startswith(f"{HANDLE} has moved since the run run-1: from commit {first[:12]} to {second[:12]}.")
    assert told.endswith(f"model.preset: {HANDLE}@{first}")
    # Neither of another pipeline, nor of a handle that cannot move.
    assert describe_move(store, load(HANDLE, "pipeline.name=another"), second) is None
    assert describe_move(store, load(f"{HANDLE}@{second}"), second) is None


def test_the_console_tells_it(hub, folder, runner, store, monkeypatch, capfd):
    def fail(*_):
        raise NodeFailedError("ExampleGen") from ChildError("it was started")

    monkeypatch.setattr("pipeline.local_runner.run", fail)
    config = load(HANDLE)
    hub.put("someone/tiny", folder)
    run_command.run_pipeline(config, CONFIG, runner)
    output = capfd.readouterr().out
    assert "GPT-2, 10,096 parameters" in output
    assert "has moved" not in output
    write_run_record(store, "run-1", make_training_record(config, CONFIG))
    (folder / "README.md").write_text("moved")
    (folder / "generation_config.json").write_text("{}")
    hub.put("someone/tiny", folder)
    run_command.run_pipeline(config, CONFIG, runner)
    assert "has moved since the run run-1" in capfd.readouterr().out


def put_model(store, preset, weights, started_from=None):
    kind = metadata_store_pb2.ArtifactType(name="Model")
    model = metadata_store_pb2.Artifact(type_id=store.put_artifact_type(kind, can_add_fields=True))
    for key, value in {"preset": preset, "base_hash": weights, "started_from": started_from or preset}.items():
        model.custom_properties[key].string_value = value
    (model.id,) = store.put_artifacts([model])
    return model


def test_a_name_with_other_weights_is_told(store):
    name = "kaggle://a/b/keras/c"
    first = put_model(store, name, "a" * 64)
    assert describe_other_weights(store, first) is None
    assert describe_other_weights(store, put_model(store, name, "a" * 64)) is None
    put_model(store, "another", "c" * 64)
    last = put_model(store, name, "b" * 64)
    told = describe_other_weights(store, last)
    assert told.startswith(
        f"{name} has other weights than when it was tuned last (model 2): {'a' * 12} then, {'b' * 12}"
    )
    # A training that went on from another model says nothing about the preset.
    assert describe_other_weights(store, put_model(store, name, "d" * 64, started_from="/runs/preset")) is None


def test_the_hash_of_a_folder_sees_all_of_it(folder):
    before = hash_preset(str(folder))
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    after = hash_preset(str(folder))
    assert before[0] != after[0]
    assert before[1] != after[1]
    (folder / "model.safetensors").write_bytes(b"others")
    assert hash_preset(str(folder))[0] != after[0]
    assert hash_preset(str(folder))[1] == after[1]


def test_the_hash_of_tokens_sees_the_publishers_files_of_a_preset(tmp_path):
    for name, text in {"config.json": "{}", "tokenizer.json": "{}", "hugging_face/tokenizer.json": "rules"}.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    before = hash_preset(str(tmp_path))
    (tmp_path / "hugging_face" / "tokenizer.json").write_text("other rules")
    assert hash_preset(str(tmp_path))[1] != before[1]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.model", "hugging_face/tokenizer.json"])
def test_a_pointer_of_git_lfs_is_no_file_of_a_model(folder, name):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 7\n")
    (problem,) = find_preset_problems(str(folder))
    assert (
        problem
        == f"{folder}: {name} must be the file itself, and is a pointer of Git LFS. Run `git lfs pull` in the folder."
    )


@pytest.mark.parametrize("preset", ["s3://bucket/preset", "modelscope://owner/name"])
def test_addresses_without_a_client_are_refused(preset):
    (problem,) = find_preset_problems(preset)
    assert "hf://, kaggle:// or gs://" in problem and preset in problem
