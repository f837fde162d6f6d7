import datetime
import json

import pytest

from components.example_gen.item import BadRecordError
from components.example_gen.json_text import parse_object
from components.example_gen.records import MISSING, Columns, get_column, make_example, make_messages
from components.text.conversation import parse_conversation

COLUMNS = Columns(instruction="q", input="c", output="a")


def test_a_record_becomes_text_features():
    example = make_example({"q": " x ", "a": "y"}, COLUMNS, "f.jsonl")
    assert example == {
        "instruction": " x ",
        "input": "",
        "output": "y",
        "source": "f.jsonl",
        "example_id": example["example_id"],
    }
    assert len(example["example_id"]) == 32
    assert make_example({"q": "x", "a": "y", "c": None}, COLUMNS, "f")["input"] == ""


def test_example_id_is_stable_and_depends_on_source_and_content():
    ids = [
        make_example(record, COLUMNS, source)["example_id"]
        for record, source in [
            ({"q": "x", "a": "y"}, "f"),
            ({"q": "x", "a": "y"}, "g"),
            ({"q": "x", "a": "z"}, "f"),
            ({"q": "x", "c": "y", "a": "y"}, "f"),
        ]
    ]
    assert len(set(ids)) == 4
    # Written down once: a change here makes every example a new one.
    assert (
        ids[0]
        == make_example({"q": "x", "a": "y", "z": 1}, COLUMNS, "f")["example_id"]
        == "1753f60c10e59a2818d0fc4d793716fa"
    )


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"a": "y"}, "`q` is missing"),
        ({"q": None, "a": "y"}, "`q` is missing: null"),
        ({"q": " \n", "a": "y"}, "`q` is empty"),
        ({"q": "x", "a": ""}, "`a` is empty"),
        ({"q": ["x"], "a": "y"}, "`q` has the wrong type: `q` must be text, is a list"),
        ({"q": "x", "a": "y", "c": {}}, "`c` has the wrong type: `c` must be text, is an object"),
        (
            {"q": "x\udc80", "a": "y"},
            "half of a surrogate pair, which is no character: `q` holds U+DC80 at character 2",
        ),
    ],
)
def test_a_record_that_does_not_fit_says_why(record, reason):
    with pytest.raises(BadRecordError) as error:
        make_example(record, COLUMNS, "f")
    assert str(error.value) == reason


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (-7, "-7"), (1.5, "1.5"), (True, "true"), (False, "false")])
def test_labels_that_are_numbers_or_truth_values_become_text(value, text):
    example = make_example({"q": "x", "a": value}, COLUMNS, "f")
    assert example["output"] == text
    assert make_example({"q": value, "a": "x"}, COLUMNS, "f")["instruction"] == text


def test_slice_columns_become_text():
    columns = Columns(instruction="q", output="a", slices=("s", "t", "u", "v", "m.k"))
    example = make_example({"q": "x", "a": "y", "s": 1, "t": True, "u": None, "m": {"k": "w"}}, columns, "f")
    assert [example[name] for name in columns.slices] == ["1", "true", "", "", "w"]
    with pytest.raises(BadRecordError, match="`s` must be text, is a list"):
        make_example({"q": "x", "a": "y", "s": [1]}, columns, "f")


def test_dotted_columns_reach_into_objects_and_lists():
    record = {"a": [{"b": "x"}], "a.0": "literal", "n": {"0": "key"}}
    assert get_column(record, "a.0.b") == "x"
    assert get_column(record, "a.0") == "literal"
    assert get_column(record, "n.0") == "key"
    for missing in ("a.1.b", "a.-1.b", "a.²", "a.b", "n.0.x", "z"):
        assert get_column(record, missing) is MISSING


def make_nested(levels):
    value = {}
    for _ in range(levels):
        value = {"a": value}
    return value


