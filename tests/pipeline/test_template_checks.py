"""What `validate` says of a template, from the preset's files alone."""

import json

import pytest

from configs.schema import DataSection, ModelSection, TextSection
from pipeline.template_checks import find_template_problems

INSTRUCTIONS = DataSection(path="x")
CHATS = DataSection(path="x", columns={"messages": "messages"})
NEEDS_SYSTEM = "{% if messages[0].role != 'system' %}{{ raise_exception('no system turn') }}{% endif %}x"
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}x"


@pytest.fixture
def find(tmp_path):
    """Returns a function from a template of the model's own, a text section and data to the problems by key."""

    def find(own=None, data=INSTRUCTIONS, tokens=(), **text):
        (tmp_path / "config.json").write_text('{"model_type": "llama"}')
        rules = {"model": {"vocab": {"a": 0}}, "added_tokens": [{"content": token} for token in tokens]}
        (tmp_path / "tokenizer.json").write_text(json.dumps(rules))
        if own is not None:
            (tmp_path / "chat_template.jinja").write_text(own)
        problems = find_template_problems(TextSection(**text), ModelSection(preset=str(tmp_path)), data)
        return {problem.key: problem.message for problem in problems}

    return find


def test_what_is_fine(find):
    assert find() == {}
    assert find("{% for m in messages %}{{ m.content }}{% endfor %}", system="S") == {}
    assert find(template="chatml", tokens=("<|im_start|>", "<|im_end|>")) == {}
    # Conversations may bring the system turn that the template asks for, or leave out one that it refuses.
    assert find(NEEDS_SYSTEM, CHATS) == find(NEEDS_SYSTEM, system="S") == find(NO_SYSTEM, CHATS) == {}
    # A handle is not looked into.
    assert find_template_problems(TextSection(template="llama3"), ModelSection(preset="hf://a/b"), None) == []


@pytest.mark.parametrize(
    ("own", "text", "key", "part"),
    [
        (None, {"template": "chatlm"}, "text.template", "Did you mean `chatml`?"),
        (None, {"template": "llama3"}, "text.template", "has no `<|begin_of_text|>`, `<|start_header_id|>`"),
        ("{% for %}", {}, "text.template", "must be valid Jinja. Received, in line 1"),
        ("{{ raise_exception('never') }}", {}, "text.template", "must take a request and an answer. It says: never."),
        (
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            {},
            "text.template",
            "must end soon",
        ),
        (NEEDS_SYSTEM, {}, "text.template", "It says: no system turn. Name another template, or give `text.system`."),
        (NO_SYSTEM, {"system": "S"}, "text.system", "must have a place for it. It says: System role not supported."),
    ],
)
def test_what_is_wrong(find, own, text, key, part):
    found = find(own, **text)
    assert set(found) == {key}
    assert part in found[key]


@pytest.mark.parametrize(
    "rules",
    [
        {"model": None},
        {"model": {"vocab": ["a", "b"]}},
        {"model": {"vocab": {"a": 0}}, "added_tokens": [{"id": 1}]},
        {"model": [], "added_tokens": 3},
    ],
)
def test_a_damaged_tokenizer_is_told_of_the_preset_alone(tmp_path, rules):
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "tokenizer.json").write_text(json.dumps(rules))
    model = ModelSection(preset=str(tmp_path))
    assert find_template_problems(TextSection(template="chatml"), model, INSTRUCTIONS) == []


def test_a_vocabulary_of_keras_hub_is_read_too(tmp_path):
    folder = tmp_path / "assets" / "tokenizer"
    folder.mkdir(parents=True)
    (tmp_path / "config.json").write_text("{}")
    text, model = TextSection(template="phi3"), ModelSection(preset=str(tmp_path))
    assert find_template_problems(text, model, INSTRUCTIONS) == []  # no file says which tokens there are
    (folder / "vocabulary.json").write_text('{"<|user|>": 0}')
    (problem,) = find_template_problems(text, model, INSTRUCTIONS)
    assert "has no `<|system|>`, `<|assistant|>`, `<|end|>`" in problem.message
