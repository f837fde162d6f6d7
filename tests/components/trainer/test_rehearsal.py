"""What follows the last step is tried before the first one of a long training."""

import json
import random
import re
import shutil

import keras
import keras_hub
import numpy as np
import pytest

from components.errors import UserError
from components.methods import make_method
from components.trainer import compilation, module, rehearsal, training
from components.trainer.last_steps import doing, list_doings
from components.trainer.model import hash_weights, save_preset
from components.trainer.training import TrainingArguments


class StepTaken(Exception):
    """The training loop was reached."""


@pytest.fixture
def preset(make_text_model, tmp_path):
    """A preset on disk, and no operations that are set to be deterministic for the whole process."""
    save_preset(make_text_model(), str(tmp_path / "preset"))
    return str(tmp_path / "preset")


@pytest.fixture
def long_run(fn_args, preset, monkeypatch):
    """The arguments of a training that is held to be long; its first step is an error."""

    def step(*args, **kwargs):
        raise StepTaken

    monkeypatch.setattr(training, "enable_determinism", lambda: None)
    monkeypatch.setattr(compilation, "_LONG_SECONDS", 0.0)
    monkeypatch.setattr(training, "train", step)
    fn_args.custom_config["model"]["preset"] = preset
    return fn_args


def test_a_long_training_is_rehearsed_and_then_starts(long_run, tmp_path, capfd):
    with pytest.raises(StepTaken):
        module.run_fn(long_run)
    assert "rehearsal: merge, save, load, export and check of a small copy took" in capfd.readouterr().err
    assert not (tmp_path / "model" / "preset").exists()


def test_a_short_one_is_not(long_run, monkeypatch):
    monkeypatch.setattr(compilation, "_LONG_SECONDS", 1e9)
    monkeypatch.setattr(module, "rehearse", None)
    with pytest.raises(StepTaken):
        module.run_fn(long_run)


@pytest.mark.parametrize("exports", [True, False])
def test_a_preset_that_cannot_be_loaded_again_fails_before_the_first_step(long_run, monkeypatch, exports):
    get_config = keras_hub.models.GPT2Tokenizer.get_config
    monkeypatch.setattr(
        keras_hub.models.GPT2Tokenizer, "get_config", lambda self: get_config(self) | {"special_tokens": ["<|im_end|>"]}
    )
    long_run.custom_config["export"] = exports
    with pytest.raises(
        UserError, match="(?s)It failed while loading the tuned preset: .*special_tokens.* Nothing was trained"
    ):
        module.run_fn(long_run)


@pytest.mark.parametrize(
    ("name", "what"),
    [("export_model", "exporting the model"), ("verify_export", "checking the exported model")],
)
def test_what_would_have_failed_is_named(long_run, monkeypatch, name, what):
    def fail(*args, **kwargs):
        raise ValueError("no such operation")

    monkeypatch.setattr(module, name, fail)
    with pytest.raises(UserError, match=f"It failed while {what}: ValueError: no such operation"):
        module.run_fn(long_run)


def test_a_merge_that_fails(long_run, monkeypatch):
    monkeypatch.setattr("components.methods.lora.LoRA.merge", lambda self, model: 1 / 0)
    with pytest.raises(UserError, match="It failed while merging what was trained .*ZeroDivisionError"):
        module.run_fn(long_run)


def test_a_disk_without_room(make_tiny_model, monkeypatch, tmp_path):
    model = make_tiny_model()
    size = sum(4 * np.prod(weight.shape) for weight in model.weights)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2 * size - 1))
    with pytest.raises(UserError, match="must have room for the tuned model"):
        rehearsal.check_space(model, str(tmp_path / "not" / "yet"), copies=2)
    rehearsal.check_space(model, str(tmp_path), copies=1)
    rehearsal.check_space(model, "gs://bucket/root", copies=2)