TURNS = [{"role": "system", "content": ""}, {"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]


@pytest.mark.parametrize(
    "value",
    [
        TURNS,
        [{"from": "system", "value": ""}, {"from": "human", "value": "hi"}, {"from": "gpt", "value": "yes"}],
        json.dumps(TURNS),
        [{**turn, "weight": 1, "tool_calls": None} for turn in TURNS],
    ],
)
def test_conversations_are_normalised(value):
    assert make_messages(value) == TURNS


def test_a_chat_has_first_user_turn_and_last_answer_as_text():
    more = [*TURNS, {"role": "user", "content": "ü?"}, {"role": "assistant", "content": "no"}]
    example = make_example({"m": more}, Columns(messages="m"), "f")
    assert (example["instruction"], example["input"], example["output"]) == ("hi", "", "no")
    assert json.loads(example["messages"]) == more
    assert "ü" in example["messages"] and ": " not in example["messages"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "messages are missing"),
        (MISSING, "messages are missing"),
        ({}, "messages have the wrong type"),
        ("[", "messages are text that is not JSON: "),
        ("[{}, ", "messages are text that is not JSON: "),
        ("\n", "messages are missing"),
        ("[{'role': 'user'}]", "messages are text that is not JSON: "),
        ([], "the conversation has no turns"),
        ([TURNS[0]], "the conversation has no turns"),
        (["x"], "a turn has the wrong type: turn 1 must be an object, is text"),
        ([{"content": "x"}], "a turn has no role: turn 1 has the keys content"),
        (
            [TURNS[1], {"role": "narrator", "content": "x"}],
            "a role is not one of system, user, assistant, tool: turn 2 has role 'narrator'",
        ),
        (
            [TURNS[1], {"from": "function", "value": "x"}],
            "the conversation does not end with an assistant turn: ends with tool",
        ),
        (TURNS[:2], "the conversation does not end with an assistant turn: ends with user"),
        (TURNS[2:], "the conversation does not start with a user turn: starts with assistant"),
        ([*TURNS[1:], TURNS[0], *TURNS[1:]], "a system turn stands after the first turn"),
        ([TURNS[1], {"role": "assistant", "content": ""}], "a turn is empty: content of turn 2"),
        (
            [TURNS[1], {"role": "assistant", "content": None}],
            "a turn has the wrong type: content of turn 2 must be text, is null",
        ),
        (
            [TURNS[1], {"role": "assistant", "content": "x", "function_call": {"name": "f", "arguments": "{"}}],
            "a tool call has no name, or arguments that are no JSON object: turn 2",
        ),
        (
            [{"role": "user", "content": "x", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}],
            "a turn of another than the assistant calls a tool: turn 1",
        ),
        (
            [{"role": "user", "content": [{"type": "image_url"}]}],
            "a turn has a part that is not text: turn 1: 'image_url'",
        ),
        ([TURNS[1], {"role": "assistant", "text": "x"}], "a turn has no content: turn 2 has the keys role, text"),
        (
            [{"role": "user", "content": [{"type": "text", "content": "x"}]}],
            "a part of text has no text: turn 1: its keys are type, content",
        ),
        (
            [TURNS[1], {**TURNS[2], "tool_calls": [{"function": {"name": "f", "parms": {"x": 1}}}]}],
            "a tool call has no name, or arguments that are no JSON object: turn 2",
        ),
        ([TURNS[1], {**TURNS[2], "loss": "false"}], "no turn of the assistant is to be trained"),
        ([TURNS[1], {**TURNS[2], "thinking": {"a": 1}}], "a turn has the wrong type: thinking of turn 2 must be text"),
        (
            [TURNS[1], {**TURNS[2], "thinking": [1]}],
            "a turn has a part that is not text: thinking of turn 2: 'a number'",
        ),
        (
            [TURNS[1], TURNS[2], {"role": "tool", "output": "42"}, TURNS[2]],
            "a turn has no content: turn 3 has the keys",
        ),
        ([{"role": "system", "text": "S"}, *TURNS[1:]], "a turn has no content: turn 1 has the keys role, text"),
        ('[{"role": "user", "role": "x"}]', "messages: a key stands twice"),
        (
            [TURNS[1], {**TURNS[2], "tool_calls": [{"name": "f", "arguments": make_nested(200)}]}],
            "a value is nested too deeply: turn 2: more than 100 levels",
        ),
        ([TURNS[1], {**TURNS[2], "weight": 0}], "no turn of the assistant is to be trained"),
        ([TURNS[1], {**TURNS[2], "train": False}], "no turn of the assistant is to be trained"),
        ([TURNS[1], {**TURNS[2], "weight": 0.5}], "a turn's weight is neither 0 nor 1: turn 2 has weight 0.5"),
        ([TURNS[1], {**TURNS[2], "train": "no"}], "a turn's `train` is no boolean: turn 2 has train 'no'"),
        ([TURNS[1], {**TURNS[2], "loss": False}], "no turn of the assistant is to be trained"),
        ([TURNS[1], {**TURNS[2], "training": 0}], "no turn of the assistant is to be trained"),
        ([TURNS[1], {**TURNS[2], "weight": False}], "no turn of the assistant is to be trained"),
        ([TURNS[1], {**TURNS[2], "weight": "0"}], "no turn of the assistant is to be trained"),
        ([TURNS[1], {**TURNS[2], "weight": [0]}], "a turn's weight is neither 0 nor 1: turn 2 has weight [0]"),
        (
            [TURNS[1], {**TURNS[2], "tool_calls": [{"name": "f", "arguments": {"when": datetime.date(2026, 1, 2)}}]}],
            "a value cannot be JSON: turn 2: Object of type date",
        ),
        (
            [TURNS[1], {**TURNS[2], "tool_calls": [{"arguments": datetime.date(2026, 1, 2)}]}],
            "a tool call has no name, or arguments that are no JSON object: turn 2",
        ),
    ],
)
def test_a_conversation_that_does_not_fit_says_why(value, reason):
    with pytest.raises(BadRecordError) as error:
        make_messages(value)
    assert str(error.value).startswith(reason)


