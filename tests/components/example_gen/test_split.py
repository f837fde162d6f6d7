import json
import random
import unicodedata
from collections import Counter

import pytest

from components.example_gen.split import SPLITS, assign_split, prompt_key, prompts_needed

SHARES = {"train": 0.8, "eval": 0.1, "test": 0.1}


def key(instruction, input=""):
    return prompt_key({"instruction": instruction, "input": input})


def test_prompts_that_differ_in_case_space_or_form_are_the_same():
    assert key("Straße  \n bauen ") == key("STRASSE bauen") == key(unicodedata.normalize("NFD", "strasse\u00a0bauen"))
    assert key("caf\u00e9") == key("cafe\u0301") == key("\uff23AF\u00c9")  # composed, decomposed, full width
    assert (
        key("a b", "c") == key("a", "b c") == key("a b c")
    )  # several templates write them so that no model could tell
    assert key("a") != key("b")


@pytest.mark.parametrize(
    "character",
    [
        "\u00ad",
        "\u034f",
        "\u180e",
        "\u200b",
        "\u200c",
        "\u200d",
        "\u2060",
        "\u202e",
        "\u3164",
        "\ufe0f",
        "\ufeff",
        "\U000e0020",
        "\x00",
    ],
)
def test_invisible_characters_make_no_prompt_another(character):
    assert key(f"What is{character} 2 + 2?{character}") == key("What is 2 + 2?")


def chat(*turns, default_system=""):
    messages = [dict(zip(("role", "content", "train"), turn, strict=False)) for turn in turns]
    return prompt_key({"messages": json.dumps(messages)}, default_system)


def test_what_a_model_does_not_see_of_a_chat_makes_no_prompt_another():
    first = chat(("user", "Q1"), ("assistant", "A1"))
    assert first == chat(("user", "Q1"), ("assistant", "A1"), ("user", "Q2"), ("assistant", "A2", False))
    assert first == chat(("system", " "), ("user", "Q1"), ("assistant", "A1"))
    with_system = chat(("system", "S"), ("user", "Q1"), ("assistant", "A1"))
    assert first != with_system
    assert with_system == chat(("user", "S\n\nQ1"), ("assistant", "A1"))  # so templates without system turns write it
    assert chat(("user", "a"), ("user", "b"), ("assistant", "A")) == chat(("user", "a\nb"), ("assistant", "A"))
    assert first == key("Q1")


def test_a_system_text_that_says_what_stands_in_for_none_is_none():
    """The rendered prompt is the same."""
    assert chat(("system", "Be  brief."), ("user", "Q"), ("assistant", "A"), default_system="Be brief.\n") == chat(
        ("user", "Q"), ("assistant", "A"), default_system="Be brief.\n"
    )
    assert chat(("system", "Be long."), ("user", "Q"), ("assistant", "A"), default_system="Be brief.") != key("Q")


def test_a_chat_is_keyed_by_the_turns_before_its_last_answer():
    first = chat(("user", "Hi"), ("assistant", "x"))
    assert first == chat(("user", "hi "), ("assistant", "y"))
    assert first != chat(("user", "hi"), ("assistant", "x"), ("user", "z"), ("assistant", "y"))


def test_the_split_is_the_same_everywhere():
    # Written down once: a change here moves records between splits, and old test records into training.
    assert [assign_split(key(f"prompt {i}"), SHARES) for i in range(40)] == [
        {"t": "train", "e": "eval", "s": "test"}[letter] for letter in "etettttttttsttttettttttettttttttttttettt"
    ]


def test_the_split_of_records_with_an_input_is_the_same_everywhere():
    assert [assign_split(key("Add.", f"{i} and 1"), SHARES) for i in range(40)] == [
        {"t": "train", "e": "eval", "s": "test"}[letter] for letter in "ettttttttttettsstttttettttttsttstttttstt"
    ]


def test_shares_are_kept():
    for shares in (SHARES, {"train": 0.5, "eval": 0.3, "test": 0.2}):
        counts = Counter(assign_split(str(i), shares) for i in range(20_000))
        for name in SPLITS:
            assert counts[name] / 20_000 == pytest.approx(shares[name], abs=0.015)


def test_a_larger_training_share_takes_no_record_from_training():
    keys = [str(random.Random(i).random()) for i in range(2000)]
    small = {k for k in keys if assign_split(k, {"train": 0.5, "eval": 0.25, "test": 0.25}) == "train"}
    large = {k for k in keys if assign_split(k, SHARES) == "train"}
    assert small < large


def test_prompts_needed():
    assert prompts_needed(0.1) == 44
    assert (1 - 0.1) ** 44 <= 0.01 < (1 - 0.1) ** 43
