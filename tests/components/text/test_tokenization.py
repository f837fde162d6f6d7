"""Tokenization with a tokenizer that can be checked by eye: one id a character, and `<end>` as a special token."""

import json
import re

import pytest

from components.text.record_cleaning import Cleaner
from components.text.tokenization import RecordTokenizer, neutralize, truncate

END = 0


class CharacterTokenizer:
    end_token_id = END
    special_tokens = ("<end>",)

    def __call__(self, text):
        return [END if piece == "<end>" else ord(piece) for piece in re.findall(r"<end>|.", text, re.DOTALL)]


class WithStart(CharacterTokenizer):
    start_token_id = 1


def tokenize(record, tokenizer=None, max_length=100, template="plain", system="", cleaning="normalize"):
    return RecordTokenizer(tokenizer or CharacterTokenizer(), template, system, max_length, cleaning=cleaning)(record)


def ids(text):
    return [ord(c) for c in text]


def test_prompt_response_end():
    result = tokenize({"instruction": "ab", "input": "c", "output": "xy"})
    assert result.token_ids == [*ids("ab\nc\nxy"), END]
    assert result.target_mask == [0, 0, 0, 0, 0, 1, 1, 1]
    assert (result.prompt, result.response) == ("ab\nc\n", "xy")


def test_a_start_token_is_put_first_and_is_no_target():
    result = tokenize({"instruction": "a", "output": "x"}, WithStart())
    assert result.token_ids == [1, *ids("a\nx"), END]
    assert result.target_mask == [0, 0, 0, 1, 1]


def test_text_is_cleaned():
    result = tokenize({"instruction": " a\u200b ", "output": "x\r\ny "})
    assert (result.prompt, result.response) == ("a\n", "x\ny")


@pytest.mark.parametrize(
    ("record", "prompt", "response"),
    [
        ({"instruction": "f", "output": "    y = x + 1\n    return y\n"}, "f\n", "    y = x + 1\n    return y"),
        ({"instruction": "f", "output": " context\n-old"}, "f\n", " context\n-old"),
        ({"instruction": "a\n\n\n    b  \n", "output": "x  \ny\n\n\nz"}, "a\n\n\n    b\n", "x  \ny\n\n\nz"),
        ({"instruction": "a", "output": "x<end> \n"}, "a\n", "x"),
    ],
)
def test_what_means_something_in_code_and_markdown_stays(record, prompt, response):
    result = tokenize(record, cleaning="safe")
    assert (result.prompt, result.response) == (prompt, response)
    assert result.token_ids == [*ids(prompt + response), END]


@pytest.mark.parametrize("cleaning", ["none", "safe", "normalize"])
@pytest.mark.parametrize("as_chat", [False, True])
@pytest.mark.parametrize(
    ("instruction", "output", "text"),
    [
        ("The sky is", " blue.", "The sky is blue."),
        ("The sky is ", "blue.", "The sky is blue."),
        ("Q: a\nA:", "\n\nyes", "Q: a\nA:\n\nyes"),
        ("def f():\n", "    pass", "def f():\n    pass"),
    ],
)
def test_where_nothing_stands_between_prompt_and_answer_their_joint_stays(instruction, output, text, cleaning, as_chat):
    record = {"instruction": instruction, "output": output}
    if as_chat:
        turns = [{"role": "user", "content": instruction}, {"role": "assistant", "content": output}]
        record = {"messages": json.dumps(turns)}
    result = tokenize(record, template="text", cleaning=cleaning)
    assert result.prompt + result.response == text
    # Of a longer conversation it is the same.
    if as_chat:
        more = [
            turns[0],
            turns[1] | {"train": False},
            {"role": "user", "content": "More "},
            {"role": "assistant", "content": "of it"},
        ]
        result = tokenize({"messages": json.dumps(more)}, template="text", cleaning=cleaning)
        assert result.prompt + result.response == f"{text}\nMore of it"


@pytest.mark.parametrize("template", ["chat", "text"])
def test_a_system_turn_without_text_is_none(template):
    turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
    records = [{"messages": json.dumps([*first, *turns])} for first in ([], [{"role": "system", "content": " "}])]
    with_turn, without = (tokenize(record, template=template, system="Be brief.") for record in records)
    assert with_turn.prompt == without.prompt
    assert with_turn.prompt.startswith("Be brief.")


