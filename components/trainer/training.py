"""One training, from the preset to the tuned one, in the process that has the backend it needs."""

import dataclasses
import functools
import os
from collections.abc import Callable
from typing import Any

import keras
import keras_hub
from absl import logging

from components.methods import make_method
from components.precision import resolve_dtype
from components.presets.handles import find_commit
from components.trainer.checkpoint import Checkpoints, make_fingerprint
from components.trainer.compilation import Compilation, is_long, plan_compilation
from components.trainer.data import TokenDataset, make_dataset
from components.trainer.directories import find_preset
from components.trainer.engine import Engine, make_engine
from components.trainer.fine_tuner import FineTuner
from components.trainer.fit import Listener, count_steps, train
from components.trainer.hugging_face import check_hugging_face
from components.trainer.last_steps import doing, write_tuned
from components.trainer.memory import cut_to_fit
from components.trainer.model import (
    check_max_length,
    count_parameters,
    find_backbone_class,
    get_pad_token_id,
    hash_weights,
    load_model,
)
from components.trainer.optimizer import make_optimizer
from components.trainer.placement import Placement, check_precision, make_placement
from components.trainer.progress import ConsoleProgress
from components.trainer.record import make_record
from components.trainer.rematerialize import rematerialize
from components.trainer.shared_trace import restore_calls, share_trace
from components.trainer.statistics import hash_files
from components.trainer.tensorboard import TensorBoardWriter


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingArguments:
    """What a training reads and where it writes; JSON can hold it.

    Attributes:
        train_files: patterns of the split to train on.
        eval_files: patterns of the split to evaluate on.
        base_model: a Model artifact's SavedModel folder, from whose preset training goes on; "": from `model.preset`.
        serving_model_dir: local, where the SavedModel will be; everything else is written beside it.
        model_run_dir: for TensorBoard's files.
        config: see `module.run_fn`.
    """

    train_files: list[str]
    eval_files: list[str]
    base_model: str
    serving_model_dir: str
    model_run_dir: str
    config: dict[str, Any]

    @property
    def start(self) -> str:
        """The preset that training starts from."""
        return find_preset(os.path.dirname(self.base_model)) if self.base_model else self.config["model"]["preset"]

    @property
    def root(self) -> str:
        """The folder of the Model artifact."""
        return os.path.dirname(self.serving_model_dir)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """A finished training.

    Attributes:
        record: for `training_record.json`.
        checkpoints: folder of its checkpoints, of no use once everything is written.
    """

    record: dict[str, Any]
    checkpoints: str


def train_model(
    arguments: TrainingArguments, rehearse: Callable[[keras_hub.models.CausalLM], None] | None = None
) -> Training | None:
    """Trains, and writes `preset/` and, where the method has one, `adapter/`.

    Args:
        arguments: what to train.
        rehearse: tries what follows the last step; called before the first one of a long training.

    Returns:
        None in a worker that is not the chief: it has taken part and writes nothing.

    Raises:
        UserError: the configuration, the data, the devices or the preset must change.
    """
    config, start = arguments.config, arguments.start
    section = config["train"]
    enable_determinism()
    placement = make_placement(section, lambda: find_backbone_class(start))
    dtype = resolve_dtype(config["model"]["dtype"])
    check_precision(dtype, placement)
    logging.info(placement.describe())
    with placement.scope():
        with doing("loading the model"):
            model = load_model(start, dtype, section["seed"])
        if config.get("hugging_face"):
            check_hugging_face(model, start)  # what cannot be written is not found out after hours
        with doing("hashing its weights"):
            base_hash = hash_weights(model)
        method = make_method(config["method"]["name"], {k: v for k, v in config["method"].items() if k != "name"})
        method.apply(model)
        if placement.num_replicas == 1:
            share_trace(model)
        if section["rematerialize"]:
            rematerialize(model)
        train_data, eval_data = make_datasets(
            arguments.train_files,
            arguments.eval_files,
            model,
            section,
            config["text"]["max_length"],
            placement.num_replicas,
        )
        compilation, train_data, eval_data = plan_shapes(model, section, train_data, eval_data)
        num_steps = count_steps(train_data, section["epochs"], section["max_steps"])
        engine = make_training_engine(model, section, num_steps, placement, compilation.jit_compile)
        micro_batch_tokens = None
        if section["fit"] == "auto":
            remat = None if section["rematerialize"] else functools.partial(rematerialize, model)
            with doing("tracing a step and estimating its memory"):
                micro_batch_tokens = cut_to_fit(
                    engine, train_data, model.backbone.token_embedding.output_dim, section["memory_gib"], remat
                )
            train_data, eval_data = (
                dataclasses.replace(data, micro_batch_tokens=micro_batch_tokens) for data in (train_data, eval_data)
            )
        is_chief = placement.cluster.is_chief
        fingerprint = make_fingerprint(_list_dependencies(config, base_hash, train_data, eval_data, placement))
        checkpoints = Checkpoints(config["checkpoint_root"], fingerprint, writes=is_chief)
        counts = {
            "trainable_parameters": count_parameters(engine.tuner.trainable_variables),
            "total_parameters": count_parameters(engine.tuner.weights),
        }
        how = "with XLA" if compilation.jit_compile else "without XLA"
        logging.info("%s; %s; %d steps %s; %s", train_data.describe(), eval_data.describe(), num_steps, how, counts)
        num_positions = int(train_data.statistics.num_tokens * num_steps / train_data.steps_per_epoch)
        num_frozen = counts["total_parameters"] - counts["trainable_parameters"]
        if rehearse and is_chief and is_long(num_frozen, counts["trainable_parameters"], num_positions):
            rehearse(model)
        listeners: list[Listener] = []
        if is_chief:
            listeners = [ConsoleProgress(num_steps), TensorBoardWriter(arguments.model_run_dir)]
        with checkpoints.claimed(), doing("training and evaluating"):
            state = train(
                engine,
                train_data,
                eval_data,
                num_steps=num_steps,
                eval_every_steps=section["eval_every_steps"],
                checkpoint_every_steps=section["checkpoint_every_steps"],
                patience=section["early_stopping_patience"],
                checkpoints=checkpoints,
                listeners=listeners,
            )
        if not is_chief:
            return None
        restore_calls(model)
        facts = write_tuned(model, method, arguments.root, config, start, base_hash, dtype)
        if commit := find_commit(config["model"]["preset"]):
            facts["preset_revision"] = commit  # a handle can name another state tomorrow
        record = make_record(
            state,
            num_steps=num_steps,
            steps_per_epoch=train_data.steps_per_epoch,
            method=config["method"],
            preset=config["model"]["preset"],
            started_from=start,
            base_hash=base_hash,
            dtype=dtype,
            seed=section["seed"],
            strategy=placement.name,
            num_replicas=placement.num_replicas,
            devices=list(placement.devices),
            jit_compile=compilation.jit_compile,
            compiled_lengths=len(train_data.sequence_lengths),
            micro_batch_tokens=micro_batch_tokens,
            **counts,
            **facts,
        )
    return Training(record=record, checkpoints=str(checkpoints.directory))


