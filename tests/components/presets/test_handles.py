"""Handles of the hub, asked by the hub's own client."""

from pathlib import Path

import huggingface_hub.constants
import pytest

from components.errors import UserError
from components.local_copies import local_preset
from components.presets.handles import (
    fetch_snapshot,
    find_commit,
    find_handle_problem,
    find_snapshot,
    is_pinned,
    pin_handle,
    resolve_handle,
)

HANDLE = "hf://someone/tiny"


@pytest.fixture
def folder(make_golden_folder):
    folder = make_golden_folder("smollm2")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    for name in ("pytorch_model.bin", "original/consolidated.00.pth", "onnx/model.json", "consolidated.safetensors"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"never")
    return folder


def list_names(folder):
    return {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()}


def go_offline(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def test_a_handle_becomes_a_folder(hub, folder):
    commit = hub.put("someone/tiny", folder)
    assert (find_snapshot(HANDLE), find_commit(HANDLE)) == (None, "")
    snapshot = fetch_snapshot(HANDLE)
    assert snapshot.commit == commit == find_commit(HANDLE)
    names = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}
    assert list_names(snapshot.folder) == names
    with local_preset(HANDLE) as source:
        assert source == snapshot.folder


def test_a_pinned_handle_tells_its_commit_itself():
    commit = "0123456789abcdef" * 2 + "01234567"
    pinned = pin_handle("hf://someone/tiny@main", commit)
    assert pinned == f"hf://someone/tiny@{commit}" == pin_handle(HANDLE, commit)
    assert (is_pinned(pinned), find_snapshot(pinned), find_commit(pinned)) == (True, None, commit)


def test_what_needs_no_weights_downloads_none(hub, folder):
    hub.put("someone/tiny", folder)
    with local_preset(HANDLE, with_weights=False) as source:
        assert "model.safetensors" not in list_names(source)
    assert find_snapshot(HANDLE) is None
    assert find_commit(HANDLE)
    with local_preset(HANDLE) as source:
        assert "model.safetensors" in list_names(source)


def test_revisions(hub, folder):
    first = hub.put("someone/tiny", folder, "v1.0", "refs/pr/1")
    (folder / "chat_template.jinja").write_text("another")
    second = hub.put("someone/tiny", folder)
    assert fetch_snapshot(HANDLE).commit == second != first
    for revision in ("v1.0", first, "refs/pr/1"):
        assert fetch_snapshot(f"{HANDLE}@{revision}").commit == first
    assert (is_pinned(HANDLE), is_pinned(f"{HANDLE}@v1.0"), is_pinned(f"{HANDLE}@{first}")) == (False, False, True)


def test_all_nodes_of_a_run_see_the_state_at_its_beginning(hub, folder):
    first = fetch_snapshot_of(hub, folder)
    (folder / "chat_template.jinja").write_text("moved")
    second = hub.put("someone/tiny", folder)
    assert (resolve_handle(HANDLE).commit, find_commit(HANDLE)) == (first, first)
    assert (fetch_snapshot(HANDLE).commit, find_commit(HANDLE)) == (second, second)


def fetch_snapshot_of(hub, folder):
    hub.put("someone/tiny", folder)
    return fetch_snapshot(HANDLE).commit


def test_without_a_network_the_cache_is_taken(hub, folder, monkeypatch):
    commit = fetch_snapshot_of(hub, folder)
    go_offline(monkeypatch)
    hub.requests.clear()
    assert fetch_snapshot(HANDLE).commit == resolve_handle(HANDLE).commit == commit
    assert hub.requests == []


def test_without_a_network_and_without_a_cache_it_says_what_to_do(hub, folder, monkeypatch):
    hub.put("someone/tiny", folder)
    go_offline(monkeypatch)
    with pytest.raises(UserError, match=r"hf://someone/tiny could not be downloaded .*Check the name, the network"):
        resolve_handle(HANDLE)


def test_a_download_that_was_interrupted_is_finished(hub, folder):
    commit = fetch_snapshot_of(hub, folder)
    (Path(resolve_handle(HANDLE).folder) / "model.safetensors").unlink()
    assert find_snapshot(HANDLE) is None
    snapshot = resolve_handle(HANDLE)
    assert snapshot.commit == commit
    assert "model.safetensors" in list_names(snapshot.folder)


@pytest.mark.parametrize(
    ("handle", "part"),
    [
        ("hf://someone/nothing", "RepositoryNotFoundError"),
        (f"{HANDLE}@v9", "RevisionNotFoundError"),
        ("hf://someone/gated", "GatedRepoError.*gated models need HF_TOKEN"),
    ],
)
def test_what_cannot_be_had_says_why(hub, folder, handle, part):
    hub.put("someone/tiny", folder)
    hub.put("someone/gated", folder)
    hub.gated.add("someone/gated")
    with pytest.raises(UserError, match=f"(?s){part}"):
        resolve_handle(handle)


def test_a_token_opens_what_is_gated(hub, folder, monkeypatch):
    commit = hub.put("someone/gated", folder)
    hub.gated.add("someone/gated")
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert fetch_snapshot("hf://someone/gated").commit == commit


@pytest.mark.parametrize("handle", ["hf://", "hf://a/b/c", "hf://a b/c", "hf://a/b@", "hf://a/b@x y"])
def test_what_is_no_handle(handle):
    assert find_handle_problem(handle).startswith("must be hf://owner/name or hf://owner/name@revision")
    with pytest.raises(UserError, match="must be hf://owner/name"):
        resolve_handle(handle)


def test_presets_of_keras_hub_are_on_the_hub_too(hub, tmp_path):
    names = {"config.json", "task.json", "tokenizer.json", "assets/tokenizer/merges.txt", "model.weights.h5"}
    for name in names | {"README.md"}:
        (tmp_path / "preset" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "preset" / name).write_text('{"registered_name": "keras_hub>GPT2Backbone"}')
    hub.put("keras/gpt2", tmp_path / "preset")
    with local_preset("hf://keras/gpt2") as source:
        assert list_names(source) == names
    assert find_snapshot("hf://keras/gpt2").folder == source
