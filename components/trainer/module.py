"""The function that TFX's Trainer calls: `components.trainer.module.run_fn`."""

from pathlib import Path
from typing import Any

import keras
import keras_hub
import tensorflow as tf
from absl import logging

from components.methods import make_method
from components.text import features
from components.text.tokenization import start_token_id
from components.trainer.adapter import save_adapter
from components.trainer.checkpoint import Checkpoints, make_fingerprint
from components.trainer.data import TokenDataset, make_dataset
from components.trainer.directories import find_preset
from components.trainer.export import export_model, save_preset
from components.trainer.fine_tuner import FineTuner
from components.trainer.fit import count_steps, train
from components.trainer.model import check_max_length, count_parameters, get_pad_token_id, hash_weights, load_model
from components.trainer.optimizer import make_optimizer
from components.trainer.progress import ConsoleProgress
from components.trainer.record import make_record, write_record
from components.trainer.statistics import hash_files
from components.trainer.tensorboard import TensorBoardWriter
from components.trainer.verify_export import verify_export

# Examples that the written model must score and complete as the model in memory does.
NUM_VERIFIED_EXAMPLES = 4


def run_fn(fn_args: Any) -> None:
    """Tunes the model of a run and writes it.

    Args:
        fn_args: TFX's `FnArgs`. `custom_config` holds the run's sections `model`, `method`, `train`, `text` and
            `generation`, and `preset_hash`, `code_hash`, `checkpoint_root` and `export` (whether a SavedModel is written;
            a reference model needs none). With a `base_model`, training goes on from that model's preset instead of from
            `model.preset`. Written below the parent of `serving_model_dir`: the SavedModel, `preset/`, `adapter/` (where
            the method has one) and `training_record.json`; TensorBoard logs go to `model_run_dir`.

    Raises:
        UserError: the configuration, the data or the preset must change.
    """
    config = fn_args.custom_config
    section = config["train"]
    enable_determinism()
    start = find_preset(str(Path(fn_args.base_model).parent)) if fn_args.base_model else config["model"]["preset"]
    model = load_model(start, config["model"]["dtype"], section["seed"])
    base_hash = hash_weights(model)
    method = make_method(config["method"]["name"], {k: v for k, v in config["method"].items() if k != "name"})
    method.apply(model)
    train_data, eval_data = make_datasets(fn_args.train_files, fn_args.eval_files, model, section, config["text"])
    num_steps = count_steps(train_data, section["epochs"], section["max_steps"])
    tuner = make_tuner(model, section, num_steps)
    fingerprint = make_fingerprint(_list_dependencies(config, base_hash, train_data, eval_data))
    checkpoints = Checkpoints(config["checkpoint_root"], fingerprint)
    counts = {
        "trainable_parameters": count_parameters(tuner.trainable_variables),
        "total_parameters": count_parameters(tuner.weights),
    }
    logging.info("%s; %s; %d steps; %s", train_data.describe(), eval_data.describe(), num_steps, counts)
    state = train(
        tuner,
        train_data,
        eval_data,
        num_steps=num_steps,
        eval_every_steps=section["eval_every_steps"],
        checkpoint_every_steps=section["checkpoint_every_steps"],
        patience=section["early_stopping_patience"],
        checkpoints=checkpoints,
        listeners=[ConsoleProgress(num_steps), TensorBoardWriter(fn_args.model_run_dir)],
    )
    record = make_record(
        state,
        num_steps=num_steps,
        steps_per_epoch=train_data.steps_per_epoch,
        method=config["method"],
        preset=config["model"]["preset"],
        started_from=start,
        base_hash=base_hash,
        seed=section["seed"],
        **counts,
    )
    adapter = method.adapter_weights(model)
    method.merge(model)
    _write(model, adapter, record, eval_data, fn_args.serving_model_dir, config)
    checkpoints.delete()


def enable_determinism() -> None:
    """Makes the operations of the backend give the same bits on every run."""
    if keras.backend.backend() == "tensorflow":
        tf.config.experimental.enable_op_determinism()


