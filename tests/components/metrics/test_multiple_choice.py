"""Multiple choice from the losses of the choices."""

import math

import pytest

from components.metrics.metric import Prediction
from components.metrics.table import find_option_problems

CHOICES = ("a", "bcd", "efghij")


def _predict(losses, *answers):
    return Prediction(choices=CHOICES, choice_nlls=losses, choice_answers=answers)


def test_accuracies_and_mass(compute):
    predictions = [
        _predict((1.0, 2.0, 3.0), 0),  # a: by loss; efghij: by loss a character (1, 2/3, 1/2)
        _predict((2.0, 1.0, 3.0), 2),  # bcd; bcd (2, 1/3, 1/2)
        _predict((1.0, 1.0, 9.0), 1),  # a, the first of equals; bcd
        _predict((3.0, 2.0, 1.0), 1, 2),  # any right one
    ]
    masses = []
    for prediction in predictions:
        weights = [math.exp(-loss) for loss in prediction.choice_nlls]
        masses.append(sum(weights[i] for i in prediction.choice_answers) / sum(weights))
    assert compute("multiple_choice", predictions, choices=list(CHOICES)) == {
        "choice_accuracy": pytest.approx(2 / 4),
        "choice_accuracy_norm": pytest.approx(2 / 4),
        "choice_mass": pytest.approx(sum(masses) / 4),
    }


def test_losses_that_no_probability_can_hold(compute):
    value = compute("multiple_choice", [_predict((2000.0, 2001.0, 9000.0), 0)], choices=list(CHOICES))
    assert value["choice_mass"] == pytest.approx(1 / (1 + math.exp(-1)))


def test_reference_that_is_no_choice_is_answered_wrong(compute):
    assert set(compute("multiple_choice", [_predict((1.0, 2.0, 3.0))], column="options").values()) == {0.0}


@pytest.mark.parametrize(
    ("options", "key", "part"),
    [
        ({}, "name", "needs either `choices` or `column`"),
        ({"choices": ["a", "b"], "column": "x"}, "name", "needs either"),
        ({"choices": ["a", "a"]}, "choices", "all different"),
        ({"choices": ["a"]}, "choices", "at least two"),
        ({"column": ""}, "column", "name of a column"),
        ({"column": "x", "end_token": 1}, "end_token", "true or false"),
    ],
)
def test_options_are_checked(options, key, part):
    found = find_option_problems("multiple_choice", options)
    assert list(found) == [key]
    assert part in found[key]


def test_loss_that_is_no_number_is_no_choice(compute):
    values = compute("multiple_choice", [_predict((math.nan,) * 3, 0)], choices=list(CHOICES))
    assert all(map(math.isnan, values.values()))
