"""Executor of `Evaluator`: one TFMA pass over up to three models."""

import json
import logging
import os
from typing import Any

import tensorflow_text as _  # noqa: F401  Its operations are in the exported models.
from tensorflow_model_analysis.proto import config_pb2
from tfx.components.evaluator import constants
from tfx.components.util import tfxio_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact
from tfx.utils import io_utils, path_utils

from components.evaluator import gate
from components.evaluator.eval_config import BASELINE, CANDIDATE, PRESET, make_eval_config
from components.metrics import METRICS

import tensorflow_model_analysis as tfma  # isort: skip  After tfx, see eval_config.py.


# Keys of the model card that must agree.
_COMPARABLE = ("tokenizer_sha256", "template", "system", "max_length", "max_new_tokens")


class Executor(base_beam_executor.BaseBeamExecutor):
    """Evaluates candidate, baseline and preset over one split and writes the blessing."""

    def Do(self, input_dict: dict[str, list], output_dict: dict[str, list], exec_properties: dict[str, Any]) -> None:  # noqa: N802
        """Writes TFMA's results, `metrics` and `verdict` on the evaluation, and the blessing with its reason."""
        self._log_startup(input_dict, output_dict, exec_properties)
        evaluation = json.loads(exec_properties["evaluation"])
        result_artifact = artifact_utils.get_single_instance(output_dict["evaluation_result"])
        candidate = artifact_utils.get_single_instance(input_dict["model"])
        preset = artifact_utils.get_single_instance(input_dict["preset_model"])
        baseline, baseline_kind = preset, "preset"
        # On platforms without our resolver the latest blessed model can be the candidate itself.
        if blessed_models := [m for m in input_dict.get("baseline_model") or [] if m.id != candidate.id]:
            if differences := list_differences(candidate, blessed_models[0]):
                baseline_kind = f"preset, since the latest blessed model has another {', '.join(differences)}"
            else:
                baseline, baseline_kind = blessed_models[0], "latest blessed model"
        models = {CANDIDATE: candidate, BASELINE: baseline}
        if baseline is not preset:
            models[PRESET] = preset
        eval_config = make_eval_config(evaluation, with_preset=PRESET in models)

        self._run_tfma(input_dict["examples"], evaluation, eval_config, models, result_artifact.uri)

        metrics = read_results(result_artifact.uri, list(models), evaluation["metrics"])
        metrics.setdefault(PRESET, metrics[BASELINE])
        higher = {name: METRICS[name].higher_is_better for name in evaluation["metrics"]}
        checks = gate.list_checks(
            evaluation["thresholds"], metrics[CANDIDATE][gate.OVERALL], metrics[BASELINE][gate.OVERALL], higher
        )
        blessed = bool(tfma.load_validation_result(result_artifact.uri).validation_ok)
        if blessed != all(check.passed for check in checks):
            raise RuntimeError(f"TFMA's verdict ({blessed}) is not that of the thresholds: {checks}")
        verdict = f"{gate.describe(checks, blessed)} Baseline: {baseline_kind}."
        logging.info(verdict)
        result_artifact.set_string_custom_property("metrics", json.dumps(metrics, sort_keys=True))
        result_artifact.set_string_custom_property("verdict", verdict)
        result_artifact.set_string_custom_property("baseline", baseline_kind)
        self._write_blessing(
            artifact_utils.get_single_instance(output_dict["blessing"]), candidate, baseline, blessed, verdict
        )

    def _run_tfma(
        self,
        examples: list[Artifact],
        evaluation: dict[str, Any],
        eval_config: config_pb2.EvalConfig,
        models: dict[str, Artifact],
        output_path: str,
    ) -> None:
        shared_models = [
            tfma.default_eval_shared_model(
                eval_saved_model_path=path_utils.serving_model_path(artifact.uri),
                model_name=name,
                eval_config=eval_config,
            )
            for name, artifact in models.items()
        ]
        make_tfxio = tfxio_utils.get_tfxio_factory_from_artifact(
            examples=examples,
            telemetry_descriptors=["Evaluator"],
            schema=None,
            raw_record_column_name=tfma.constants.ARROW_INPUT_COLUMN,
        )
        pattern = io_utils.all_files_pattern(artifact_utils.get_split_uri(examples, evaluation["split"]))
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                # The batch bounds the memory that decoding takes.
                | "Read" >> make_tfxio(pattern).BeamSource(batch_size=evaluation["batch_size"])
                | "Evaluate"
                >> tfma.ExtractEvaluateAndWriteResults(
                    eval_shared_model=shared_models, eval_config=eval_config, output_path=output_path
                )
            )

    def _write_blessing(
        self, blessing: Artifact, candidate: Artifact, baseline: Artifact, blessed: bool, verdict: str
    ) -> None:
        # Names and values are those of TFX's Evaluator: its resolver and Pusher read them.
        blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, candidate.uri)
        blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, candidate.id)
        blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, baseline.uri)
        blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY, baseline.id)
        blessing.set_int_custom_property(
            constants.ARTIFACT_PROPERTY_BLESSED_KEY,
            constants.BLESSED_VALUE if blessed else constants.NOT_BLESSED_VALUE,
        )
        blessing.set_string_custom_property("reason", verdict)
        name = constants.BLESSED_FILE_NAME if blessed else constants.NOT_BLESSED_FILE_NAME
        io_utils.write_string_file(os.path.join(blessing.uri, name), verdict)


def list_differences(candidate: Artifact, baseline: Artifact) -> list[str]:
    """Returns in what two models differ so that one's examples or completions cannot be held against the other's.

    The examples are tokenized for the candidate; a model with another tokenizer would be scored on noise.
    """
    candidate_card, baseline_card = (_read_card(model) for model in (candidate, baseline))
    return [key for key in _COMPARABLE if candidate_card.get(key) != baseline_card.get(key)]


def _read_card(model: Artifact) -> dict[str, Any]:
    path = os.path.join(path_utils.serving_model_path(model.uri), "assets.extra", "model_card.json")
    return json.loads(io_utils.read_string_file(path)) if fileio.exists(path) else {}


def read_results(output_path: str, model_names: list[str], metrics: list[str]) -> gate.Metrics:
    """Returns the metrics that TFMA has written to `output_path`, for each of the models."""
    results = {name: tfma.load_eval_result(output_path, model_name=name).slicing_metrics for name in model_names}
    return gate.read_metrics(results, metrics)