def enable_determinism() -> None:
    """Makes the operations of the backend give the same bits on every run."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def make_datasets(
    train_patterns: list[str],
    eval_patterns: list[str],
    model: keras_hub.models.CausalLM,
    section: dict[str, Any],
    max_length: int,
    num_replicas: int = 1,
) -> tuple[TokenDataset, TokenDataset]:
    """The splits of a training.

    Evaluation batches have the size of a micro-batch: what fits into memory for training fits for evaluation.

    Raises:
        UserError: a split is empty, has no training target, or does not fit the model or the replicas.
    """
    check_max_length(model, max_length)
    common = {
        "bucket_boundaries": section["bucket_boundaries"],
        "max_lengths": section["max_lengths"],
        "max_length": max_length,
        "vocabulary_size": model.backbone.vocabulary_size,
        "pad_token_id": get_pad_token_id(model),
        "num_shards": num_replicas,
        "seed": section["seed"],
    }
    batch_size, accumulation_steps = section["batch_size"], section["gradient_accumulation_steps"]
    train_data = make_dataset(
        train_patterns,
        batch_size=batch_size,
        accumulation_steps=accumulation_steps,
        shuffle=True,
        normalize=True,
        **common,
    )
    return train_data, make_dataset(eval_patterns, batch_size=batch_size // accumulation_steps, **common)


def plan_shapes(
    model: keras_hub.models.CausalLM, section: dict[str, Any], train_data: TokenDataset, eval_data: TokenDataset
) -> tuple[Compilation, TokenDataset, TokenDataset]:
    """Whether XLA compiles the steps, and the splits in lengths that pay for being compiled.

    Args:
        model: to which the method has been applied.
        section: the run's `train`.
        train_data: as `make_datasets` made it.
        eval_data: likewise.
    """
    epochs = count_steps(train_data, section["epochs"], section["max_steps"]) / train_data.steps_per_epoch
    num_trainable = count_parameters(model.trainable_variables)
    compilation = plan_compilation(
        section["jit_compile"],
        num_layers=len(getattr(model.backbone, "transformer_layers", ())) or 1,
        num_frozen=count_parameters(model.weights) - num_trainable,
        num_trainable=num_trainable,
        num_positions=int(epochs * train_data.statistics.num_tokens),
        num_lengths=len(train_data.sequence_lengths) if section["bucket_boundaries"] is not None else 1,
    )
    if compilation.jit_compile and section["bucket_boundaries"] is None:
        num_evaluations = max(1, epochs * train_data.steps_per_epoch / section["eval_every_steps"])
        train_data, eval_data = (
            # An evaluation is about a third of the work of a training step, in compiling as in computing.
            data.plan_lengths(
                min(section["max_lengths"], compilation.max_lengths), compilation.positions_per_length / passes
            )
            for data, passes in ((train_data, epochs), (eval_data, num_evaluations))
        )
    return compilation, train_data, eval_data


def make_training_engine(
    model: keras_hub.models.CausalLM,
    section: dict[str, Any],
    num_steps: int,
    placement: Placement,
    jit_compile: bool = False,
) -> Engine:
    """The engine that trains `model`, to which a method has been applied."""
    tuner = FineTuner(model)
    return make_engine(
        tuner,
        make_optimizer(section, num_steps, tuner),
        placement,
        clip_norm=section["clip_norm"],
        jit_compile=jit_compile,
    )


def _list_dependencies(
    config: dict[str, Any], base_hash: str, train_data: TokenDataset, eval_data: TokenDataset, placement: Placement
) -> dict[str, Any]:
    """All that a training's weights depend on: a checkpoint is used only if all of it is the same."""
    return {key: config[key] for key in ("model", "method", "train", "text", "code_hash")} | {
        "base_hash": base_hash,
        "data": [hash_files(train_data.files), hash_files(eval_data.files)],
        "backend": [keras.backend.backend(), keras.__version__],
        "dtype": resolve_dtype(config["model"]["dtype"]),  # `auto` is another one on another processor
        "replicas": placement.num_replicas,
    }
