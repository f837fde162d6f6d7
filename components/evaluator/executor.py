"""Executor of `Evaluator`: one TFMA pass over the predictions of up to three models, and the verdict."""

import json
import logging
import os
from collections.abc import Mapping
from typing import Any

from tfx.components.evaluator import constants, executor
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact
from tfx.utils import io_utils

from components.evaluator import gate
from components.evaluator.annotate import Annotate, needs_annotation
from components.evaluator.eval_config import make_eval_config
from components.evaluator.examples import JoinPredictions
from components.evaluator.extremes import WriteExtremes
from components.evaluator.gate import BASELINE, CANDIDATE, PRESET, Results
from components.evaluator.results import add_general, checks_to_json, read_results, to_json
from components.evaluator.summary import make_summary
from components.evaluator.write_results import WriteResults
from components.judge.annotator import check_budget
from components.metrics.judge import Judge
from components.metrics.metric import Metric
from components.metrics.table import make_metrics, read_directions
from components.places import fill_root


class Executor(executor.Executor):
    """Evaluates candidate, baseline and preset over one split and writes the blessing.

    Nothing of TFX's executor is left but its type, by which Vertex AI's entry point knows a blessing, and gives the model in it
    the name that the next run's resolver asks for.
    """

    def Do(self, input_dict: dict[str, list], output_dict: dict[str, list], exec_properties: dict[str, Any]) -> None:  # noqa: N802
        """Writes the blessing with its reason, and on the evaluation `verdict`, `metrics` and all that it rests on.

        Files of the evaluation: TFMA's own, `metrics.json`, `summary.md`, and `examples.json` with the largest gains and losses.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        evaluation = json.loads(exec_properties["evaluation"])
        if "judge_cache" in evaluation:
            evaluation["judge_cache"] = fill_root(evaluation["judge_cache"], exec_properties.get("root"))
        result_artifact = artifact_utils.get_single_instance(output_dict["evaluation_result"])
        candidate = artifact_utils.get_single_instance(input_dict["model"])
        preset = artifact_utils.get_single_instance(input_dict["preset_model"])
        predictions = {
            CANDIDATE: artifact_utils.get_single_instance(input_dict["predictions"]),
            PRESET: artifact_utils.get_single_instance(input_dict["preset_predictions"]),
        }
        baseline, baseline_name, baseline_kind = preset, PRESET, "preset"
        # On platforms without our resolver the latest blessed model can be the candidate itself.
        if blessed_models := [m for m in input_dict.get("baseline_model") or [] if m.id != candidate.id]:
            of_baseline = artifact_utils.get_single_instance(input_dict["baseline_predictions"])
            if reason := of_baseline.get_string_custom_property("reason"):
                baseline_kind = f"preset, since of the latest blessed model: {reason}"
            else:
                baseline, baseline_name, baseline_kind = blessed_models[0], BASELINE, "latest blessed model"
                predictions[BASELINE] = of_baseline

        metrics = make_metrics(evaluation["metrics"])
        for metric in metrics.values():
            if isinstance(metric, Judge):
                count = predictions[CANDIDATE].get_int_custom_property("examples")
                check_budget(metric, count, len(predictions))
        self._run_tfma(predictions, baseline_name, evaluation, metrics, result_artifact.uri)

        results = read_results(result_artifact.uri, list(predictions))
        directions = read_directions(metrics)
        if input_dict.get("general_predictions"):
            general = {
                CANDIDATE: artifact_utils.get_single_instance(input_dict["general_predictions"]),
                PRESET: artifact_utils.get_single_instance(input_dict["general_preset_predictions"]),
            }
            add_general(results, self._measure_general(general, evaluation, result_artifact.uri))
            directions = directions | read_directions(make_metrics([{"name": name} for name in gate.GENERAL_METRICS]))
        checks = gate.check_rules(
            gate.make_rules(evaluation),
            results,
            directions,
            baseline=baseline_name,
            min_examples=evaluation["min_examples"],
        )
        blessed = gate.is_blessed(checks, evaluation["without_evidence"])
        verdict = f"{gate.describe(checks, blessed)} Baseline: {baseline_kind}."
        logging.info(verdict)
        content = to_json(results, baseline_name)
        content["settings"] = {name: text for name, metric in metrics.items() if (text := metric.describe())}
        content["checks"] = checks_to_json(checks)
        content["directions"] = directions
        content["speed"] = _read_speed(predictions[CANDIDATE])
        summary = make_summary(verdict, checks, results, directions, baseline_name)
        io_utils.write_string_file(os.path.join(result_artifact.uri, "summary.md"), summary)
        machine_readable = {"verdict": verdict, "blessed": blessed, "baseline": baseline_kind, **content}
        text = json.dumps(machine_readable, indent=1, sort_keys=True, allow_nan=False)
        io_utils.write_string_file(os.path.join(result_artifact.uri, "metrics.json"), text + "\n")
        for name, value in content.items():
            result_artifact.set_string_custom_property(name, json.dumps(value, sort_keys=True))
        result_artifact.set_string_custom_property("verdict", verdict)
        result_artifact.set_string_custom_property("baseline", baseline_kind)
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        blessing.set_string_custom_property("checks", json.dumps(content["checks"], sort_keys=True))
        self._write_blessing(blessing, candidate, baseline, blessed, verdict)

    def _run_tfma(
        self,
        predictions: dict[str, Artifact],
        baseline: str,
        evaluation: dict[str, Any],
        metrics: Mapping[str, Metric],
        output_path: str,
    ) -> None:
        eval_config = make_eval_config(evaluation, list(predictions))
        columns = evaluation["slice_columns"]
        metric_columns = {column for metric in metrics.values() for column in metric.needed_columns()}
        with self._make_beam_pipeline() as pipeline:
            extracts = pipeline | "Read" >> JoinPredictions(predictions, columns, sorted(metric_columns))
            if needs_annotation(metrics):
                extracts |= "Annotate" >> Annotate(metrics, CANDIDATE, baseline, evaluation["judge_cache"])
            _ = extracts | "Extremes" >> WriteExtremes(CANDIDATE, baseline, columns, output_path)
            _ = extracts | "Evaluate" >> WriteResults(eval_config, output_path)

    def _measure_general(
        self, predictions: dict[str, Artifact], evaluation: dict[str, Any], output_path: str
    ) -> Results:
        path = os.path.join(output_path, gate.GENERAL)
        metrics = [{"name": name} for name in gate.GENERAL_METRICS]
        eval_config = make_eval_config(evaluation | {"metrics": metrics, "slice_columns": []}, list(predictions))
        with self._make_beam_pipeline() as pipeline:
            _ = pipeline | "Read" >> JoinPredictions(predictions, []) | "Evaluate" >> WriteResults(eval_config, path)
        return read_results(path, list(predictions))

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


def _read_speed(predictions: Artifact) -> dict[str, float]:
    """How fast the model answered: `examples_per_second`, `new_tokens_per_second`; empty where it was not recorded."""
    counts = {
        name: predictions.get_int_custom_property(name) for name in ("examples", "completion_tokens", "milliseconds")
    }
    if not counts["milliseconds"]:
        return {}
    seconds = counts["milliseconds"] / 1000
    return {
        "examples_per_second": counts["examples"] / seconds,
        "new_tokens_per_second": counts["completion_tokens"] / seconds,
    }
