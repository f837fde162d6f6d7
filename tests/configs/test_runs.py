"""Every committed run is complete and valid."""

from pathlib import Path

import pytest

from configs.load import load_runner, read_yaml
from configs.schema import RunConfig
from pipeline.validate import load_config

ROOT = Path(__file__).resolve().parents[2]
RUNS = sorted((ROOT / "configs" / "runs").glob("*.yaml"))

# Heads of queries and of keys, size of a head, width, inner width, blocks, vocabulary, and weights of a block's normalisations.
REAL_MODELS = {
    "smollm2_135m_lora": (9, 3, 64, 576, 1536, 30, 49_152, 2 * 576),
    "gemma3_1b_lora": (4, 1, 256, 1152, 6912, 26, 262_144, 4 * 1152 + 2 * 256),
    "llama3_2_3b_lora": (24, 8, 128, 3072, 8192, 28, 128_256, 2 * 3072),
    "qwen3_4b_lora": (32, 8, 128, 2560, 9728, 36, 151_936, 2 * 2560 + 2 * 128),
}


@pytest.fixture(autouse=True)
def at_repository_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("path", RUNS, ids=lambda p: p.stem)
def test_run(path):
    config = load_config(str(path))
    assert path.stem.endswith(config.method.name)
    raw = read_yaml(str(path))
    # Complete: a reader of the file sees every key there is.
    for name, field in RunConfig.model_fields.items():
        if name != "method":
            assert set(raw[name]) == set(field.annotation.model_fields), name


def test_there_are_runs():
    assert {p.stem for p in RUNS} >= {"tiny_gpt2_en_lora", "tiny_gpt2_en_full", *REAL_MODELS}


@pytest.mark.parametrize("name", REAL_MODELS)
def test_runs_of_real_models_use_the_models_own_template(name):
    config = load_config(f"configs/runs/{name}.yaml")
    assert config.model.preset.startswith("hf://")
    assert config.text.template == "auto"
    assert config.pipeline.name == name.replace("_", "-")


@pytest.mark.parametrize(("name", "shape"), REAL_MODELS.items())
def test_the_arithmetic_in_the_comments(name, shape):
    """Parameters of the model and of LoRA as the numbers of its `config.json` give them; the memory of 24 GB is not exceeded."""
    config = load_config(f"configs/runs/{name}.yaml")
    heads, groups, size, width, inner, blocks, vocabulary, norms = shape
    queries, keys = heads * size, groups * size
    layers = [(width, queries), *[(width, keys)] * 2, (queries, width), *[(width, inner)] * 2, (inner, width)]
    weights = (
        blocks * (sum(a * b for a, b in layers) + norms) + vocabulary * width + width
    )  # output and embedding are one
    lora = blocks * config.method.options["rank"] * sum(a + b for a, b in layers)
    if name == "smollm2_135m_lora":
        assert weights == 134_515_008
        return
    text = Path(f"configs/runs/{name}.yaml").read_text(encoding="utf-8")
    assert f"{weights:,} weights of 2 bytes" in text and f"{lora:,} weights of LoRA" in text
    assert config.model.dtype == "bfloat16" and config.train.rematerialize
    rows = config.train.batch_size // config.train.gradient_accumulation_steps
    positions = rows * config.text.max_length
    training = 2 * blocks * positions * width + 3 * 4 * heads * rows * config.text.max_length**2
    logits = 14 * config.evaluation.batch_size * config.text.max_length * vocabulary
    assert 2 * weights + 16 * lora + training < 10e9
    assert 2 * weights + logits < 14e9


def test_runners():
    for path in (ROOT / "configs" / "runners").glob("*.yaml"):
        runner = load_runner(str(path))
        assert runner.kind == path.stem
        # Complete: a reader of the file sees every key there is.
        assert set(read_yaml(str(path))) == set(type(runner).model_fields)