def make_datasets(
    train_patterns: list[str],
    eval_patterns: list[str],
    model: keras_hub.models.CausalLM,
    section: dict[str, Any],
    text: dict[str, Any],
) -> tuple[TokenDataset, TokenDataset]:
    """The splits of a training.

    Evaluation batches have the size of a micro-batch: what fits into memory for training fits for evaluation.

    Raises:
        UserError: a split is empty, has no training target, or does not fit the model.
    """
    check_max_length(model, text["max_length"])
    common = {
        "bucket_boundaries": section["bucket_boundaries"],
        "max_lengths": section["max_lengths"],
        "max_length": text["max_length"],
        "vocabulary_size": model.backbone.vocabulary_size,
        "pad_token_id": get_pad_token_id(model),
        "seed": section["seed"],
    }
    accumulation_steps = section["gradient_accumulation_steps"]
    train_data = make_dataset(
        train_patterns,
        batch_size=section["batch_size"],
        accumulation_steps=accumulation_steps,
        shuffle=True,
        normalize=True,
        **common,
    )
    return train_data, make_dataset(eval_patterns, batch_size=section["batch_size"] // accumulation_steps, **common)


def make_tuner(model: keras_hub.models.CausalLM, section: dict[str, Any], num_steps: int) -> FineTuner:
    """The compiled training model of `model`, to which a method has been applied."""
    tuner = FineTuner(model)
    tuner.compile(optimizer=make_optimizer(section, num_steps, tuner), jit_compile=has_accelerator())
    return tuner


def has_accelerator() -> bool:
    """Whether there is a GPU or TPU, and so whether compiling with XLA pays.

    On CPUs a compiled step of a small GPT-2 took as long as an uncompiled one, and each bucket's compilation came on top.
    """
    return any(not device.lower().startswith("cpu") for device in keras.distribution.list_devices())


def _list_dependencies(
    config: dict[str, Any], base_hash: str, train_data: TokenDataset, eval_data: TokenDataset
) -> dict[str, Any]:
    """All that a training's weights depend on: a checkpoint is used only if all of it is the same."""
    return {key: config[key] for key in ("model", "method", "train", "text", "code_hash")} | {
        "base_hash": base_hash,
        "data": [hash_files(train_data.files), hash_files(eval_data.files)],
        "backend": [keras.backend.backend(), keras.__version__],
    }


def _write(
    model: keras_hub.models.CausalLM,
    adapter: dict[str, Any],
    record: dict[str, Any],
    eval_data: TokenDataset,
    serving_model_dir: str,
    config: dict[str, Any],
) -> None:
    """Writes all parts of the model artifact; the record comes last."""
    root = Path(serving_model_dir).parent
    if adapter:
        save_adapter(
            str(root / "adapter"),
            adapter,
            method=config["method"],
            preset=record["started_from"],
            base_hash=record["base_hash"],
            dtype=config["model"]["dtype"],
        )
    save_preset(model, find_preset(str(root)))
    if config["export"]:
        text, generation = config["text"], config["generation"]
        export_model(model, serving_model_dir, text, generation, preset=record["preset"])
        records, prompts = sample_records(eval_data, model)
        verify_export(serving_model_dir, model, records, prompts, text, generation)
    write_record(record, root)


def sample_records(dataset: TokenDataset, model: keras_hub.models.CausalLM) -> tuple[list[bytes], list[str]]:
    """A few examples of a split, for the comparison of the written model with the one in memory.

    Returns:
        Serialized examples of `token_ids` and `target_mask`, and as many rendered prompts.
    """
    tokenizer = model.preprocessor.tokenizer
    records, prompts = [], []
    for token_ids, loss_weight in dataset.sample(NUM_VERIFIED_EXAMPLES):
        target_mask = (loss_weight > 0).astype(int)
        example = tf.train.Example()
        example.features.feature[features.TOKEN_IDS].int64_list.value.extend(token_ids)
        example.features.feature[features.TARGET_MASK].int64_list.value.extend(target_mask)
        records.append(example.SerializeToString())
        prompt_ids = token_ids[: int(target_mask.argmax())]
        if len(prompt_ids) and prompt_ids[0] == start_token_id(tokenizer):
            prompt_ids = prompt_ids[1:]
        prompts.append(tokenizer.detokenize(prompt_ids.tolist()) if len(prompt_ids) else "")
    return records, prompts
