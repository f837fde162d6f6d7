"""The function that TFX's Trainer calls: `components.trainer.module.run_fn`."""

import dataclasses
import gc
import os
from typing import Any

import keras
import keras_hub
import tensorflow as tf

from components.export.formats import HUGGING_FACE
from components.export.hugging_face.card import render_card
from components.text import features
from components.trainer.checkpoint import remove_checkpoints
from components.trainer.data import read_examples
from components.trainer.directories import find_preset, work_directory
from components.trainer.export import export_model
from components.trainer.hugging_face import export_hugging_face, observe, verify_hugging_face
from components.trainer.hugging_face_card import make_facts
from components.trainer.last_steps import doing
from components.trainer.model import hash_weights, load_model
from components.trainer.process import train_in_process
from components.trainer.record import RECORD_NAME, write_record
from components.trainer.rehearsal import rehearse
from components.trainer.training import Training, TrainingArguments, train_model
from components.trainer.verify_export import verify_export

# Examples that the written model must score and complete as the model in memory does.
NUM_VERIFIED_EXAMPLES = 2


def run_fn(fn_args: Any) -> None:
    """Tunes the model of a run and writes it.

    Args:
        fn_args: TFX's `FnArgs`. `custom_config` holds the run's sections `model`, `method`, `train`, `text` and
            `generation`, and `preset_hash`, `code_hash`, `checkpoint_root` and `export` (whether a SavedModel is written;
            a reference model needs none). With `hugging_face`, which has a `dtype`, `hf/` is written too, for transformers. With a `base_model`, training goes on from that model's preset instead of from
            `model.preset`. Written below the parent of `serving_model_dir`: `preset/`, `adapter/` (where the method has
            one), the SavedModel, and last `training_record.json`, which in a bucket all appear at the end; TensorBoard logs go
            to `model_run_dir`. A worker that is not the chief trains and writes nothing.

    Raises:
        UserError: the configuration, the data, the devices or the preset must change.
    """
    arguments = TrainingArguments(
        train_files=list(fn_args.train_files),
        eval_files=list(fn_args.eval_files),
        base_model=fn_args.base_model or "",
        serving_model_dir=fn_args.serving_model_dir,
        model_run_dir=fn_args.model_run_dir,
        config=fn_args.custom_config,
    )
    backend = arguments.config["train"]["backend"]
    is_here = backend == keras.backend.backend()
    with work_directory(arguments.root, last=RECORD_NAME) as folder:
        name = os.path.basename(arguments.serving_model_dir)
        arguments = dataclasses.replace(arguments, serving_model_dir=os.path.join(folder, name))
        if is_here:
            training = train_model(arguments, lambda model: rehearse(model, arguments, export_tuned))
        else:
            training = train_in_process(arguments, backend)
        if training is None:
            return
        if arguments.config["export"]:
            export_tuned(arguments, training)
        write_record(training.record, folder)
    # Only now: until all is written, they save training again.
    remove_checkpoints(training.checkpoints)


def export_tuned(arguments: TrainingArguments, training: Training) -> None:
    """Writes the SavedModel of the tuned preset, and the folder for transformers where it is asked for; compares each with it.

    Raises:
        RuntimeError: the preset has other weights than the trained model.
        ExportMismatchError: the SavedModel has other outputs than the preset.
        HuggingFaceMismatchError: so has the folder for transformers.
        UserError: the model cannot be written for transformers.
    """
    gc.collect()  # the trained model
    config = arguments.config
    with doing("loading the tuned preset"):
        model = load_model(find_preset(arguments.root), config["model"]["dtype"], config["train"]["seed"])
        if hash_weights(model) != training.record["tuned_hash"]:
            raise RuntimeError(f"the preset in {arguments.root} has other weights than the model that was trained")
    text, generation = config["text"], config["generation"]
    with doing("exporting the model"):
        export_model(model, arguments.serving_model_dir, text, generation, preset=training.record["preset"])
    with doing("checking the exported model"):
        records, prompts = sample_records(arguments.eval_files, model)
        verify_export(arguments.serving_model_dir, model, records, prompts, text, generation)
    if asked := config.get("hugging_face"):
        folder = os.path.join(arguments.root, HUGGING_FACE)
        with doing("writing the folder for transformers"):
            card = render_card(make_facts(training.record, training.record["dtype"], text["template"]))
            export_hugging_face(model, find_preset(arguments.root), folder, text=text, dtype=asked["dtype"], card=card)
        with doing("checking the folder for transformers"):
            behaviour = observe(model, prompts, text["max_length"])
            del model  # the folder is loaded as another one
            verify_hugging_face(folder, behaviour, asked["dtype"])


def sample_records(patterns: list[str], model: keras_hub.models.CausalLM) -> tuple[list[bytes], list[str]]:
    """A few examples of a split, for the comparison of the written model with the one in memory.

    Returns:
        Serialized examples of `token_ids` and `target_mask`, and as many rendered prompts.
    """
    tokenizer = model.preprocessor.tokenizer
    records, prompts = [], []
    for token_ids, loss_weight in read_examples(patterns, NUM_VERIFIED_EXAMPLES):
        target_mask = (loss_weight > 0).astype(int)
        example = tf.train.Example()
        example.features.feature[features.TOKEN_IDS].int64_list.value.extend(token_ids)
        example.features.feature[features.TARGET_MASK].int64_list.value.extend(target_mask)
        records.append(example.SerializeToString())
        # With the start token, where there is one: it is not put there twice.
        prompt_ids = token_ids[: int(target_mask.argmax())]
        prompts.append(tokenizer.detokenize(prompt_ids.tolist()) if len(prompt_ids) else "")
    return records, prompts
