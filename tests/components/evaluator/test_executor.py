"""The Evaluator on predictions that are known: candidate, baseline and preset in one TFMA pass."""

import json
import math
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from components.errors import UserError
from components.evaluator.executor import Executor

# (slice, reference) of the examples, ten times over.
EXAMPLES = [("a", "yes"), ("a", "no"), ("b", "yes"), ("b", "yes")] * 10
RULE = {
    "slice": None, "lower_bound": None, "upper_bound": None, "min_improvement": None, "against": "blessed", "require": "better"
}  # fmt: skip


def make_predictions(folder, answer, nll, examples=EXAMPLES, parts=2):
    """Of a model that answers `answer` to all, with `nll` on each of 2 target tokens of which 1 is right."""
    artifact = standard_artifacts.InferenceResult()
    artifact.uri = str(folder)
    folder.mkdir(parents=True)
    for part in range(parts):
        with tf.io.TFRecordWriter(f"{folder}/predictions-{part}.gz", "GZIP") as writer:
            for i, (category, reference) in list(enumerate(examples))[part::parts]:
                example = tf.train.Example()
                values = example.features.feature
                texts = {"example_id": str(i), "category": category, "response": reference, "completion": answer}
                for name, text in texts.items():
                    values[name].bytes_list.value.append(text.encode())
                numbers = {"nll_sum": 2 * nll, "token_count": 2, "correct_count": 1, "byte_count": 3}
                for name, number in numbers.items():
                    values[name].float_list.value.append(number)
                writer.write(example.SerializeToString())
    artifact.set_int_custom_property("examples", len(examples))
    return artifact


def make_model(artifact_id):
    artifact = standard_artifacts.Model()
    artifact.uri, artifact.id = f"/models/{artifact_id}", artifact_id
    return artifact


def evaluate(tmp_path, thresholds, baseline=None, candidate=("yes", 1.0), reason="", general=None, **settings):
    result, blessing = standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing()
    result.uri, blessing.uri = str(tmp_path / "result"), str(tmp_path / "blessing")
    evaluation = {
        "slice_columns": ["category"],
        "metrics": [{"name": "perplexity"}, {"name": "token_accuracy"}, {"name": "exact_match"}],
        "thresholds": [{**RULE, **threshold} for threshold in thresholds],
        "without_evidence": "refuse",
        "min_examples": 30,
        "resamples": 200,
        "confidence": 0.95,
        "seed": 0,
        **settings,
    }
    empty = standard_artifacts.InferenceResult()
    empty.set_string_custom_property("reason", reason or "there is no such model")
    inputs = {
        "predictions": [make_predictions(tmp_path / "candidate", *candidate)],
        "preset_predictions": [make_predictions(tmp_path / "preset", "no", 2.0, parts=1)],
        "baseline_predictions": [empty],
        "model": [make_model(3)],
        "preset_model": [make_model(1)],
        "baseline_model": [],
    }
    if general is not None:
        evaluation["general"] = {"max_perplexity_increase": 0.1}
        for name, loss in zip(("general_predictions", "general_preset_predictions"), general, strict=True):
            inputs[name] = [make_predictions(tmp_path / name, "", loss, [("", "text")] * 35)]
    if baseline is not None:
        artifact_id, *answers = baseline
        inputs["baseline_model"] = [make_model(artifact_id)]
        if not reason:
            inputs["baseline_predictions"] = [make_predictions(tmp_path / "baseline", *answers, parts=3)]
    Executor().Do(
        inputs, {"evaluation_result": [result], "blessing": [blessing]}, {"evaluation": json.dumps(evaluation)}
    )
    properties = {
        name: json.loads(result.get_string_custom_property(name))
        for name in ("metrics", "changes", "intervals", "checks")
    }
    written = json.loads((tmp_path / "result" / "metrics.json").read_text())
    assert {name: written[name] for name in properties} == properties
    return properties, bool(blessing.get_int_custom_property("blessed")), blessing