def test_what_cleaning_changes_is_told():
    result = tokenize({"instruction": "a\r\nb", "input": "c\r\n", "output": "x\x00"}, cleaning="safe")
    assert result.changes == {
        "line ends of other systems": ("a\r\nb", "a\nb"),
        "blanks behind the text": ("c\r\n", "c"),
        "control characters": ("x\x00", "x"),
    }
    trailing = tokenize({"instruction": "a", "output": "x <end> \n"}, cleaning="safe")
    assert (trailing.response, list(trailing.changes)) == (
        "x",
        ["blanks behind the text", "end tokens behind an answer"],
    )
    untouched = tokenize({"instruction": " a\r\n", "output": "\tx\x00 "}, cleaning="none")
    assert (untouched.prompt, untouched.response, untouched.changes) == (" a\r\n\n", "\tx\x00 ", {})


@pytest.mark.parametrize("tokens", [("<end>", "<|im_end|>"), ("<|im_end|>", "<end>"), ("<end>", "d>", "<|im_end|>")])
def test_all_end_tokens_behind_an_answer_go(tokens):
    """In whatever order they are known, which sets do not keep from process to process."""
    cleaner = Cleaner(["<end>", "<|im_end|>"], tokens, "safe")
    assert cleaner.clean_answer("Hi.<|im_end|>\n<end> ") == "Hi."
    assert (cleaner.neutralized, cleaner.changes["end tokens behind an answer"][1]) == (0, "Hi.")
    assert cleaner.clean_answer("Hi.") == "Hi."


@pytest.mark.parametrize("key", ["reasoning_content", "thinking", "reasoning"])
@pytest.mark.parametrize("template", ["plain", "alpaca"])
def test_reasoning_that_a_template_leaves_out_is_told(template, key):
    turns = [{"role": "user", "content": "6*7?"}, {"role": "assistant", "content": "42", key: "\n6*7"}]
    result = tokenize({"messages": json.dumps(turns)}, template=template)
    assert (result.response, result.changes["reasoning that the template leaves out"]) == ("42", ("6*7", ""))
    turns[1][key] = " "
    assert "reasoning that the template leaves out" not in tokenize({"messages": json.dumps(turns)}).changes


def test_special_tokens_in_text_do_not_end_it():
    result = tokenize({"instruction": "say <end>", "output": "a<end>b<end>"})
    assert END not in result.token_ids[:-1]
    assert result.token_ids[-1] == END
    # The last one only closes the answer, as some data sets write it.
    assert result.response == "a< end>b"
    assert result.neutralized == 2


def test_messages():
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "r<end>"}]
    result = tokenize({"messages": json.dumps(messages), "instruction": "q", "output": "r"}, template="chat")
    assert (result.prompt, result.response) == ("User: q\nAssistant:\n", "r")


def test_nothing_left_of_the_response():
    assert tokenize({"instruction": "a", "output": "\u200b \n"}) is None


@pytest.mark.parametrize(
    ("prompt", "response", "max_length", "expected"),
    [
        ("abcd", "xy", 6, ("abcd", "xy")),
        ("abcd", "xy", 5, ("bcd", "xy")),  # the prompt loses its beginning
        ("abcd", "uvwxyz", 6, ("bcd", "uvw")),  # both too long: half each
        ("ab", "uvwxyz", 6, ("ab", "uvwx")),  # a short prompt leaves its share
        ("abcdef", "x", 4, ("def", "x")),
    ],
)
def test_truncate(prompt, response, max_length, expected):
    assert truncate(prompt, response, max_length) == tuple(list(part) for part in expected)


def test_truncation_keeps_the_start_token_and_counts():
    result = tokenize({"instruction": "abcdef", "output": "xyz"}, WithStart(), max_length=8)
    # 1 a b c d e f \n | x y z END = 12 tokens
    assert result.token_ids == [1, *ids("ef\n"), *ids("xyz"), END]
    assert (result.prompt_tokens_cut, result.response_tokens_cut) == (4, 0)
    assert len(result.token_ids) == len(result.target_mask) == 8


def test_a_special_token_of_one_character_is_none_either():
    assert neutralize("a|b||", ["|", "<end>"]) == ("a b  ", 3)


def test_neutralize_cannot_be_tricked_into_making_a_special_token():
    text, count = neutralize("<e<end>nd>", ["<end>"])
    assert "<end>" not in text
    assert count == 1
