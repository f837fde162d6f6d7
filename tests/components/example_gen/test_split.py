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
    assert key("a b", "c") != key("a", "b c")
    assert key("a") != key("b")


def test_a_chat_is_keyed_by_all_turns_but_the_last():
    def chat(*turns):
        return prompt_key({"messages": json.dumps([{"role": r, "content": c} for r, c in turns])})

    first = chat(("user", "Hi"), ("assistant", "x"))
    assert first == chat(("user", "hi "), ("assistant", "y"))
    assert first != chat(("user", "hi"), ("assistant", "x"), ("user", "z"), ("assistant", "y"))
    assert first != chat(("system", "hi"), ("assistant", "x"))


def test_the_split_is_the_same_everywhere():
    # Written down once: a change here moves records between splits, and old test records into training.
    assert [assign_split(key(f"prompt {i}"), SHARES) for i in range(40)] == [
        {"t": "train", "e": "eval", "s": "test"}[letter] for letter in "etettttttttsttttettttttettttttttttttettt"
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
