"""The whole of `run_fn` on a tiny model; what it writes besides the record has tests of its own."""

import json

import pytest

from components.errors import UserError
from components.trainer import last_steps, module, training


@pytest.fixture
def written(monkeypatch, make_tiny_model):
    """Replaces loading and writing; gives what was written by name. The preset that is loaded is the model that was saved."""
    calls = {}
    monkeypatch.setattr(training, "enable_determinism", lambda: None)  # would hold for the whole process

    def load(preset, dtype, seed):
        calls["load_model"] = preset
        return make_tiny_model(seed, dtype, dropout=0.1)

    def load_tuned(preset, dtype, seed):
        calls["load_tuned"] = preset
        return calls["save_preset"][0][0]

    monkeypatch.setattr(training, "load_model", load)
    monkeypatch.setattr(module, "load_model", load_tuned)
    monkeypatch.setattr(module, "sample_records", lambda patterns, tokenizer: ([], []))
    for where, names in ((last_steps, ("save_adapter", "save_preset")), (module, ("export_model", "verify_export"))):
        for name in names:
            monkeypatch.setattr(where, name, lambda *args, _name=name, **kwargs: calls.update({_name: (args, kwargs)}))
    return calls


def test_run_fn_trains_writes_and_cleans_up(fn_args, written, tmp_path):
    module.run_fn(fn_args)
    record = json.loads((tmp_path / "model" / "training_record.json").read_text())
    assert record["steps"] == 4
    assert record["eval_loss_after"] < record["eval_loss_before"]
    # Two layers; query and value kernels are (32, 2, 16): rank * (32 * 2 + 16) each.
    assert record["trainable_parameters"] == 2 * 2 * 2 * (64 + 16)
    assert record["total_parameters"] > 10_000
    assert record["resumed_from_step"] is None
    args, kwargs = written["save_adapter"]
    assert args[0] == str(tmp_path / "model" / "adapter")
    assert len(args[1]) == 8
    assert kwargs["base_hash"] == record["base_hash"]
    model = written["export_model"][0][0]
    assert not any("lora" in weight.path for weight in model.weights)
    assert set(written) == {
        "load_model",
        "save_adapter",
        "save_preset",
        "load_tuned",
        "export_model",
        "verify_export",
    }
    assert written["load_model"] == record["started_from"] == "tiny"
    assert written["load_tuned"] == written["save_preset"][0][1] == str(tmp_path / "model" / "preset")
    assert (record["strategy"], record["num_replicas"], record["devices"]) == ("one_device", 1, ["CPU:0"])
    assert list((tmp_path / "model_run").iterdir())
    assert not list((tmp_path / "checkpoints").iterdir())


def test_no_other_training_has_its_checkpoints_meanwhile(fn_args, written, monkeypatch):
    train, refused = training.train, []

    def try_as_another(*args, checkpoints, **options):
        with pytest.raises(UserError, match="one at a time may train"), checkpoints.claimed():
            pass
        refused.append(True)
        return train(*args, checkpoints=checkpoints, **options)

    monkeypatch.setattr(training, "train", try_as_another)
    module.run_fn(fn_args)
    assert refused == [True]


def test_the_folder_for_transformers_is_written_and_compared(fn_args, written, monkeypatch, tmp_path):
    for name in ("export_hugging_face", "observe", "verify_hugging_face"):
        monkeypatch.setattr(module, name, lambda *args, _name=name, **kwargs: written.update({_name: (args, kwargs)}))
    checked = []
    monkeypatch.setattr(training, "check_hugging_face", lambda model, preset: checked.append(preset))
    fn_args.custom_config["hugging_face"] = {"dtype": "bfloat16"}
    module.run_fn(fn_args)
    assert checked == ["tiny"]
    folder, preset = str(tmp_path / "model" / "hf"), str(tmp_path / "model" / "preset")
    args, options = written["export_hugging_face"]
    assert args[1:] == (preset, folder)
    assert options["dtype"] == "bfloat16"
    assert "A fine-tuned version of `tiny`." in options["card"]
    assert "| method | `lora` |" in options["card"]
    assert written["observe"][0][0] is args[0]
    assert written["verify_hugging_face"][0] == (folder, None, "bfloat16")


def test_a_model_that_cannot_be_written_for_transformers_is_not_trained(fn_args, written, monkeypatch):
    def refuse(model, preset):
        raise UserError("no writer")

    monkeypatch.setattr(training, "check_hugging_face", refuse)
    fn_args.custom_config["hugging_face"] = {"dtype": None}
    with pytest.raises(UserError, match="no writer"):
        module.run_fn(fn_args)
    assert set(written) == {"load_model"}


def test_a_preset_that_is_not_the_trained_model_is_an_error(fn_args, written, monkeypatch, make_tiny_model, tmp_path):
    monkeypatch.setattr(module, "load_model", lambda preset, dtype, seed: make_tiny_model(seed + 1, dtype))
    with pytest.raises(RuntimeError, match="other weights than the model that was trained"):
        module.run_fn(fn_args)
    assert not (tmp_path / "model" / "training_record.json").exists()


def test_a_reference_model_goes_on_from_another_and_is_not_exported(fn_args, written, tmp_path):
    fn_args.base_model = str(tmp_path / "earlier" / "Format-Serving")
    fn_args.custom_config["export"] = False
    module.run_fn(fn_args)
    record = json.loads((tmp_path / "model" / "training_record.json").read_text())
    assert (record["preset"], record["started_from"]) == ("tiny", str(tmp_path / "earlier" / "preset"))
    assert set(written) == {"load_model", "save_adapter", "save_preset"}
    assert written["load_model"] == written["save_adapter"][1]["preset"] == record["started_from"]


def test_a_failed_export_is_repeated_without_training_again(fn_args, written, monkeypatch, tmp_path):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(module, "export_model", fail)
        with pytest.raises(OSError, match="disk full"):
            module.run_fn(fn_args)
    assert not (tmp_path / "model" / "training_record.json").exists()
    module.run_fn(fn_args)
    record = json.loads((tmp_path / "model" / "training_record.json").read_text())
    assert (record["resumed_from_step"], record["steps"]) == (4, 4)


def test_a_split_without_targets_is_refused_before_training(fn_args, written, write_examples):
    fn_args.eval_files = [write_examples([([1, 2, 3], [0, 0, 0])], "none")]
    with pytest.raises(UserError, match="Split-none: no token is a training target"):
        module.run_fn(fn_args)
