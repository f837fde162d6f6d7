"""Checks across sections and of what a file refers to."""

import json
import subprocess
import sys

import pytest

from configs.load import ConfigError
from pipeline.validate import find_environment_problems, load_config


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "records.jsonl").write_text("{}\n")
    preset = tmp_path / "preset"
    preset.mkdir()
    for name in ("tokenizer.json", "model.weights.h5"):
        (preset / name).write_text("")
    (preset / "config.json").write_text(json.dumps({"config": {"max_sequence_length": 64}}))

    def write(**sections):
        config = {
            "pipeline": {"name": "a"},
            "data": {"path": "records.jsonl", "slice_columns": ["kind"]},
            "text": {"max_length": 64},
            "model": {"preset": "preset"},
            "method": {"name": "lora", "rank": 4},
            "evaluation": {"thresholds": [{"metric": "perplexity", "upper_bound": 10.0}]},
            **sections,
        }
        (tmp_path / "run.yaml").write_text(json.dumps(config))
        return "run.yaml"

    return write


def problems_of(path):
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return {p.key: p.message for p in caught.value.problems}


def test_a_valid_file(write):
    assert load_config(write()).method.options == {"rank": 4}


def test_all_kinds_of_problems_come_together(write):
    path = write(
        data={"path": "record.jsonl", "schema_path": "nowhere.pbtxt", "slice_columns": ["kind"]},
        text={"template": "alpacca"},
        method={"name": "lora", "rnk": 4, "rank": 0},
        train={"epochs": 0},
        evaluation={
            "metrics": ["perplexity", "rogue", {"name": "bleu", "tokenize": "14a"}, "example_count"],
            "slice_columns": ["knd"],
            "thresholds": [
                {"metric": "perplexit", "lower_bound": 1},
                {"metric": "example_count", "min_improvement": 1},
                {"metric": "perplexity", "upper_bound": 1, "slice": "kid=a"},
            ],
        },
    )
    found = problems_of(path)
    assert "Did you mean `records.jsonl`?" in found["data.path"]
    assert "Did you mean `alpaca`?" in found["text.template"]
    assert "Did you mean `rank`?" in found["method.rnk"]
    assert "Did you mean `kind`?" in found["evaluation.slice_columns.0"]
    assert "Did you mean `rouge`?" in found["evaluation.metrics.1.name"]
    assert "Did you mean `perplexity`?" in found["evaluation.thresholds.0.metric"]
    assert set(found) == {
        "data.path",
        "data.schema_path",
        "text.template",
        "text.max_length",  # the default, 256, is above the preset's limit
        "method.rnk",
        "method.rank",
        "train.epochs",
        "evaluation.metrics.1.name",
        "evaluation.metrics.2.tokenize",
        "evaluation.slice_columns.0",
        "evaluation.thresholds.0.metric",
        "evaluation.thresholds.1.min_improvement",
        "evaluation.thresholds.2.slice",
    }


@pytest.mark.parametrize(
    ("preset", "part"),
    [
        ("no/such/folder", "must be an existing preset folder"),
        (".", "lacks config.json, model.weights.h5"),
        ("presett/x", "must be an existing preset folder"),
    ],
)
def test_presets_that_are_none(write, preset, part):
    assert part in problems_of(write(model={"preset": preset}))["model.preset"]


@pytest.mark.parametrize(
    "preset", ["gpt2_base_en", "qwen2.5_0.5b_en", "hf://org/model", "kaggle://keras/gpt2/keras/gpt2_base_en"]
)
def test_handles_are_left_to_keras_hub(write, preset):
    assert load_config(write(model={"preset": preset})).model.preset == preset


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("*/records.jsonl", "may stand in the last part only"),
        ("run.yaml", "must end in .jsonl"),
        ("nowhere/", "no such file or folder"),
        ("*.csv", "must be a file, a folder or a glob"),
    ],
)
def test_data_that_example_gen_would_refuse(write, path, part):
    write()
    assert part in problems_of(write(data={"path": path}))["data.path"]


def test_new_tokens_must_fit(write):
    found = problems_of(write(generation={"max_new_tokens": 64}))
    assert found == {
        "generation.max_new_tokens": "must leave at least 2 tokens of text.max_length (64) for the prompt. Received: 64."
    }


