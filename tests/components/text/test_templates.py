import pytest

from components.errors import UserError
from components.text.templates import TEMPLATES


def test_alpaca():
    template = TEMPLATES["alpaca"]
    assert template.render("Add.", "1 2") == "### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n"
    assert template.render("Hi", system="Be kind.") == "Be kind.\n\n### Instruction:\nHi\n\n### Response:\n"


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_a_prompt_without_input_is_prefix_instruction_suffix(template):
    # What the exported model does in its graph.
    assert template.render("X", system="S") == template.prefix("S") + "X" + template.response_prefix


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_one_turn_is_an_instruction(template):
    messages = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": "A"},
    ]
    assert template.render_messages(messages) == (template.render("Q", system="S"), "A")


def test_conversation():
    turns = [("user", "Q1"), ("assistant", "A1"), ("user", "Q2"), ("assistant", "A2")]
    prompt, response = TEMPLATES["chat"].render_messages([{"role": r, "content": c} for r, c in turns])
    assert prompt == "User: Q1\nAssistant:\nA1\nUser: Q2\nAssistant:\n"
    assert response == "A2"


@pytest.mark.parametrize(
    "roles", [[], ["user"], ["assistant"], ["assistant", "user"], ["user", "narrator", "assistant"]]
)
def test_other_conversations_are_refused(roles):
    with pytest.raises(UserError, match="Received"):
        TEMPLATES["chat"].render_messages([{"role": r, "content": "x"} for r in roles])