def test_the_model_and_its_random_numbers_stay_as_they_are(fn_args, preset, make_text_model, monkeypatch):
    fn_args.custom_config["model"]["preset"] = preset
    arguments = TrainingArguments(
        train_files=fn_args.train_files, eval_files=fn_args.eval_files, base_model="",
        serving_model_dir=fn_args.serving_model_dir, model_run_dir=fn_args.model_run_dir, config=fn_args.custom_config,
    )  # fmt: skip
    model = make_text_model()
    make_method("lora", {"rank": 2}).apply(model)
    before = hash_weights(model)

    def draw():
        return (
            random.random(),
            np.random.random(),
            keras.random.normal([1]).numpy()[0],
            keras.initializers.HeUniform()((2, 2))[0, 0],
        )

    keras.utils.set_random_seed(3)
    expected = [float(number) for number in draw()]
    keras.utils.set_random_seed(3)
    rehearsal.rehearse(model, arguments, lambda *_: None)
    assert [float(number) for number in draw()] == expected
    assert hash_weights(model) == before


def _make(name, **options):
    backbone = getattr(keras_hub.models, f"{name}Backbone")(vocabulary_size=50, num_layers=6, **options)
    return getattr(keras_hub.models, f"{name}CausalLM")(backbone=backbone, preprocessor=None)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("GPT2", {"num_heads": 4, "hidden_dim": 64, "intermediate_dim": 96, "max_sequence_length": 8}),
        ("Llama3", {"num_query_heads": 4, "num_key_value_heads": 2, "hidden_dim": 64, "intermediate_dim": 96}),
        (
            "Gemma3",
            {"num_query_heads": 4, "num_key_value_heads": 2, "hidden_dim": 64, "intermediate_dim": 96, "head_dim": 32, "image_size": 16}
            | {"vision_encoder": None},
        ),
        ("Qwen3", {"num_query_heads": 4, "num_key_value_heads": 2, "hidden_dim": 64, "intermediate_dim": 96, "head_dim": 32}),
        ("Mistral", {"num_query_heads": 4, "num_key_value_heads": 2, "hidden_dim": 64, "intermediate_dim": 96}),
    ],
)  # fmt: skip
def test_small_copies(name, options):
    model = _make(name, **options)
    copy = rehearsal.make_small_copy(model)
    assert type(copy) is type(model)
    assert len(copy.backbone.transformer_layers) == 2
    sizes = [sum(int(np.prod(weight.shape)) for weight in found.weights) for found in (model, copy)]
    assert sizes[1] < sizes[0] / 3
    changed = {k for k, v in model.backbone.get_config().items() if copy.backbone.get_config()[k] != v}
    assert changed <= {"num_layers", "hidden_dim", "intermediate_dim", "head_dim"}


def test_sizes_that_must_stay_are_kept(monkeypatch):
    model = _make("GPT2", num_heads=4, hidden_dim=64, intermediate_dim=96, max_sequence_length=8)
    monkeypatch.setattr(rehearsal, "_narrow", lambda config: config | {"num_heads": 0})
    copy = rehearsal.make_small_copy(model)
    assert (copy.backbone.hidden_dim, len(copy.backbone.transformer_layers)) == (64, 2)


def test_export_in_another_process_tells_why_it_fails(fn_args, tmp_path):
    arguments = TrainingArguments(
        train_files=[], eval_files=[], base_model="", serving_model_dir=fn_args.serving_model_dir,
        model_run_dir=fn_args.model_run_dir, config=fn_args.custom_config,
    )  # fmt: skip
    record = json.loads(json.dumps({"preset": "tiny", "tuned_hash": "0"}))
    with pytest.raises(RuntimeError, match="UserError: model.preset must be a built-in name") as caught:
        rehearsal.export_in_process(arguments, training.Training(record=record, checkpoints=""))
    assert list_doings(caught.value) == ["loading the tuned preset"]


def test_how_long_each_part_took_is_in_the_log(caplog):
    with caplog.at_level("INFO", logger="absl"), doing("saving"):
        pass
    assert re.fullmatch(r"Time: saving took \d+\.\d s; peak of memory so far \d+\.\d\d GiB\.", caplog.messages[-1])
