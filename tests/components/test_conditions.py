import pytest

from components.conditions import Condition


@pytest.mark.parametrize(
    ("text", "value", "fits"),
    [
        ("reward=1.0", 1, True),
        ("reward=1.0", "1", True),
        ("reward == 1", 0.0, False),
        ("reward>=0.5", "0.75", True),
        ("reward>=0.5", "often", False),
        ("reward!=0.5", "N/A", True),
        ("toxicity<0.5", "", False),
        ("toxicity<0.5", " ", False),
        ("label>0", True, True),
        ("label>0", False, False),
        ("label=1.0", True, True),
        ("is_bad!=true", "True", False),
        ("is_bad!=true", "False", True),
        ("is_bad=true", 1, True),
        ("is_bad=true", 2, False),
        ("is_bad=yes", "TRUE", True),
        ("kind>a", "b", True),
        ("reward>=often", 0.75, False),
        ("reward!=often", 0.75, True),
        ("kind=math", "math", True),
        ("kind=math", "Math", False),
        ("kind~AT", "math", True),
        ("kind~4", 1.4, True),
        ("kind!=math", None, True),
        ("kind=math", None, False),
        ("flag=yes", True, True),
        ("flag=1", False, False),
        ("flag!=true", False, True),
        ("text='a b'", "a b", True),
        ("a.b.0=x", "x", True),
        ("x=nan", "nan", True),
        ("is_bad!=true", "t", False),
        ("is_bad!=true", "F", True),
        ("is_bad=no", "off", True),
        ("kind=t", "t", True),
        ("label=f", "0", False),
        ("label!=n", "0", True),
        ("score<1", "n", False),
        ("flag=t", True, True),
        ("kind=t", "y", False),
        ("kind=on", "off", False),
        ("id!=9007199254740993", 9007199254740992, True),
        ("id=1234567890123456789", "1234567890123456788", False),
        ("id=1e3", "1000", True),
        ("x<1", 10**400, False),
        ("text='=x'", "=x", True),
        ("x=inf", float("inf"), True),
    ],
)
def test_values_are_compared(text, value, fits):
    assert Condition.parse(text).fits(value) is fits


@pytest.mark.parametrize("text", ["", "reward", "=1", "reward=", "reward 1", "1a=2"])
def test_what_is_no_condition_is_refused(text):
    with pytest.raises(ValueError, match="must be a key, a comparison"):
        Condition.parse(text)


@pytest.mark.parametrize("text", ["score=>0.5", "score=<1", "score===1", "lang<>fr", "lang~=fr", "lang!=!fr"])
def test_comparisons_of_other_languages_are_refused(text):
    with pytest.raises(ValueError, match="must have one of the comparisons"):
        Condition.parse(text)


def test_a_condition_is_written_as_it_was_read():
    assert str(Condition.parse(" a.b >= 3 ")) == "a.b>=3"
    for key in ("is bad", "1st", "größe"):
        condition = Condition.parse(f"`{key}` != 'x y'")
        assert (condition.key, condition.symbol, condition.text) == (key, "!=", "x y")
        assert Condition.parse(str(condition)) == condition
    assert str(Condition.parse("größe>1")) == "größe>1"
    assert Condition.parse(str(Condition.parse("a='=b'"))).text == "=b"