CALL = {"type": "function", "function": {"name": "f", "arguments": {"a": "ü"}}}


@pytest.mark.parametrize(
    "turns",
    [
        # LangChain's, Anthropic's.
        [
            {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "args": {"a": "ü"}}]},
            {"role": "tool", "content": "7"},
        ],
        [
            {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "input": {"a": "ü"}}}]},
            {"role": "tool", "content": ["7"]},
        ],
        # OpenAI's newer form, its older one, and ShareGPT's.
        [
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "content": "7"},
        ],
        [
            {"role": "assistant", "content": "", "function_call": {"name": "f", "arguments": '{"a": "\\u00fc"}'}},
            {"role": "function", "content": "7"},
        ],
        [
            {"from": "function_call", "value": '{"name": "f", "arguments": {"a": "ü"}}'},
            {"from": "observation", "value": "7"},
        ],
    ],
)
def test_calls_of_tools_become_one_form(turns):
    messages = make_messages([TURNS[1], *turns, TURNS[2]])
    expected = [{"role": "assistant", "content": "", "tool_calls": [CALL]}, {"role": "tool", "content": "7"}]
    assert messages == [TURNS[1], *expected, TURNS[2]]


def test_roles_have_other_names():
    value = [
        {"role": "developer", "content": "S"},
        {"role": "User", "content": "Q"},
        {"role": "ASSISTANT", "content": "A"},
    ]
    assert [turn["role"] for turn in make_messages(value)] == ["system", "user", "assistant"]
    # What is no call by name is an answer like any other.
    for text in ("{}", '{"name": "Bob", "age": 3}'):
        value = [{"from": "human", "value": "Q"}, {"from": "function_call", "value": text}, *TURNS[1:]]
        assert make_messages(value)[1] == {"role": "assistant", "content": text}


@pytest.mark.parametrize("as_text", [False, True])
def test_keys_of_turns_that_nobody_reads_are_listed(ingest, write, as_text):
    turns = [{"from": "human", "value": "Q", "mask": None}, {"from": "gpt", "value": "A", "mask": True}]
    record = {"m": json.dumps(turns) if as_text else turns}
    outcome = ingest(write("a.jsonl", json.dumps(record)), columns={"messages": "m"})
    assert outcome.file_reports[0]["keys_unused"] == ["m[].mask"]


def test_turns_beside_those_that_are_named_are_listed(ingest, write):
    turns = [{"value": "S"}, {"value": "Q"}, {"value": "A"}, {"value": "Q2"}]
    columns = {"instruction": "c.1.value", "output": "c.2.value"}
    outcome = ingest(write("a.jsonl", json.dumps({"c": turns})), columns=columns)
    assert outcome.file_reports[0]["keys_unused"] == ["c.0", "c.3"]


def test_a_system_text_that_stands_in_for_none_decides_with_where_a_conversation_goes(ingest, write):
    """Rendered, all of these are the same prompt."""
    chats = [
        [*first, TURNS[1], {"role": "assistant", "content": str(i)}] for i in range(50) for first in ([], [SYSTEM])
    ]
    path = write("a.jsonl", "".join(json.dumps({"m": chat}) + "\n" for chat in chats))
    columns = {"messages": "m", "default_system": SYSTEM["content"]}
    found = [len(examples) for examples in ingest(path, columns=columns).examples.values()]
    assert sorted(found) == [0, 0, 100]


SYSTEM = {"role": "system", "content": "Be brief."}


def test_nothing_is_said_by_null_where_nothing_may_be_said():
    value = [
        {"from": "system", "value": None},
        TURNS[1],
        {"role": "assistant", "content": "x"},
        {"role": "tool", "content": None},
        TURNS[2],
    ]
    assert [turn["content"] for turn in make_messages(value)] == ["", "hi", "x", "", "yes"]