def test_sampler(write):
    generation = load_config(write(generation={"sampler": {"name": "top_p", "p": 0.9}, "stop": ["\n\n"]})).generation
    assert generation.sampler.options == {"p": 0.9}
    assert load_config(write(generation={"sampler": "beam"})).generation.sampler.name == "beam"
    assert "generation.stop.0" in problems_of(write(generation={"stop": [""]}))
    assert "Did you mean `top_p`?" in problems_of(write(generation={"sampler": "topp"}))["generation.sampler.name"]


def test_precisions_that_the_optimizer_refuses(write):
    model = {"preset": "preset", "dtype": "bfloat16"}
    assert list(problems_of(write(model=model, method={"name": "full"}))) == ["model.dtype"]
    assert load_config(write(model=model)).model.dtype == "bfloat16"


def test_strategies_that_keras_cannot_run(write):
    found = problems_of(write(train={"backend": "jax", "strategy": "mirrored"}))
    assert list(found) == ["train.strategy"]
    assert "Use data_parallel" in found["train.strategy"]
    found = problems_of(write(train={"strategy": "model_parallel", "mesh": {"batch": 1, "model": 2}}))
    assert "only a prototype" in found["train.strategy"]
    assert list(problems_of(write(train={"strategy": "mirored"}))) == ["train.strategy"]


def test_checking_needs_no_tensorflow(write):
    path = write()
    code = (
        "import sys; from pipeline.validate import load_config; load_config(sys.argv[1]);"
        "print(sorted(m for m in ('tensorflow', 'keras', 'tfx', 'apache_beam') if m in sys.modules))"
    )
    from pathlib import Path

    import pipeline

    environment = {"PYTHONPATH": str(Path(pipeline.__file__).resolve().parents[1])}
    result = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, env=environment, check=True
    )
    assert result.stdout.strip() == "[]"


def test_general_text(write):
    general = {"path": "records.jsonl", "columns": {"text": "output"}, "max_perplexity_increase": 0.1}
    rule = {"metric": "loss", "slice": "general", "min_improvement": 0.0, "against": "preset"}
    evaluation = {"thresholds": [rule], "general": general}
    assert load_config(write(evaluation=evaluation)).evaluation.general.columns.text == "output"
    tasks = general | {"columns": {"instruction": "instruction", "output": "output"}}
    assert load_config(write(evaluation=evaluation | {"general": tasks})).evaluation.general.columns.text is None
    found = problems_of(write(evaluation={"thresholds": [rule | {"metric": "exact_match", "against": "blessed"}]}))
    assert sorted(found) == [f"evaluation.thresholds.0.{key}" for key in ("against", "metric", "slice")]
    for change, key in (
        ({"path": "nowhere.jsonl"}, "general.path"),
        ({"columns": {"text": "a", "output": "b"}}, "general.columns"),
        ({"columns": {"text": "a", "system": "b"}}, "general.columns"),
        ({"columns": {"text": "a", "tools": "b"}}, "general.columns"),
        ({"columns": {}}, "general.columns"),
        ({"max_perplexity_increase": -1.0}, "general.max_perplexity_increase"),
    ):
        assert list(problems_of(write(evaluation=evaluation | {"general": general | change}))) == [f"evaluation.{key}"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "is a pointer of Git LFS in its place"),
        (b"some text", "must be a schema of TensorFlow Metadata as text"),
        (b"\xff\xfe", "must be a schema of TensorFlow Metadata as text"),
        (b'feature { name: "a" typ: INT }', "must be a schema of TensorFlow Metadata as text"),
    ],
)
def test_what_is_no_schema_is_told(write, tmp_path, content, told):
    (tmp_path / "schema.pbtxt").write_bytes(content)
    data = {"path": "records.jsonl", "schema_path": str(tmp_path / "schema.pbtxt"), "slice_columns": []}
    assert told in problems_of(write(data=data))["data.schema_path"]


def test_columns_that_metrics_read_are_carried_along(write):
    evaluation = {
        "metrics": [{"name": "drfr", "column": "needs"}],
        "thresholds": [{"metric": "drfr", "lower_bound": 0.1}],
    }
    found = problems_of(write(evaluation=evaluation))
    assert "must be one of data.carry_columns or data.slice_columns" in found["evaluation.metrics.0"]
    data = {"path": "records.jsonl", "carry_columns": ["needs"]}
    assert load_config(write(evaluation=evaluation, data=data)).data.carry_columns == ["needs"]
    found = problems_of(write(evaluation=evaluation, data=data | {"slice_columns": ["needs"]}))
    assert "a slice column is carried along as it is" in found["data"]


