"""What the model has to write, in templates of all shapes; each expected span was written by hand."""

import pytest

from components.text.answer_spans import EVERYTHING, LAST_TURN, find_answer_form, render_conversation
from components.text.chat_template import ChatTemplate, RefusedConversationError
from components.text.conversation import Conversation

SPECIAL = ["<eot>", "<eos>", "<bos>"]
TURNS = [("user", "Q1"), ("assistant", "A1"), ("user", "Q2"), ("assistant", "A2")]
EARLIER = "shows an earlier answer, or what stands before it, otherwise"
ASKS = "asks for an earlier answer is not the beginning"

# Name: Jinja, what is trained, why not more.
SHAPES = {
    "as it is": (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}<eot>\n{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}",
        ["A1<eot>", "A2<eot>"],
        "",
    ),
    "a default system text": (
        "{% if messages[0].role != 'system' %}<system>default<eot>{% endif %}"
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}<eot>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
        ["A1<eot>", "A2<eot>"],
        "",
    ),
    "a space of the answer that is not in the prompt": (
        "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %} {{ m.content }} <eos>{% endif %}"
        "{% endfor %}",
        [" A1 <eos>", " A2 <eos>"],
        "",
    ),
    "what closes the text, behind what closes a turn": (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}<eot>{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% else %}<eos>{% endif %}",
        ["A1<eot>", "A2<eot>"],
        "",
    ),
    "what closes a turn closes the text once more": (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}<eot>{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% else %}<eot>{% endif %}",
        ["A1<eot>", "A2<eot>"],
        "",
    ),
    "generation marks without the space before": (
        "{% for m in messages %}<{{ m.role }}> {% if m.role == 'assistant' %}{% generation %}{{ m.content }}<eot>{% endgeneration %}"
        "{% else %}{{ m.content }}<eot>{% endif %}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
        ["A1<eot>", "A2<eot>"],
        "",
    ),
    "nothing closes a turn": (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}",
        ["A1\n", "A2\n"],
        "",
    ),
    "only the text is closed": (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}{% if not loop.last %}\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}\nassistant: {% else %}<eos>{% endif %}",
        ["A2<eos>"],
        EARLIER,
    ),
    "reasoning only in the last answer": (
        "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' and loop.last %}<think></think>{% endif %}{{ m.content }}<eot>"
        "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
        ["<think></think>A2<eot>"],
        EARLIER,
    ),
    "the prompt opens reasoning": (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}<eot>{% endfor %}"
        "{% if add_generation_prompt %}<assistant><think>\n{% endif %}",
        ["A2<eot>"],
        ASKS,
    ),
    "generation marks": (
        "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<eot>\n{% endgeneration %}"
        "{% else %}{{ m.content }}<eot>\n{% endif %}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
        ["A1<eot>", "A2<eot>"],
        "",
    ),
    "generation marks without what closes the turn": (
        "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
        "{% else %}{{ m.content }}{% endif %} <eot>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
        ["A1 <eot>", "A2 <eot>"],
        "",
    ),
    "generation marks around some answers": (
        "{% for m in messages %}<{{ m.role }}>{% if loop.last %}{% generation %}{{ m.content }}{% endgeneration %}"
        "{% else %}{{ m.content }}{% endif %}<eot>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
        ["A2<eot>"],
        "marks 1 parts as generated, of 2 assistant turns",
    ),
}
# A system text that stands with the last request, and goes with it.
MOVED = (
    "{% if messages[0].role == 'system' %}{% set system, turns = messages[0].content, messages[1:] %}"
    "{% else %}{% set system, turns = '', messages %}{% endif %}"
    "{% for m in turns %}{% if m.role == 'user' %}[INST] {% if loop.last and system %}{{ system }}\n\n{% endif %}{{ m.content }}[/INST]"
    "{% else %} {{ m.content }}<eos>{% endif %}{% endfor %}"
)


def make(source):
    return ChatTemplate("auto", {"default": source}, {})


def render(source, turns=TURNS, train_on="all_assistant_turns", **more):
    template = make(source)
    messages = [{"role": role, "content": content, **more.get(content, {})} for role, content in turns]
    conversation = Conversation(messages=messages, tools=more.get("tools"))
    rendered = render_conversation(template, conversation, find_answer_form(template, SPECIAL), train_on)
    assert rendered.text.startswith(rendered.prompt)
    last = conversation.trained[-1]
    assert rendered.prompt == template.render(
        conversation.seen[:last], add_generation_prompt=True, tools=conversation.tools
    )
    return rendered, [rendered.text[begin:end] for begin, end in rendered.spans]


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_trained(name):
    source, expected, note = SHAPES[name]
    rendered, trained = render(source)
    assert trained == expected
    assert note in rendered.note if note else not rendered.note
    assert rendered.text.endswith(expected[-1])


@pytest.mark.parametrize("name", SHAPES)
def test_the_last_turn_alone(name):
    source, expected, _ = SHAPES[name]
    rendered, trained = render(source, train_on=LAST_TURN)
    assert (trained, rendered.note) == (expected[-1:], "")