def test_reasoning_may_be_parts():
    parts = ["a", {"type": "text", "text": "b"}, {"type": "thinking", "thinking": "c"}]
    value = [TURNS[1], {**TURNS[2], "reasoning_content": parts, "tool_call_id": 7}]
    assert make_messages(value)[1] == {**TURNS[2], "reasoning_content": "abc", "tool_call_id": "7"}
    for nothing in (None, False, True, 0.5, {}, {"content": None}):
        assert make_messages([TURNS[1], {**TURNS[2], "thinking": nothing}])[1] == TURNS[2]


@pytest.mark.parametrize(
    "more",
    [
        {"arguments": None, "strict": False},
        {"parsed_arguments": None},
        {"parameters": []},
        {"index": 0, "type": "function"},
        {"arguments": "", "thought_signature": "x"},
    ],
)
def test_a_call_without_arguments_may_say_more(more):
    value = [
        TURNS[1],
        {"role": "assistant", "content": "", "tool_calls": [{"id": 7, "function": {"name": "f"} | more}]},
    ]
    assert make_messages(value)[1]["tool_calls"] == [
        {"id": "7", "type": "function", "function": {"name": "f", "arguments": {}}}
    ]


@pytest.mark.parametrize(
    "value",
    [
        [{"role": "user", "content": ["Hi", " there"]}, TURNS[2]],
        [{"role": "user", "content": [{"type": "input_text", "text": "Hi there"}]}, TURNS[2]],
        [{"role": "user", "content": [{"type": None, "text": "Hi"}, {"text": " there"}]}, TURNS[2]],
        [{"from": "human", "content": "Hi there"}, {"role": "assistant", "value": TURNS[2]["content"]}],
        [
            {"role": None, "content": None, "from": "human", "value": "Hi there"},
            {**TURNS[2], "from": None, "value": None},
        ],
        [{"from": "prompter", "value": "Hi there"}, {**TURNS[2], "role": "model"}],
        [{"role": "user", "content": "Hi there"}, {**TURNS[2], "train": None, "loss": 1, "weight": "1"}],
        [{"role": "user ", "content": "Hi there"}, {**TURNS[2], "train": "", "loss": 2.75}],
        [{"role": "user", "content": "Hi there", "loss": [0.1, 2]}, {**TURNS[2], "loss": "2.75"}],
    ],
)
def test_one_conversation_is_written_in_many_ways(value):
    assert make_messages(value) == [{"role": "user", "content": "Hi there"}, TURNS[2]]


def test_a_call_may_have_no_arguments_and_an_answer_be_a_number():
    calls = [{"function": {"name": "f", "arguments": None}}]
    value = [TURNS[1], {"role": "assistant", "content": None, "tool_calls": calls}, {"role": "tool", "content": 7}]
    messages = make_messages([*value, {"role": "assistant", "content": 1.5}])
    assert messages[1]["tool_calls"] == [{"type": "function", "function": {"name": "f", "arguments": {}}}]
    assert [message["content"] for message in messages[2:]] == ["7", "1.5"]


def test_parts_of_text_are_joined_and_what_templates_read_is_kept():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": " b"}]
    value = [
        {"role": "user", "content": parts},
        {"role": "assistant", "content": "x", "reasoning_content": "r", "weight": 0, "other": 1},
        {"role": "tool", "content": "", "name": "f", "tool_call_id": "1"},
        {"role": "assistant", "content": "y", "weight": 1, "train": True},
    ]
    assert make_messages(value) == [
        {"role": "user", "content": "a b"},
        {"role": "assistant", "content": "x", "reasoning_content": "r", "train": False},
        {"role": "tool", "content": "", "name": "f", "tool_call_id": "1"},
        {"role": "assistant", "content": "y"},
    ]