def test_presets_of_metrics_must_be_there(write):
    for name in ("judge", "embedding_similarity"):
        found = problems_of(write(evaluation=_evaluate({"name": name, "preset": "no/where"})))
        assert "must be an existing preset folder" in found["evaluation.metrics.0.preset"]


def test_key_of_a_judge_is_asked_for_before_a_run_alone(write, monkeypatch):
    metric = {"name": "judge", "endpoint": "https://judge.example/v1", "model": "m", "api_key_env": "JUDGE_KEY"}
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    config = load_config(write(evaluation=_evaluate(metric)))
    (problem,) = find_environment_problems(config)
    assert problem.key == "evaluation.metrics.0.api_key_env"
    assert "JUDGE_KEY must hold the key" in problem.message
    monkeypatch.setenv("JUDGE_KEY", "sk")
    assert find_environment_problems(config) == []
    monkeypatch.delenv("JUDGE_KEY")
    assert find_environment_problems(load_config(write(evaluation=_evaluate(metric | {"api_key_env": None})))) == []


def _evaluate(metric):
    value = "judge" if metric["name"] == "judge" else "embedding_f1"
    return {"metrics": [metric], "thresholds": [{"metric": value, "lower_bound": 0.0}]}


@pytest.mark.parametrize(("value", "is_fine"), [("torch", False), ("jax", False), ("tensorflow", True), ("", True)])
def test_another_backend_in_the_environment_is_told_before_anything_runs(write, monkeypatch, value, is_fine):
    monkeypatch.setenv("KERAS_BACKEND", value)
    found = find_environment_problems(load_config(write()))
    assert [problem.key for problem in found] == ([] if is_fine else ["train.backend"])
    assert (
        is_fine
        or f"KERAS_BACKEND must be tensorflow, or not set: nodes serve and export with TensorFlow. Received: '{value}'"
        in found[0].message
    )


def test_programs_must_be_shut_in_where_a_run_is_started(write, monkeypatch):
    metric = {"name": "pass_at_k", "column": "program", "allow_code_execution": True}
    evaluation = {"metrics": [metric], "thresholds": [{"metric": "pass_at_1", "lower_bound": 0.1}]}
    config = load_config(write(evaluation=evaluation, data={"path": "records.jsonl", "carry_columns": ["program"]}))
    for reason in (None, "no name spaces"):
        monkeypatch.setattr("components.metrics.sandbox.find_problem", lambda reason=reason: reason)
        assert [problem.message for problem in find_environment_problems(config)] == [reason] * bool(reason)


@pytest.mark.parametrize(
    ("config", "received"),
    [({"class_name": "OPTBackbone", "config": {}}, "OPTBackbone"), ({"model_type": "gemma3n"}, "gemma3n")],
)
def test_a_family_that_cannot_be_written_for_transformers(config, received, write, tmp_path):
    path = write(export={"formats": ["hf"]})
    (tmp_path / "preset" / "config.json").write_text(json.dumps(config))
    message = problems_of(path)["export.formats"]
    assert f"Received: {received}." in message
    assert "Gemma 3 (text), GPT-2, Llama, Mistral, Qwen 2, Qwen 3" in message


def test_families_that_can(write, tmp_path):
    path = write(export={"formats": ["hf", "keras"], "dtype": "bfloat16"})
    for config in ({"class_name": "GPT2Backbone", "config": {}}, {"config": {}}):
        (tmp_path / "preset" / "config.json").write_text(json.dumps(config))
        assert load_config(path).export.formats == ["hf", "keras"]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"formats": ["hf", "hf"]}, "names a format twice"),
        ({"dtype": "bfloat16"}, "add it to `formats`"),
        ({"formats": ["gguf"]}, "'hf', 'keras' or 'savedmodel'"),
    ],
)
def test_export_sections_that_are_wrong(section, message, write):
    found = problems_of(write(export=section))
    assert any(message in text for text in found.values()), found
