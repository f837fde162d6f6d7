"""The Evaluator on exported models whose answers are known: candidate, baseline and preset in one TFMA pass."""

import json
import math

import pytest
import tensorflow as tf
from tfx.types import artifact_utils, standard_artifacts

from components.evaluator.executor import Executor

# (slice, reference) of the examples in the split.
EXAMPLES = [("a", "yes"), ("a", "no"), ("b", "yes"), ("b", "yes")]


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    artifact = standard_artifacts.Examples()
    artifact.uri = str(tmp_path_factory.mktemp("examples"))
    artifact.split_names = artifact_utils.encode_split_names(["test"])
    folder = tmp_path_factory.mktemp("x")
    folder = artifact_utils.get_split_uri([artifact], "test")
    tf.io.gfile.makedirs(folder)
    with tf.io.TFRecordWriter(f"{folder}/data.gz", "GZIP") as writer:
        for slice_value, reference in EXAMPLES:
            example = tf.train.Example()
            example.features.feature["category"].bytes_list.value.append(slice_value.encode())
            example.features.feature["response"].bytes_list.value.append(reference.encode())
            writer.write(example.SerializeToString())
    return artifact


def make_model(folder, artifact_id, answer, nll):
    """A model that answers `answer` to all, with `nll` on each of 2 target tokens of which 1 is right."""

    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def evaluate(self, examples):
            spec = {"response": tf.io.FixedLenFeature([], tf.string)}
            reference = tf.io.parse_example(examples, spec)["response"]
            ones = tf.ones_like(reference, tf.float32)
            return {
                "nll_sum": 2 * nll * ones,
                "token_count": 2 * ones,
                "correct_count": ones,
                "completion": tf.fill(tf.shape(reference), answer),
                "reference": reference,
            }

    model = Model()
    tf.saved_model.save(model, str(folder / "Format-Serving"), signatures={"evaluate": model.evaluate})
    artifact = standard_artifacts.Model()
    artifact.uri, artifact.id = str(folder), artifact_id
    return artifact


def evaluate(tmp_path, examples, thresholds, baseline=None, candidate=("yes", 1.0), baseline_card=None):
    result, blessing = standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing()
    result.uri, blessing.uri = str(tmp_path / "result"), str(tmp_path / "blessing")
    filled = [{"lower_bound": None, "upper_bound": None, "min_improvement": None, **t} for t in thresholds]
    evaluation = {
        "split": "test",
        "slice_columns": ["category"],
        "metrics": ["perplexity", "token_accuracy", "exact_match", "example_count"],
        "thresholds": filled,
        "batch_size": 3,
    }
    inputs = {
        "examples": [examples],
        "model": [make_model(tmp_path / "candidate", 3, *candidate)],
        "preset_model": [make_model(tmp_path / "preset", 1, "no", 2.0)],
        "baseline_model": [] if baseline is None else [make_model(tmp_path / "baseline", *baseline)],
    }
    if baseline_card is not None:
        path = tmp_path / "baseline" / "Format-Serving" / "assets.extra" / "model_card.json"
        path.parent.mkdir()
        path.write_text(json.dumps(baseline_card))
    Executor().Do(
        inputs, {"evaluation_result": [result], "blessing": [blessing]}, {"evaluation": json.dumps(evaluation)}
    )
    metrics = json.loads(result.get_string_custom_property("metrics"))
    return metrics, bool(blessing.get_int_custom_property("blessed")), blessing


def test_first_run_compares_with_the_preset(tmp_path, examples):
    thresholds = [
        {"metric": "perplexity", "min_improvement": 0.0},
        {"metric": "exact_match", "lower_bound": 0.7, "min_improvement": 0.4},
    ]
    metrics, blessed, blessing = evaluate(tmp_path, examples, thresholds)
    assert blessed
    assert metrics["candidate"]["overall"] == pytest.approx(
        {"perplexity": math.e, "token_accuracy": 0.5, "exact_match": 0.75, "example_count": 4}
    )
    assert metrics["candidate"]["category=a"]["exact_match"] == 0.5
    assert metrics["candidate"]["category=b"]["exact_match"] == 1.0
    assert metrics["baseline"] == metrics["preset"]
    assert metrics["preset"]["overall"]["exact_match"] == 0.25
    assert metrics["preset"]["overall"]["perplexity"] == pytest.approx(math.exp(2))
    assert blessing.get_int_custom_property("current_model_id") == 3
    assert (tmp_path / "blessing" / "BLESSED").is_file()


def test_a_blessed_model_is_the_baseline_and_the_preset_is_still_measured(tmp_path, examples):
    # Better than the preset in both; worse than the blessed model in perplexity.
    metrics, blessed, blessing = evaluate(
        tmp_path, examples, [{"metric": "perplexity", "min_improvement": 0.0}], baseline=(2, "yes", 0.5)
    )
    assert not blessed
    assert metrics["baseline"]["overall"]["perplexity"] == pytest.approx(math.exp(0.5))
    assert metrics["preset"]["overall"]["perplexity"] == pytest.approx(math.exp(2))
    reason = blessing.get_string_custom_property("reason")
    assert "Not blessed: perplexity misses improvement on the baseline >= 0 (is -1.07" in reason
    assert (tmp_path / "blessing" / "NOT_BLESSED").is_file()


def test_a_bound_on_the_whole_does_not_apply_to_a_slice(tmp_path, examples):
    # Slice a reaches 0.5 only.
    _, blessed, _ = evaluate(tmp_path, examples, [{"metric": "exact_match", "lower_bound": 0.7}])
    assert blessed


def test_the_candidate_is_no_baseline_of_itself(tmp_path, examples):
    thresholds = [{"metric": "perplexity", "min_improvement": 1.0}]
    _, blessed, blessing = evaluate(tmp_path, examples, thresholds, baseline=(3, "yes", 1.0))
    assert blessed
    assert blessing.get_int_custom_property("baseline_model_id") == 1


def test_a_blessed_model_of_another_tokenizer_is_no_baseline(tmp_path, examples):
    thresholds = [{"metric": "perplexity", "min_improvement": 0.0}]
    card = {"tokenizer_sha256": "another"}
    metrics, blessed, blessing = evaluate(tmp_path, examples, thresholds, baseline=(2, "yes", 0.5), baseline_card=card)
    # As on a first run: better than the preset.
    assert blessed
    assert blessing.get_int_custom_property("baseline_model_id") == 1
    assert metrics["baseline"] == metrics["preset"]


def test_not_a_number_is_never_blessed(tmp_path, examples):
    thresholds = [{"metric": "perplexity", "upper_bound": 1e9}]
    _, blessed, _ = evaluate(tmp_path, examples, thresholds, candidate=("yes", float("nan")))
    assert not blessed
