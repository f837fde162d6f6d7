import pytest

from components.errors import UserError
from pipeline.specs.conditions import Equality, parse_condition

NAME = "pipelinechannel--runcheck-needed"


@pytest.mark.parametrize(
    "text",
    [
        f"inputs.parameter_values['{NAME}'] == 'true'",
        # As YAML folds a long line.
        f"inputs.parameter_values['{NAME}']  == 'true'",
    ],
)
def test_the_equality_of_a_parameter_and_a_text(text):
    condition = parse_condition(text)
    assert condition == Equality(parameter=NAME, text="true")
    assert condition.is_met({NAME: "true", "other": "false"})
    assert not condition.is_met({NAME: "false"})
    assert not condition.is_met({NAME: "True"})


@pytest.mark.parametrize("text", ["", "a b", "() == __import__"])
def test_any_text_is_compared_as_it_is(text):
    condition = parse_condition(f"inputs.parameter_values['x'] == '{text}'")
    assert condition.is_met({"x": text})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "true",
        "inputs.parameter_values['x'] != 'true'",
        "inputs.parameter_values['x'] == true",
        "int(inputs.parameter_values['x']) > 3",
        "!(inputs.parameter_values['x'] == 'true')",
        "inputs.parameter_values['x'] == 'a' && inputs.parameter_values['y'] == 'b'",
        "inputs.parameter_values['x'] == 'it\\'s'",
        "inputs.parameter_values['x'] == 'a' == 'b'",
        "'true' == inputs.parameter_values['x']",
        "inputs.parameter_values[x] == 'true'",
        "__import__('os').system('true') == 'true'",
    ],
)
def test_any_other_condition_is_refused(text):
    with pytest.raises(UserError, match="must be the equality of a parameter and a text") as caught:
        parse_condition(text)
    assert repr(text) in str(caught.value)


def test_what_is_no_text_is_not_compared():
    with pytest.raises(UserError, match="compares texts; the parameter x is True"):
        parse_condition("inputs.parameter_values['x'] == 'true'").is_met({"x": True})
