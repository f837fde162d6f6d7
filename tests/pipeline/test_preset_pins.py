"""What is compiled for a cluster names commits."""

import huggingface_hub.constants
import pytest
from rich.console import Console

from components.errors import UserError
from pipeline.preset_pins import pin_presets
from pipeline.validate import load_config

CONFIG = "configs/runs/tiny_gpt2_en_lora.yaml"
HANDLE = "hf://someone/tiny"
METRICS = '[perplexity, exact_match, {name: embedding_similarity, preset: "hf://someone/encoder"}]'


def load(*overrides):
    return load_config(CONFIG, ["text.max_length=64", *overrides])


def test_each_handle_gets_the_commit_of_now(hub, make_golden_folder, monkeypatch):
    commits = {
        name: hub.put(f"someone/{name}", make_golden_folder("smollm2")) for name in ("tiny", "reference", "encoder")
    }
    console = Console(record=True, width=200)
    reference = "token_cleaning.reference.preset=hf://someone/reference@main"
    config = load(f"model.preset={HANDLE}", reference, f"evaluation.metrics={METRICS}")
    pinned = pin_presets(config, console)
    assert pinned.model.preset == f"{HANDLE}@{commits['tiny']}"
    assert pinned.token_cleaning.reference.preset == f"hf://someone/reference@{commits['reference']}"
    encoder = pinned.evaluation.metrics[2].preset
    assert encoder == f"hf://someone/encoder@{commits['encoder']}"
    assert console.export_text().splitlines() == [
        f"Pinned to the commit of now: {preset}"
        for preset in (pinned.model.preset, pinned.token_cleaning.reference.preset, encoder)
    ]
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert pin_presets(config, Console(quiet=True)) == pinned == pin_presets(pinned, Console(quiet=True))


def test_without_hub_and_cache_the_error_says_what_to_do(hub):
    with pytest.raises(UserError, match=r"(?s)hf://someone/tiny could not be downloaded .* give the folder's path"):
        pin_presets(load(f"model.preset={HANDLE}"), Console(quiet=True))


def test_other_presets_stay(tmp_path):
    config = load()
    assert pin_presets(config, Console(quiet=True)) == config
