"""IFEval's constraints, one by one, and the metrics that rest on them."""

import json

import pytest

from components.errors import UserError
from components.metrics.constraints import IFEVAL, count_sentences, follows
from components.metrics.metric import Prediction

ENGLISH = "This is a plain sentence in the english language about nothing at all"


@pytest.mark.parametrize(
    ("name", "arguments", "good", "bad"),
    [
        ("keywords:existence", {"keywords": ["cat", "dog"]}, "Dog and CAT", "cat"),
        ("keywords:frequency", {"keyword": "a", "relation": "at least", "frequency": 2}, "a A", "a"),
        ("keywords:frequency", {"keyword": "a", "relation": "less than", "frequency": 2}, "a", "a a"),
        ("keywords:forbidden_words", {"forbidden_words": ["cat"]}, "category", "a Cat."),
        ("keywords:letter_frequency", {"letter": "A", "let_relation": "at least", "let_frequency": 2}, "aA", "a"),
        ("language:response_language", {"language": "de"}, "Das ist ein ganz einfacher Satz.", ENGLISH),
        (
            "length_constraints:number_sentences",
            {"relation": "less than", "num_sentences": 3},
            "A b. C d!",
            "Aa. Bb? Cc!",
        ),
        ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb", "a\n\nb"),
        ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb\n***", "a\n***\n***\nb"),
        ("length_constraints:number_words", {"relation": "at least", "num_words": 3}, "it's so", "one two"),
        (
            "length_constraints:nth_paragraph_first_word",
            {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Yes"},
            "a\n\n'yes, b",
            "a\n\nyet b",
        ),
        ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] [b]", "[a]"),
        ("detectable_content:postscript", {"postscript_marker": "P.S."}, "x\np. s. y", "ps y"),
        ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "x\nP.P.S y", "P.S. y"),
        ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n- b", "* a\n** b"),
        ("detectable_format:constrained_response", {}, "My answer is maybe.", "Maybe."),
        ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* *b*", "*a* * *"),
        (
            "detectable_format:multiple_sections",
            {"section_spliter": "Part", "num_sections": 2},
            "Part 1 a Part 2 b",
            "Part 1",
        ),
        ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "{'a': 1}"),
        ("detectable_format:title", {}, "<<A title>>\nb", "<< >>"),
        ("combination:two_responses", {}, "a ****** b", "a ****** a"),
        ("combination:repeat_prompt", {"prompt_to_repeat": "Say Hi"}, "say hi: hi", "hi"),
        ("startend:end_checker", {"end_phrase": "The end."}, 'So. the end."', "The end. So."),
        ("startend:quotation", {}, ' "a" ', '"a'),
        (
            "change_case:capital_word_frequency",
            {"capital_relation": "less than", "capital_frequency": 2},
            "A b",
            "AB CD",
        ),
        ("change_case:english_capital", {}, ENGLISH.upper(), ENGLISH),
        ("change_case:english_lowercase", {}, ENGLISH.lower(), ENGLISH),
        ("punctuation:no_comma", {}, "a b", "a, b"),
        ("contains", {"text": "B"}, "abc", "a"),
        ("lacks", {"text": "B"}, "a", "abc"),
        ("matches", {"pattern": "^a"}, "ab", "ba"),
        ("starts_with", {"text": "a"}, " ab", "ba"),
        ("max_words", {"number": 1}, "a", "a b"),
        ("min_words", {"number": 2}, "a b", "a"),
        ("max_characters", {"number": 2}, "ab", "abc"),
    ],
)
def test_constraint(name, arguments, good, bad):
    assert follows(good, name, arguments)
    assert follows(good, f"en:{name}", arguments) or ":" not in name
    assert not follows(bad, name, arguments)
    assert not follows(" \n", name, arguments)


def test_unknown_constraint_and_missing_arguments():
    with pytest.raises(ValueError, match="must be one of keywords:existence"):
        follows("a", "keywords:exist", {})
    with pytest.raises(ValueError, match="needs other arguments"):
        follows("a", "keywords:existence", {})
    with pytest.raises(ValueError, match="needs other arguments"):
        follows("a", "keywords:forbidden_words", {"forbidden_words": [5]})


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("One", 1),
        ("One. Two? Three!", 3),
        ("Mr. Smith met Dr. Who. They spoke.", 2),
        ("It costs 3.50 today. Fine.", 2),
        ("1. First thing\n2. Second thing", 2),
        ('He said "No." Then he left.', 2),
    ],
)
def test_count_sentences(text, count):
    assert count_sentences(text) == count


def _predict(completion, names, arguments):
    columns = {"instruction_id_list": json.dumps(names), "kwargs": json.dumps(arguments)}
    return Prediction(completion=completion, columns=columns)


def test_ifeval_levels_and_loose(compute):
    predictions = [
        _predict("a b", ["punctuation:no_comma", "startend:quotation"], [{}, {}]),
        _predict("Sure, here it is:\nno comma", ["punctuation:no_comma"], [{"num_words": None}]),
        _predict("", ["punctuation:no_comma"], [None]),
    ]
    assert compute("ifeval", predictions) == pytest.approx(
        {
            "ifeval_prompt_strict": 0,
            "ifeval_prompt_loose": 1 / 3,
            "ifeval_instruction_strict": 1 / 4,
            "ifeval_instruction_loose": 2 / 4,
        }
    )


@pytest.mark.parametrize(
    ("names", "arguments", "message"),
    [
        ("x", [{}], "must hold a list as JSON"),
        (["punctuation:no_comma"], [], "of the same length. Received: 1 and 0"),
        (["punctuation:comma"], [{}], "constraints that are known"),
    ],
)
def test_data_that_ifeval_cannot_read(compute, names, arguments, message):
    with pytest.raises(UserError, match=message):
        compute("ifeval", [_predict("a", names, arguments)])


def test_drfr(compute):
    requirements = [{"check": "contains", "text": "a"}, {"check": "max_words", "number": 1}]
    predictions = [
        Prediction(completion="a b", columns={"requirements": json.dumps(requirements)}),
        Prediction(completion="a", columns={"requirements": json.dumps(requirements[:1])}),
        Prediction(completion="a", columns={"requirements": ""}),
    ]
    assert compute("drfr", predictions) == {"drfr": pytest.approx(2 / 3)}
    with pytest.raises(UserError, match="objects with the key `check`"):
        compute("drfr", [Prediction(completion="a", columns={"requirements": '["contains"]'})])


def test_ifeval_has_all_of_the_25():
    assert len(IFEVAL) == 25


def test_numbers_of_other_types():
    assert not follows("two words", "length_constraints:number_words", {"relation": "at least", "num_words": 300.0})
    assert follows("two words", "length_constraints:number_words", {"relation": "less than", "num_words": 300.0})
    for wanted in ("1", True, None):
        with pytest.raises(ValueError, match="needs other arguments"):
            follows("two words", "length_constraints:number_words", {"relation": "at least", "num_words": wanted})
    with pytest.raises(ValueError, match="must be a name"):
        follows("a", 5, {})


def test_arguments_that_are_no_object(compute):
    with pytest.raises(UserError, match="must hold objects or nulls"):
        compute("ifeval", [_predict("a", ["punctuation:no_comma"], ["x"])])