def test_first_run_compares_with_the_preset(tmp_path):
    thresholds = [
        {"metric": "perplexity", "min_improvement": 0.0},
        {"metric": "exact_match", "lower_bound": 0.7, "min_improvement": 0.1},
    ]
    found, blessed, blessing = evaluate(tmp_path, thresholds)
    metrics = found["metrics"]
    assert blessed, blessing.get_string_custom_property("reason")
    assert metrics["candidate"]["overall"] == pytest.approx(
        {"perplexity": math.e, "token_accuracy": 0.5, "exact_match": 0.75, "example_count": 40}
    )
    assert metrics["candidate"]["category=a"]["exact_match"] == 0.5
    assert metrics["candidate"]["category=b"]["exact_match"] == 1.0
    assert metrics["baseline"] == metrics["preset"]
    assert metrics["preset"]["overall"]["exact_match"] == 0.25
    assert metrics["preset"]["overall"]["perplexity"] == pytest.approx(math.exp(2))
    change, low, high = found["changes"]["preset"]["overall"]["exact_match"]
    assert change == pytest.approx(0.5)
    assert 0.1 < low < change < high
    low, high = found["intervals"]["overall"]["exact_match"]
    assert low < 0.75 < high
    assert [check["verdict"] for check in found["checks"]] == ["better", None, "better"]
    assert blessing.get_int_custom_property("current_model_id") == 3
    assert json.loads(blessing.get_string_custom_property("checks")) == found["checks"]
    assert (tmp_path / "blessing" / "BLESSED").is_file()


def test_a_blessed_model_is_the_baseline_and_the_preset_is_still_measured(tmp_path):
    # Better than the preset in both; worse than the blessed model in perplexity.
    found, blessed, blessing = evaluate(
        tmp_path, [{"metric": "perplexity", "min_improvement": 0.0}], baseline=(2, "yes", 0.5)
    )
    assert not blessed
    assert found["metrics"]["baseline"]["overall"]["perplexity"] == pytest.approx(math.exp(0.5))
    assert found["metrics"]["preset"]["overall"]["perplexity"] == pytest.approx(math.exp(2))
    reason = blessing.get_string_custom_property("reason")
    assert "Not blessed: it does not hold that perplexity improves on the baseline by more than 0 (is -1.07" in reason
    assert reason.endswith("Baseline: latest blessed model.")
    assert (tmp_path / "blessing" / "NOT_BLESSED").is_file()


def test_no_difference_is_not_enough_evidence(tmp_path):
    rules = [{"metric": "perplexity", "min_improvement": 0.0}]
    found, blessed, blessing = evaluate(tmp_path, rules, baseline=(2, "yes", 1.0))
    assert not blessed
    assert found["checks"][0]["verdict"] == "not enough evidence"
    assert "for lack of evidence" in blessing.get_string_custom_property("reason")
    _, blessed, _ = evaluate(tmp_path / "again", rules, baseline=(2, "yes", 1.0), without_evidence="bless")
    assert blessed


def test_a_slice_can_veto(tmp_path):
    # On category a, "no" is as often right as "yes"; on category b it is always wrong.
    rules = [
        {"metric": "perplexity", "min_improvement": 0.0},
        {"metric": "exact_match", "min_improvement": 0.0, "slice": "category", "require": "not_worse"},
    ]
    found, blessed, blessing = evaluate(
        tmp_path, rules, baseline=(2, "yes", 1.0), candidate=("no", 0.5), min_examples=20
    )
    assert not blessed
    assert [check["verdict"] for check in found["checks"]] == ["better", "not enough evidence", "worse"]
    assert "exact_match on category=b" in blessing.get_string_custom_property("reason")


def test_a_bound_on_the_whole_does_not_apply_to_a_slice(tmp_path):
    # Slice a reaches 0.5 only.
    _, blessed, _ = evaluate(tmp_path, [{"metric": "exact_match", "lower_bound": 0.7}])
    assert blessed


def test_the_candidate_is_no_baseline_of_itself(tmp_path):
    rules = [{"metric": "perplexity", "min_improvement": 1.0}]
    _, blessed, blessing = evaluate(tmp_path, rules, baseline=(3, "yes", 1.0))
    assert blessed
    assert blessing.get_int_custom_property("baseline_model_id") == 1


def test_a_blessed_model_that_could_not_be_asked_is_no_baseline(tmp_path):
    rules = [{"metric": "perplexity", "min_improvement": 0.0}]
    found, blessed, blessing = evaluate(tmp_path, rules, baseline=(2,), reason="it has another tokenizer_sha256")
    # As on a first run: better than the preset.
    assert blessed
    assert blessing.get_int_custom_property("baseline_model_id") == 1
    assert found["metrics"]["baseline"] == found["metrics"]["preset"]
    assert "it has another tokenizer_sha256" in blessing.get_string_custom_property("reason")


def test_not_a_number_is_never_blessed(tmp_path):
    for i, rule in enumerate(({"upper_bound": 1e9}, {"min_improvement": -1e9, "require": "not_worse"})):
        _, blessed, _ = evaluate(
            tmp_path / str(i),
            [{"metric": "perplexity", **rule}],
            candidate=("yes", float("nan")),
            without_evidence="bless",
        )
        assert not blessed


