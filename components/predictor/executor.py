"""Executor of `Predictor`: one Beam pass of one model over one split."""

import json
import logging
import os
import time
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import tensorflow as tf
from apache_beam.utils import shared
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact

from components.errors import UserError
from components.predictor.choices import add_choices, score_choices
from components.splits import ReadSplit, WriteCounts, read_json
from components.text import features
from components.text.cleaning import get_level
from components.trainer.model_card import read_card
from components.trainer.served_functions import load_functions

_COUNTS = ("examples", "target_tokens", "completion_tokens", "milliseconds", "prompts_cut")
# What only training needs.
_DROPPED = (features.TOKEN_IDS, features.TARGET_MASK)
# Keys of the model card that must agree.
_COMPARABLE = ("tokenizer_sha256", "template", "template_sha256", "system", "max_length", "generation", "opening")


class _Model:
    """A loaded model; Beam shares it among the threads of a worker."""

    def __init__(self, uri: str):
        self.functions = load_functions(uri)


class _PredictDoFn(beam.DoFn):
    """A batch of serialized examples -> serialized predictions (main output), counts as a tuple (output `counts`)."""

    def __init__(
        self, uri: str, signature: str, room: int | None, choices: dict[str, Any] | None, handle: shared.Shared
    ):
        self._uri = uri
        self._signature = signature
        self._room = room
        self._choices = choices
        self._handle = handle

    def setup(self) -> None:
        self._model = self._handle.acquire(lambda: _Model(self._uri))

    def process(self, batch: list[bytes]) -> Iterator[Any]:
        started = time.monotonic()
        outputs = self._model.functions[self._signature](examples=tf.constant(batch))
        outputs = {name: value.numpy() for name, value in outputs.items()}
        elapsed = int(1000 * (time.monotonic() - started))
        predictions = [
            make_prediction(serialized, {name: values[row] for name, values in outputs.items()})
            for row, serialized in enumerate(batch)
        ]
        if self._choices:
            add_choices(predictions, self._choices)
            score = self._model.functions["score_text"]
            score_choices(predictions, score, self._choices["end_token"], self._choices["delimiter"])
        yield from (prediction.SerializeToString(deterministic=True) for prediction in predictions)
        tokens = int(outputs[features.TOKEN_COUNT].sum())
        written = int(outputs["completion_tokens"].sum()) if "completion_tokens" in outputs else 0
        cut = sum(map(self._is_cut, predictions))
        yield beam.pvalue.TaggedOutput("counts", (len(batch), tokens, written, elapsed, cut))

    def _is_cut(self, prediction: tf.train.Example) -> bool:
        """Whether the model was given the end of a prompt alone: the Tokenizer has cut it, or it leaves no room for an answer."""
        values = prediction.features.feature
        lengths, cut = (values[name].int64_list.value for name in (features.PROMPT_LENGTH, features.TOKENS_CUT))
        return self._room is not None and (any(cut[:1]) or any(length > self._room for length in lengths))


class Executor(base_beam_executor.BaseBeamExecutor):
    """Writes what a model makes of each example of a split."""

    def Do(self, input_dict: dict[str, list], output_dict: dict[str, list], exec_properties: dict[str, Any]) -> None:  # noqa: N802
        """Writes the predictions and `counts.json`, and sets its counts on the artifact.

        Writes nothing without a model, and for a model on which these examples cannot be tried; then `reason` says why.

        Raises:
            UserError: The split is empty.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        target = artifact_utils.get_single_instance(output_dict["predictions"])
        prediction = json.loads(exec_properties["prediction"])
        if not input_dict.get("model"):
            target.set_string_custom_property("reason", "there is no such model")
            return
        source = artifact_utils.get_single_instance(input_dict["examples"])
        model = artifact_utils.get_single_instance(input_dict["model"])
        if input_dict.get("like") and (differences := list_differences(model, input_dict["like"][0])):
            target.set_string_custom_property("reason", f"it has another {', '.join(differences)}")
            return
        choices = prediction.get("choices")
        card = read_card(model.uri)
        # As the examples were cleaned: for those of the run.
        of_run = read_card(input_dict["like"][0].uri) if input_dict.get("like") else card
        predict = _PredictDoFn(
            model.uri,
            "evaluate" if prediction["complete"] else "score",
            card.get("max_prompt_length") if prediction["complete"] else None,
            choices and choices | {"cleaning": get_level(of_run), "delimiter": card.get("opening", "")},
            shared.Shared(),
        )
        size = prediction["batch_size"]
        counts_path = os.path.join(target.uri, "counts")
        with self._make_beam_pipeline() as pipeline:
            predicted = (
                pipeline
                | "Read" >> ReadSplit(source, prediction["split"])
                # The batch bounds the memory that decoding takes.
                | "Batch" >> beam.BatchElements(min_batch_size=size, max_batch_size=size)
                | "Predict" >> beam.ParDo(predict).with_outputs("counts", main="predictions")
            )
            _ = predicted.predictions | "Write" >> beam.io.WriteToTFRecord(
                os.path.join(target.uri, "predictions"), file_name_suffix=".gz"
            )
            _ = predicted.counts | "WriteCounts" >> WriteCounts(_COUNTS, counts_path)
        counts = read_json(f"{counts_path}.json")
        if not counts["examples"]:
            raise UserError(
                f"the split `{prediction['split']}`, which evaluation.split names, must hold examples. Received: none. "
                "Give it a larger share in data.splits, or more data."
            )
        for name in _COUNTS:
            target.set_int_custom_property(name, counts[name])
        logging.info("Predicted: %s", counts)


def list_differences(model: Artifact, other: Artifact) -> list[str]:
    """Returns in what two models differ so that one's examples or completions cannot be held against the other's.

    The examples are tokenized for one of them; a model with another tokenizer would be scored on noise.
    """
    cards = [read_card(artifact.uri) for artifact in (model, other)]
    # A card without `opening` is of a model whose answers begin with what its template writes before them.
    stated = [{"opening": "", **card} for card in cards]
    return [key for key in _COMPARABLE if stated[0].get(key) != stated[1].get(key)]


def make_prediction(serialized: bytes, outputs: dict[str, Any]) -> tf.train.Example:
    """Returns the prediction of one example.

    Args:
        serialized: The tokenized example, whose text and slice columns are carried along.
        outputs: What the signature gives for it, scalars.
    """
    result = tf.train.Example.FromString(serialized)
    values = result.features.feature
    for name in _DROPPED:
        values.pop(name, None)
    for name in features.SCORES:
        values[name].float_list.value[:] = [float(outputs[name])]
    if features.COMPLETION in outputs:
        values[features.COMPLETION].bytes_list.value[:] = [outputs[features.COMPLETION]]
    return result
