"""Each metric by its formula, on examples that can be checked by eye."""

import json
import math

import numpy as np
import pytest

from components.metrics import sandbox
from components.metrics.metric import Metric, Prediction, Sums
from components.metrics.table import METRICS, find_option_problems, make_metric

# Losses and counts of three examples of different lengths: a mean of means would differ.
SCORED = [
    Prediction(nll_sum=2.0, token_count=1, correct_count=0, byte_count=3),
    Prediction(nll_sum=3.0, token_count=6, correct_count=6, byte_count=10),
    Prediction(nll_sum=0.5, token_count=4, correct_count=1, byte_count=7),
]
# Where programs cannot be shut in, none is run.
TESTED = [name for name in METRICS if name != "pass_at_k" or sandbox.find_problem() is None]
OPTIONS = {
    "regex_match": {"pattern": "a+"},
    "multiple_choice": {"choices": ["a", "bc", "d"]},
    "judge": {"preset": "p"},
    "embedding_similarity": {"preset": "p"},
    "pass_at_k": {"column": "program", "allow_code_execution": True},
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("perplexity", math.exp(5.5 / 11)),
        ("token_accuracy", 7 / 11),
        ("bits_per_byte", 5.5 / math.log(2) / 20),
        ("example_count", 3),
    ],
)
def test_from_losses(compute, name, expected):
    assert compute(name, SCORED) == {name: pytest.approx(expected)}


def test_a_model_that_is_none_has_a_large_but_finite_perplexity(compute):
    value = compute("perplexity", [Prediction(nll_sum=1e6, token_count=1)])["perplexity"]
    assert 1e300 < value < math.inf


@pytest.mark.parametrize(
    ("name", "options", "completion", "reference", "expected"),
    [
        ("exact_match", {}, " yes\n", "yes", {"exact_match": 1}),
        ("exact_match", {}, "Yes", "yes", {"exact_match": 0}),
        ("exact_match", {"ignore_case": True}, "Yes", "yes", {"exact_match": 1}),
        ("exact_match", {}, "", "", {"exact_match": 1}),
        ("squad", {}, "The Cat, sat!", "cat sat", {"squad_exact_match": 1, "squad_f1": 1}),
        ("squad", {}, "a big dog", "dog", {"squad_exact_match": 0, "squad_f1": 2 / 3}),
        ("squad", {}, "dog dog", "dog", {"squad_exact_match": 0, "squad_f1": 2 / 3}),
        ("squad", {}, "", "dog", {"squad_exact_match": 0, "squad_f1": 0}),
        # Version 1.1 of SQuAD knows no empty answers.
        ("squad", {}, "the", "", {"squad_exact_match": 1, "squad_f1": 0}),
        ("number_match", {}, "so 3 * 4\n#### 1,200", "...\n#### 1200", {"number_match": 1}),
        ("number_match", {}, "1200", "#### 1200", {"number_match": 0}),
        ("number_match", {"last_number": True}, "It is 7, no, -1,200.", "#### -1200", {"number_match": 1}),
        ("number_match", {"last_number": True}, "none", "#### 1", {"number_match": 0}),
        ("number_match", {}, "", "", {"number_match": 0}),
        ("json_match", {}, '{"b": [1, 2.0], "a": null}', '{"a":null,"b":[1.0,2]}', {"json_valid": 1, "json_match": 1}),
        ("json_match", {}, "[1, 2]", "[2, 1]", {"json_valid": 1, "json_match": 0}),
        ("json_match", {}, "true", "1", {"json_valid": 1, "json_match": 0}),
        ("json_match", {}, "NaN", "NaN", {"json_valid": 0, "json_match": 0}),
        ("json_match", {}, "{'a': 1}", "{}", {"json_valid": 0, "json_match": 0}),
        ("json_match", {}, "", "", {"json_valid": 0, "json_match": 0}),
        ("json_match", {}, "[" * 100_000, "[]", {"json_valid": 0, "json_match": 0}),
        ("regex_match", {"pattern": r"^\d{4}$"}, "2024", "", {"regex_match": 1}),
        ("regex_match", {"pattern": r"^\d{4}$"}, "in 2024", "", {"regex_match": 0}),
        ("contains_all", {"texts": ["Alpha", "beta"]}, "beta and ALPHA", "", {"contains_all": 1}),
        ("contains_all", {"texts": ["Alpha"], "ignore_case": False}, "alpha", "", {"contains_all": 0}),
        ("contains_all", {}, "It is Paris.", "paris", {"contains_all": 1}),
        ("contains_all", {}, "", "paris", {"contains_all": 0}),
        ("fuzzy_match", {}, "kitten", "sitting", {"fuzzy_match": 1 - 3 / 7}),
        ("fuzzy_match", {}, "", "", {"fuzzy_match": 1}),
        ("fuzzy_match", {}, "", "abc", {"fuzzy_match": 0}),
        ("length_ratio", {}, "one two three", "one two", {"length_ratio": 1.5}),
        (
            "repetition",
            {"size": 2},
            "a b a b a",
            "",
            {"distinct_1": 2 / 5, "distinct_2": 2 / 4, "repetition_rate": 2 / 4},
        ),
        ("rouge", {}, "the cat sat", "the cat ran", {"rouge_1": 2 / 3, "rouge_2": 1 / 2, "rouge_l": 2 / 3}),
        ("rouge", {}, "", "the cat", {"rouge_1": 0, "rouge_2": 0, "rouge_l": 0}),
        ("rouge", {"use_stemmer": True}, "cats", "cat", {"rouge_1": 1, "rouge_2": 0, "rouge_l": 1}),
        ("bleu", {}, "the cat sat on the mat", "the cat sat on the mat", {"bleu": 100}),
        ("bleu", {}, "", "the cat", {"bleu": 0}),
        ("chrf", {}, "the cat", "the cat", {"chrf": 100}),
        ("chrf", {}, "", "the cat", {"chrf": 0}),
    ],
)
def test_one_pair(compute, pair, name, options, completion, reference, expected):
    assert compute(name, [pair(completion, reference)], **options) == pytest.approx(expected)