def test_labels_that_only_the_data_know(tmp_path):
    metrics = [{"name": "classification"}]
    found, blessed, _ = evaluate(tmp_path, [{"metric": "macro_f1", "lower_bound": 0.2}], metrics=metrics)
    assert blessed
    assert found["metrics"]["candidate"]["overall"]["recall[yes]"] == 1
    assert found["metrics"]["preset"]["overall"]["recall[no]"] == 1
    assert found["changes"]["preset"]["overall"]["recall[no]"][0] == -1


def test_the_examples_that_changed_most(tmp_path):
    evaluate(tmp_path, [{"metric": "perplexity", "min_improvement": 0.0}], baseline=(2, "yes", 1.5))
    found = json.loads((tmp_path / "result" / "examples.json").read_text())
    assert found["lost"] == []
    assert [example["example_id"] for example in found["gained"]] == sorted(str(i) for i in range(40))[:10]
    assert found["gained"][0] == {
        "example_id": "0",
        "slices": {"category": "a"},
        "prompt": "",
        "reference": "yes",
        "completion": "yes",
        "completion_before": "yes",
        "loss": 1.0,
        "loss_before": 1.5,
    }


def test_the_summary(tmp_path):
    evaluate(tmp_path, [{"metric": "perplexity", "min_improvement": 0.0}], baseline=(2, "yes", 0.5))
    lines = (tmp_path / "result" / "summary.md").read_text().splitlines()
    assert lines[0].startswith(
        "**Not blessed: it does not hold that perplexity improves on the baseline by more than 0 (is -1.07"
    )
    assert lines[4].startswith("| `perplexity`: improves on the baseline by more than 0 | `overall` | worse: -1.07")
    assert "| value | preset | baseline | candidate | change from baseline |" in lines
    assert "| `exact_match` | 0.25 | 0.75 | 0.75 [0." in "\n".join(lines)


@pytest.mark.parametrize(("losses", "blessed"), [((1.5, 1.5), True), ((1.7, 1.5), False)])
def test_general_text_is_a_slice_with_a_budget(tmp_path, losses, blessed):
    found, given, blessing = evaluate(tmp_path, [{"metric": "exact_match", "lower_bound": 0.0}], general=losses)
    assert given is blessed, blessing.get_string_custom_property("reason")
    assert found["metrics"]["candidate"]["general"] == pytest.approx(
        {
            "loss": losses[0],
            "perplexity": math.exp(losses[0]),
            "bits_per_byte": 2 * losses[0] / math.log(2) / 3,
            "token_accuracy": 0.5,
            "example_count": 35,
        }
    )
    assert found["changes"]["preset"]["general"]["loss"][0] == pytest.approx(losses[0] - losses[1])
    assert "loss" not in found["metrics"]["candidate"]["overall"]
    check = found["checks"][-1]
    assert (check["metric"], check["slice_name"], check["verdict"]) == (
        "perplexity",
        "general",
        "better" if blessed else "worse",
    )


class _Judge(BaseHTTPRequestHandler):
    """Prefers the answer "yes" to any other."""

    asked: ClassVar[list] = []

    def do_POST(self):
        question = json.loads(self.rfile.read(int(self.headers["content-length"])))["messages"][0]["content"]
        self.asked.append(question)
        better = "A" if '"answer A": "yes"' in question else "B"
        content = json.dumps({"choices": [{"message": {"content": json.dumps({"better": better})}}]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def test_judge_is_asked_once_an_example_whatever_the_slices(tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), _Judge) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}/v1"
        metric = {"name": "judge", "mode": "pairwise", "endpoint": endpoint, "model": "m", "api_key_env": None}
        settings = {"metrics": [{"name": "exact_match"}, metric], "judge_cache": str(tmp_path / "judgements")}
        threshold = {"metric": "judge_win_rate", "lower_bound": 0.6, "min_improvement": 0.0}
        found, blessed, _ = evaluate(tmp_path / "run", [threshold], **settings)
        server.shutdown()
    # Two orders; examples with the same reference and answers are the same question.
    assert len(_Judge.asked) == 4
    assert blessed
    for slice_name in ("overall", "category=a", "category=b"):
        assert found["metrics"]["candidate"][slice_name]["judge_win_rate"] == 1
        assert found["metrics"]["preset"][slice_name]["judge_win_rate"] == 0
        assert found["changes"]["preset"][slice_name]["judge_win_rate"][0] == 1


def test_judge_that_would_be_asked_too_often(tmp_path):
    metric = {"name": "judge", "preset": "p", "max_requests": 79}
    settings = {"metrics": [metric], "judge_cache": str(tmp_path / "judgements")}
    with pytest.raises(UserError, match="40 examples would need 80 requests"):
        evaluate(tmp_path / "run", [{"metric": "judge", "lower_bound": 1.0}], **settings)