def test_system_text_and_tools_have_columns_of_their_own():
    columns = Columns(messages="m", system="s", tools="t")
    record = {"m": TURNS[1:], "s": "Answer in French.", "t": '[{"name": "f", "parameters": {}}]'}
    conversation = parse_conversation(make_example(record, columns, "f")["messages"])
    assert conversation.messages == [{"role": "system", "content": "Answer in French."}, *TURNS[1:]]
    assert conversation.tools == [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    # An empty system turn is none; another text is a contradiction.
    assert make_messages(TURNS, "S")[0] == {"role": "system", "content": "S"}
    with pytest.raises(BadRecordError, match="another system text"):
        make_messages([{"role": "system", "content": "other"}, *TURNS[1:]], "S")
    assert columns.optional == {"data.columns.system": "s", "data.columns.tools": "t"}
    # Without them nothing changes.
    assert json.loads(make_example({"m": TURNS}, columns, "f")["messages"]) == TURNS
    with pytest.raises(BadRecordError, match="a tool has no name: tool 1"):
        make_example(record | {"t": [{"description": "x"}]}, columns, "f")


def test_the_output_is_the_last_answer_that_is_trained():
    bad = {"role": "assistant", "content": "bad", "weight": 0}
    assert make_example({"m": [*TURNS, TURNS[1], bad]}, Columns(messages="m"), "f")["output"] == "yes"


def test_carried_columns_become_text_or_json():
    columns = Columns(instruction="q", output="a", carried=("s", "t", "u", "v"))
    record = {"q": "x", "a": "y", "s": "as it is", "t": [1, {"é": None}], "u": 2.5}
    example = make_example(record, columns, "f")
    assert [example[name] for name in columns.carried] == ["as it is", '[1, {"é": null}]', "2.5", ""]
    assert example["example_id"] == make_example(record, Columns(instruction="q", output="a"), "f")["example_id"]


def test_text_alone():
    example = make_example({"body": " Once. "}, Columns(text="body"), "f")
    assert [example[name] for name in ("instruction", "input", "output")] == ["", "", " Once. "]
    with pytest.raises(BadRecordError, match="`body` is empty"):
        make_example({"body": " "}, Columns(text="body"), "f")


def test_the_last_answer_has_a_column_of_its_own():
    columns = Columns(messages="m", output="chosen.value")
    asked = [TURNS[0], {"role": "user", "content": "Q1"}, {"role": "assistant", "content": "A1"}]
    record = {"m": [*asked, {"role": "user", "content": "Q2"}], "chosen": {"from": "gpt", "value": "good"}}
    example = make_example(record, columns, "f")
    assert (example["instruction"], example["output"]) == ("Q1", "good")
    conversation = parse_conversation(example["messages"])
    assert [(m["role"], m["content"]) for m in conversation.messages[-3:]] == [
        ("assistant", "A1"),
        ("user", "Q2"),
        ("assistant", "good"),
    ]
    assert conversation.trained == [len(conversation.messages) - 1]
    assert columns.required == {"data.columns.messages": "m", "data.columns.output": "chosen.value"}
    for wrong, reason in (
        ({**record, "m": asked}, "another answer stands in a column of its own"),
        ({**record, "chosen": {"value": " "}}, "`chosen.value` is empty"),
        ({"m": record["m"]}, "`chosen.value` is missing"),
    ):
        with pytest.raises(BadRecordError, match=reason):
            make_example(wrong, columns, "f")


def test_an_instruction_with_a_system_text_of_its_own_is_a_conversation():
    columns = Columns(instruction="q", input="i", output="a", system="s")
    record = {"q": "Add.", "i": "1\n2", "a": 3, "s": "Be brief."}
    example = make_example(record, columns, "f")
    assert [example[name] for name in ("instruction", "input", "output")] == ["Add.", "1\n2", "3"]
    turns = [{"role": "user", "content": "Add.\n\n1\n2"}, {"role": "assistant", "content": "3"}]
    assert parse_conversation(example["messages"]).messages == [{"role": "system", "content": "Be brief."}, *turns]
    for empty in ("", " ", None):
        assert parse_conversation(make_example(record | {"s": empty}, columns, "f")["messages"]).messages == turns


def test_what_json_does_not_know_is_carried_by_nobody():
    columns = Columns(instruction="q", output="a", carried=("c",))
    for value in ([float("inf")], {"x": float("nan")}, [b"\xff"]):
        with pytest.raises(BadRecordError, match="`c` has the wrong type: it cannot be JSON"):
            make_example({"q": "x", "a": "y", "c": value}, columns, "f")


def test_numbers_stand_as_they_were_written():
    columns = Columns(instruction="q", output="a", slices=("s",), carried=("c", "d"))
    record = parse_object(b'{"q": 1.10, "a": 1e2, "s": 0.00001, "c": [1.10, 2], "d": 1.10}')
    example = make_example(record, columns, "f")
    assert [example[name] for name in ("instruction", "output", "s", "c", "d")] == [
        "1.10",
        "1e2",
        "0.00001",
        "[1.1, 2]",
        "1.10",
    ]