def test_classification(compute, pair):
    pairs = [("Cat ", "cat"), ("cat", "dog"), ("dog", "dog"), ("no idea", "dog")]
    values = compute("classification", [pair(*p) for p in pairs], labels=["cat", "dog", "cow"])
    expected = {
        "accuracy": 2 / 4,
        "precision[cat]": 1 / 2,
        "recall[cat]": 1,
        "f1[cat]": 2 / 3,
        "precision[dog]": 1,
        "recall[dog]": 1 / 3,
        "f1[dog]": 1 / 2,
        "precision[cow]": 0,
        "recall[cow]": 0,
        "f1[cow]": 0,
        "macro_precision": 1.5 / 3,
        "macro_recall": (4 / 3) / 3,
        "macro_f1": (7 / 6) / 3,
        "confusion[cat -> cat]": 1,
        "confusion[dog -> cat]": 1,
        "confusion[dog -> dog]": 1,
        "confusion[dog -> (no label)]": 1,
    }
    assert values == pytest.approx(expected)


def test_values_have_the_names_that_a_threshold_may_name(pair):
    for name in TESTED:
        metric = make_metric(name, OPTIONS.get(name, {}))
        sums = Sums(1)
        for key, number in metric.count(pair("a b c", "a b d")).items():
            sums[key] = np.array([number])
        values = metric.finish(sums)
        assert set(metric.directions()) <= set(values), name
        assert all(value.shape == (1,) for value in values.values()), name


def test_over_no_examples_there_is_no_value(compute):
    for name in TESTED:
        for value in compute(name, [], **OPTIONS.get(name, {})).values():
            assert math.isnan(value) or name == "example_count", name


def test_resamples_are_computed_as_if_alone(pair):
    pairs = [pair("a b c d", "a b c e"), pair("b c", "b c d f"), pair("x", "a")]
    draws = np.array([[1, 1, 1], [2, 0, 1], [0, 3, 1]])  # (resamples, examples)
    for name in TESTED:
        metric = make_metric(name, OPTIONS.get(name, {}))
        together, alone = Sums(len(draws)), [Sums(1) for _ in draws]
        for column, prediction in enumerate(pairs):
            for key, number in metric.count(prediction).items():
                together[key] = together[key] + number * draws[:, column]
                for row, sums in enumerate(alone):
                    sums[key] = sums[key] + number * draws[row, column]
        values = metric.finish(together)
        for row, sums in enumerate(alone):
            for key, number in metric.finish(sums).items():
                np.testing.assert_allclose(values[key][row], number[0], err_msg=f"{name} {key}")


def test_options_are_checked():
    assert find_option_problems("rogue", {})["name"].startswith("unknown metric. Did you mean `rouge`? Metrics: ")
    for name, option in (("exact_match", "ignore_case"), ("rouge", "use_stemmer"), ("number_match", "last_number")):
        for value in ("false", 0, None):
            assert find_option_problems(name, {option: value})[option].startswith(f"`{option}` must be true or false.")
        assert find_option_problems(name, {option: True}) == {}
    assert find_option_problems("bleu", {"tokenize": "14a"})["tokenize"].startswith("`tokenize` must be one of")
    assert "regular expression" in find_option_problems("regex_match", {"pattern": "("})["pattern"]
    assert find_option_problems("regex_match", {}) == {"pattern": "`regex_match` needs it. Options: pattern."}
    assert find_option_problems("classification", {"labels": ["a", "A "]}).keys() == {"labels"}
    assert find_option_problems("perplexity", {"x": 1}) == {"x": "unknown option of `perplexity`. It has no options."}


def test_every_metric_says_what_it_is():
    for name, metric in METRICS.items():
        assert issubclass(metric, Metric), name
        # A dataclass without a docstring is given its signature.
        assert not metric.__doc__.startswith(f"{metric.__name__}("), name


def test_json_that_is_nested_deeply_is_no_crash(compute, pair):
    depth = next(depth for depth in range(1000, 0, -10) if is_readable("[" * depth + "]" * depth))
    text = "[" * depth + "]" * depth
    assert compute("json_match", [pair(text, text)])["json_valid"] == 1


def is_readable(text):
    try:
        return json.loads(text) is not None
    except RecursionError:
        return False