@pytest.mark.parametrize("name", SHAPES)
def test_one_turn_needs_no_note(name):
    source, expected, _ = SHAPES[name]
    rendered, trained = render(source, TURNS[:2])
    assert (trained, rendered.note) == ([expected[-1].replace("A2", "A1")], "")


def test_everything():
    rendered, trained = render(SHAPES["as it is"][0], train_on=EVERYTHING)
    assert trained == [rendered.text] == ["<user>Q1<eot>\n<assistant>A1<eot>\n<user>Q2<eot>\n<assistant>A2<eot>"]


def test_a_system_text_that_moves_is_in_the_prompt_that_is_trained():
    rendered, trained = render(MOVED, [("system", "S"), *TURNS])
    assert rendered.text == "[INST] Q1[/INST] A1<eos>[INST] S\n\nQ2[/INST] A2<eos>"
    assert trained == [" A2<eos>"]
    assert ASKS in rendered.note
    rendered, trained = render(MOVED)
    assert (trained, rendered.note) == ([" A1<eos>", " A2<eos>"], "")


def test_the_answer_follows_the_prompt_that_opens_reasoning():
    rendered, _ = render(SHAPES["the prompt opens reasoning"][0])
    assert rendered.prompt == "<user>Q1<eot><assistant>A1<eot><user>Q2<eot><assistant><think>\n"
    assert rendered.text == rendered.prompt + "A2<eot>"


@pytest.mark.parametrize("name", ["as it is", "generation marks"])
def test_an_answer_with_weight_0_is_context(name):
    source, _, _ = SHAPES[name]
    rendered, trained = render(source, A1={"train": False})
    assert trained == ["A2<eot>"]
    assert "A1" in rendered.prompt
    # What follows the last trained answer has no effect on it.
    rendered, trained = render(source, A2={"train": False})
    assert trained == ["A1<eot>"]
    assert rendered.prompt == "<user>Q1<eot>\n<assistant>"
    assert "Q2" not in rendered.text


def test_a_special_token_in_the_middle_of_an_answer_does_not_end_it():
    source = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% for c in m.tool_calls or [] %}<bos>{{ c.function.name }}{% endfor %}<eot>"
        "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    calls = {"tool_calls": [{"function": {"name": "f", "arguments": {}}}, {"function": {"name": "g", "arguments": {}}}]}
    _, trained = render(source, A1=calls)
    assert trained == ["A1<bos>f<bos>g<eot>", "A2<eot>"]


@pytest.mark.parametrize(
    ("source", "more", "message"),
    [
        (
            "{% for m in messages %}{{ m.content }}<eot>{% endfor %}",
            {"tools": [{"function": {"name": "f"}}]},
            "definitions of tools",
        ),
        (
            "{% for m in messages %}{{ m.content }}<eot>{% endfor %}",
            {"A1": {"tool_calls": [{"function": {"name": "f", "arguments": {}}}]}},
            "calls of tools",
        ),
        (
            "{% for m in messages if m.role != 'user' %}{{ m.content }}<eot>{% endfor %}",
            {},
            "does not show, or changes, a turn of the role user",
        ),
        ("{% for m in messages %}{{ m.content | upper }}<eot>{% endfor %}", {}, "a turn of the role user"),
        (
            "{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}",
            {},
            "cannot be told from its prompt",
        ),
        (
            "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}{% endfor %}",
            {},
            "user",
        ),
    ],
)
def test_what_is_left_out_makes_the_conversation_a_bad_one(source, more, message):
    turns = [(role, content.lower()) for role, content in TURNS] if "upper" in source else TURNS
    with pytest.raises(RefusedConversationError, match=message):
        render(source, turns, **more)


def test_an_answer_beside_a_call_is_not_left_out_without_a_word():
    """Llama 3.2's own template shows the call alone."""
    source = "{% for m in messages %}<{{ m.role }}>{% if m.tool_calls %}{{ m.tool_calls[0].function.name }}{% else %}{{ m.content }}{% endif %}<eot>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
    calls = {"tool_calls": [{"function": {"name": "f", "arguments": {}}}]}
    for said, is_shown in (("I look.", False), ("", True), ("<think>\nFirst f.\n</think>\n", True), ("f", True)):
        turns = [("user", "U1"), ("assistant", said)]
        if is_shown:
            assert render(source, turns, **{said: calls})[1] == ["f<eot>"]
        else:
            with pytest.raises(RefusedConversationError, match="does not show the text of an answer that calls a tool"):
                render(source, turns, **{said: calls})


def test_the_form_of_an_answer():
    find = lambda source: find_answer_form(make(source), SPECIAL)  # noqa: E731
    assert find(SHAPES["as it is"][0]).end == "<eot>"
    assert find(SHAPES["nothing closes a turn"][0]).end == ""
    form = find(SHAPES["reasoning only in the last answer"][0])
    assert (form.before, form.end) == ("<think></think>", "<eot>")
    # A template that asks for a system turn, and one that takes nothing.
    needs = "{% if messages[0].role != 'system' %}{{ raise_exception('no system') }}{% endif %}"
    assert find(needs + SHAPES["as it is"][0]).end == "<eot>"
    assert find("{{ raise_exception('never') }}").before is None
