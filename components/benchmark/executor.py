"""Executor of `Benchmark`: one Beam pass of a model over the tasks, and one TFMA pass over what came of it."""

import json
import logging
import os
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import tensorflow as tf
from apache_beam.utils import shared
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components.benchmark.suites.table import SUITES
from components.benchmark.tasks import cut_at, make_record, select_shots, select_tasks
from components.errors import UserError
from components.evaluator.eval_config import make_eval_config
from components.evaluator.examples import JoinPredictions
from components.evaluator.gate import CANDIDATE
from components.evaluator.results import read_results, to_json
from components.evaluator.write_results import WriteResults
from components.metrics.table import make_metrics, read_directions
from components.predictor.choices import score_choices
from components.splits import read_records
from components.text import features
from components.trainer.model_card import read_card
from components.trainer.served_functions import load_functions

RESULT = "benchmark.json"
_SIGNATURES = ("generate", "score_text")


class _AnswerDoFn(beam.DoFn):
    """A batch of tasks -> predictions."""

    def __init__(self, uri: str, benchmark: dict[str, Any], handle: shared.Shared):
        self._uri = uri
        self._benchmark = benchmark
        self._handle = handle

    def setup(self) -> None:
        self._model = self._handle.acquire(lambda: _Model(self._uri))

    def process(self, batch: list[bytes]) -> Iterator[bytes]:
        suite = SUITES[self._benchmark["suite"]]
        predictions = [tf.train.Example.FromString(serialized) for serialized in batch]
        if suite.max_new_tokens:
            self._complete(predictions)
        else:
            end_token = suite.metrics[0]["end_token"]
            score_choices(predictions, self._model.functions["score_text"], end_token, suite.delimiter)
        yield from (prediction.SerializeToString(deterministic=True) for prediction in predictions)

    def _complete(self, predictions: list[tf.train.Example]) -> None:
        suite = SUITES[self._benchmark["suite"]]
        prompts = tf.constant([p.features.feature[features.PROMPT].bytes_list.value[0] for p in predictions])
        count = tf.constant(self._benchmark["max_new_tokens"] or suite.max_new_tokens)
        for sample in range(self._benchmark["samples"]):
            seed = tf.constant(self._benchmark["seed"] + sample)
            outputs = self._model.functions["generate"](prompt=prompts, max_new_tokens=count, seed=seed)
            for prediction, completion in zip(predictions, outputs["completion"].numpy(), strict=True):
                text = cut_at(completion.decode("utf-8", "replace"), suite.stop)
                prediction.features.feature[features.COMPLETION].bytes_list.value.append(text.encode())


class _Model:
    """A loaded model; Beam shares it among the threads of a worker."""

    def __init__(self, uri: str):
        self.functions = load_functions(uri)
        if missing := [name for name in _SIGNATURES if name not in self.functions]:
            raise UserError(
                f"the model must have the signatures {', '.join(_SIGNATURES)}. Missing: {', '.join(missing)}, in {uri}. "
                "It was exported by another version: run its pipeline again, or name its preset."
            )


class Executor(base_beam_executor.BaseBeamExecutor):
    """Measures a model on a benchmark."""

    def Do(self, input_dict: dict[str, list], output_dict: dict[str, list], exec_properties: dict[str, Any]) -> None:  # noqa: N802
        """Writes predictions, TFMA's results and `benchmark.json`, and sets `metrics` and `intervals` on the evaluation.

        Raises:
            UserError: The files or the model are not what they must be.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        benchmark = json.loads(exec_properties["benchmark"])
        suite = SUITES[benchmark["suite"]]
        model = artifact_utils.get_single_instance(input_dict["model"])
        predictions = artifact_utils.get_single_instance(output_dict["predictions"])
        evaluation = artifact_utils.get_single_instance(output_dict["evaluation"])
        _check_positions(model.uri, benchmark["max_new_tokens"] or suite.max_new_tokens)
        tasks, shots = select_tasks(suite, benchmark), select_shots(suite, benchmark)
        # Those of similar length are decoded together.
        tasks.sort(key=lambda task: (len(task.prompt), task.example_id))
        fileio.makedirs(predictions.uri)
        tasks_path = os.path.join(predictions.uri, "tasks.tfrecord.gz")
        with tf.io.TFRecordWriter(tasks_path, "GZIP") as writer:
            for task in tasks:
                writer.write(make_record(suite, task, shots).SerializeToString(deterministic=True))
        size = benchmark["batch_size"]
        answer = _AnswerDoFn(model.uri, benchmark, shared.Shared())
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | beam.Create([tasks_path])
                | "Read" >> beam.FlatMap(read_records)
                | "Batch" >> beam.BatchElements(min_batch_size=size, max_batch_size=size)
                | "Answer" >> beam.ParDo(answer)
                | "Write"
                >> beam.io.WriteToTFRecord(os.path.join(predictions.uri, "predictions"), file_name_suffix=".gz")
            )
        settings = {
            # Of several answers also whether one of all passes.
            "metrics": [
                metric | ({"k": [1, benchmark["samples"]]} if suite.runs_code and benchmark["samples"] > 1 else {})
                for metric in suite.metrics
            ],
            "slice_columns": list(suite.slice_columns),
            "resamples": benchmark["resamples"],
            "confidence": 0.95,
            "seed": benchmark["seed"],
        }
        metrics = make_metrics(settings["metrics"])
        columns = sorted({column for metric in metrics.values() for column in metric.needed_columns()})
        eval_config = make_eval_config(settings, [CANDIDATE])
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | "Join" >> JoinPredictions({CANDIDATE: predictions}, suite.slice_columns, columns)
                | "Evaluate" >> WriteResults(eval_config, evaluation.uri)
            )
        results = to_json(read_results(evaluation.uri, [CANDIDATE]), CANDIDATE)
        content = {
            "benchmark": benchmark,
            "model": model.uri,
            "tasks": len(tasks),
            "metrics": results["metrics"][CANDIDATE],
            "intervals": results["intervals"],
            "directions": read_directions(metrics),
        }
        io_utils.write_string_file(
            os.path.join(evaluation.uri, RESULT), json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n"
        )
        for name in ("metrics", "intervals", "benchmark"):
            evaluation.set_string_custom_property(name, json.dumps(content[name], sort_keys=True))
        logging.info("Benchmark: %s", content["metrics"])


def _check_positions(model_uri: str, max_new_tokens: int) -> None:
    positions = read_card(model_uri).get("max_positions")
    if positions is not None and max_new_tokens > positions // 2:
        raise UserError(
            f"an answer may take at most half of the model's {positions} positions, or nothing is left for the task. Received: "
            f"{max_new_tokens} new tokens. Set --max-new-tokens to {positions // 2} or less."
        )
