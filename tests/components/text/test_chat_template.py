"""Chat templates render as transformers renders them, and cannot do harm.

The templates beside this file are those of real models; what transformers makes of them stands in `golden.json`.
"""

import datetime
import hashlib
import importlib.util
import json
from pathlib import Path

import pytest

from components.errors import UserError
from components.text import chat_template
from components.text.chat_template import ChatTemplate, RefusedConversationError, find_chat_template
from components.text.named_chat_templates import NAMED_TEMPLATES, make_named_template
from components.text.template_choice import load_template
from components.text.templates import TEMPLATES

FOLDER = Path(__file__).resolve().parent / "chat_templates"
GOLDEN = json.loads((FOLDER / "golden.json").read_text(encoding="utf-8"))


def load_conversations():
    spec = importlib.util.spec_from_file_location("conversations", FOLDER / "conversations.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CONVERSATIONS = load_conversations()
FAMILIES = list(CONVERSATIONS.VARIABLES)


def make_template(name):
    tokens = zip(("bos_token", "eos_token"), CONVERSATIONS.VARIABLES[name], strict=True)
    source = (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")
    return ChatTemplate("auto", {"default": source}, {k: v for k, v in tokens if v}, CONVERSATIONS.DATE)


def render(template, messages, tools):
    """As `write_golden.py` does with transformers."""
    try:
        return [
            template.render(messages, add_generation_prompt=False, tools=tools),
            template.render(messages[:-1], add_generation_prompt=True, tools=tools),
        ]
    except RefusedConversationError as error:
        return {"refused": "TypeError" if str(error).startswith("TypeError") else str(error)}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_template_renders_as_in_transformers(name):
    template = make_template(name)
    made = {key: render(template, messages, tools) for key, (messages, tools) in CONVERSATIONS.list_small().items()}
    assert made == GOLDEN["small"][name]


@pytest.mark.slow
@pytest.mark.skipif(not CONVERSATIONS.DATA.is_dir(), reason="needs the real data sets in ../shared/data")
@pytest.mark.parametrize("name", FAMILIES)
def test_real_conversations_are_rendered_as_in_transformers(name):
    template = make_template(name)
    made = [
        hashlib.sha256(json.dumps(render(template, messages, None)).encode()).hexdigest()[:12]
        for messages in CONVERSATIONS.list_real()
    ]
    assert len(made) == 220
    assert made == GOLDEN["real"][name]


def test_today_is_the_day_of_the_run():
    template = ChatTemplate("auto", {"default": "{{ strftime_now('%d %b %Y') }}"}, {}, "2025-12-01")
    assert template.render([], add_generation_prompt=False) == "01 Dec 2025"
    assert "26 Jul 2024" in ChatTemplate("auto", template.sources, {}).render([], add_generation_prompt=False)


def test_lines_of_statements_leave_nothing_and_what_is_null_is_not_there():
    source = "a\n  {% if true %}\nb\n  {% endif %}\n{{ 'content' in messages[0] }} {{ messages[1].content }}"
    messages = [{"role": "assistant", "content": None}, {"role": "user", "content": "x"}]
    assert (
        ChatTemplate("auto", {"default": source}, {}).render(messages, add_generation_prompt=False) == "a\nb\nFalse x"
    )


def test_a_template_cannot_change_or_keep_what_it_is_given():
    messages = [{"role": "user", "content": "x", "list": [1]}]
    template = ChatTemplate("auto", {"default": "{% set _ = messages[0].update({'content': 'y'}) %}"}, {})
    with pytest.raises(RefusedConversationError, match="unsafe"):
        template.render(messages, add_generation_prompt=False)
    assert messages[0]["content"] == "x"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ raise_exception('only users') }}", "^only users$"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{% include 'other' %}", "no loader"),
        ("{{ messages[5].content }}", "has no"),
        ("{{ 'a' + 1 }}", "TypeError"),
        ("{{ open('/etc/passwd') }}", "'open' is undefined"),
        ("{% generation %}{% generation %}x{% endgeneration %}{% endgeneration %}", "lies within another"),
        ("{% set x %}{% generation %}x{% endgeneration %}{% endset %}{{ x[5:] }}", "in part|changed behind"),
    ],
)
def test_what_a_template_says_makes_the_conversation_a_bad_one(source, message):
    template = ChatTemplate("auto", {"default": source}, {})
    with pytest.raises(RefusedConversationError, match=message):
        template.render_with_generation([{"role": "user", "content": "x"}])


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% for i in range(99999) %}{{ f(n) }}{% endfor %}{% endmacro %}{{ f(1) }}",
        "{{ 'x' * 10**9 }}",
        "{{ 2 ** 99999999 }}",
        "{% set ns = namespace(s='x' * 999) %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{% set ns = namespace(s='x' * 999) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "{% set ns = namespace(s='x' * 999) %}{% for i in range(99) %}{% set t %}{{ ns.s }}{{ ns.s }}{% endset %}{% set ns.s = t %}"
        "{% endfor %}",
        "{% macro f(s) %}{{ s }}{{ s }}{% endmacro %}{% set ns = namespace(s='x' * 999) %}{% for i in range(99) %}"
        "{% set ns.s = f(ns.s) %}{% endfor %}",
        "{% for i in range(99999) %}{{ 'x' * 9999 }}{% endfor %}",
        "{{ '%999999999d' % 1 }}",
        "{{ '{:>999999999}'.format(1) }}",
        "{{ 'x'.zfill(999999999) }}",
        "{{ 'x' | center(999999999) }}",
        "{% set a = 'a' * 999999 %}{{ a.replace('a', a) }}",
        "{% set a = 'a' * 999999 %}{{ a | replace('a', a) }}",
        "{% set a = 'a' * 999999 %}{{ a.join(a) }}",
        "{% set a = 'a' * 999999 %}{{ a | join(a) }}",
        "{{ [[['a'] * 16000] * 16000] * 16000 }}",
        "{{ ([[['a'] * 4000] * 4000] * 4000) | tojson }}",
        "{% set a = ['a'] * 16000 %}{% set b = [a, a, a, a, a, a, a, a] %}{% set c = [b, b, b, b, b, b, b, b] %}{{ [c, c, c, c, c, c, c, c, c, c, c, c, c, c, c, c, c] }}",
        "{% set ns = namespace(s=['x']) %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}",
        "{% set ns = namespace(s={'x': 1}) %}{% for i in range(99) %}{% set ns.s = {'a': ns.s, 'b': ns.s} %}{% endfor %}",
        "{{ ('a' * 16000000) | wordwrap(1) }}",
        "{{ ('<!---->' * 200000) | striptags }}",
        "{{ ([[1]] * 100000) | sum(start=[]) }}",
        "{{ ('a' * 16000000).translate({97: 'b' * 16000000}) }}",
        "{% set s = 'a' * 16000000 %}{{ ('%s' * 2000) % ((s,) * 2000) }}",
        "{% set s = 'a' * 16000000 %}{{ ('{0}' * 2000).format(s) }}",
        "{% set s = 'a' * 16000000 %}{{ ('%s' * 2000) | format(s) }}",
        "{{ ('{:99999}' * 1000000).format('x') }}",
        "{% set s = 'a' * 16000000 %}{{ ([s] * 2000) | map('string') | join }}",
        "{% set s = 'a' * 16000000 %}{{ ''.join([s, s, s, s] | map('upper')) }}",
        "{% set s = 'a' * 16000 %}{{ range(100000) | map('replace', 'x', s) | map('string') | map('center', 16000000) | list }}",
        "{{ range(2000) | map('string') | map('center', 16000) | join }}",
        "{% set s = 'a' * 9000000 %}{{ s ~ s }}",
        "{{ ('a\n' * 8000000) | indent(16000000) }}",
        "{{ ([1] * 1000000) | tojson(indent=100) }}",
        "{% set s = 'a' * 16000000 %}{% for i in range(100000) %}{% set t = s | upper %}{% endfor %}",
    ],
)
def test_a_template_that_explodes_is_an_error(source):
    template = ChatTemplate("auto", {"default": source}, {})
    with pytest.raises(UserError, match="must end"):
        template.render([], add_generation_prompt=False)


def test_what_is_not_there_is_empty_as_in_jinja():
    source = (
        "{{ nothing | trim }}{{ 'a' ~ nothing }}{{ [nothing] | length }}{{ {'k': nothing}.items() | list | length }}"
    )
    template = ChatTemplate("auto", {"default": source}, {})
    assert template.render([], add_generation_prompt=False) == "a11"


@pytest.mark.parametrize("source", ["{% for %}", "{{ 'x' ", "{% generation %}x", "{{ x | nofilter }}"])
def test_invalid_jinja_is_an_error_at_once(source):
    with pytest.raises(UserError, match="must be valid Jinja"):
        ChatTemplate("auto", {"default": source}, {})


def write_hugging_face(folder, **files):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


def test_a_models_own_template_is_found(tmp_path):
    config = {
        "chat_template": "{{ bos_token }}config{{ eos_token }}",
        "bos_token": {"content": "<a>"},
        "add_bos_token": True,
    }
    folder = write_hugging_face(
        tmp_path / "x", tokenizer_config__json=config, special_tokens_map__json={"eos_token": "<b>"}
    )
    template = find_chat_template(folder)
    assert template.render([], add_generation_prompt=False) == "<a>config<b>"
    assert template.variables == {"bos_token": "<a>", "eos_token": "<b>"}
    # A file of its own comes first.
    write_hugging_face(folder, chat_template__jinja="file {{ messages | length }}")
    assert find_chat_template(folder).render([{}], add_generation_prompt=False) == "file 1"
    assert find_chat_template(write_hugging_face(tmp_path / "none")) is None


def test_one_of_several_templates_is_for_tools(tmp_path):
    named = [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools {{ tools[0] }}"}]
    template = find_chat_template(write_hugging_face(tmp_path / "x", tokenizer_config__json={"chat_template": named}))
    assert template.render([], add_generation_prompt=False) == "plain"
    assert template.render([], add_generation_prompt=False, tools=["t"]) == "tools t"
    only = [{"name": "rag", "template": "x"}]
    folder = write_hugging_face(tmp_path / "y", tokenizer_config__json={"chat_template": only})
    with pytest.raises(UserError, match="must be called `default`"):
        find_chat_template(folder)


def test_auto_is_the_models_own_template_or_alpaca(tmp_path):
    folder = write_hugging_face(tmp_path / "x", chat_template__jinja="own")
    assert load_template({"template": "auto", "date": "2025-01-01"}, folder).date == "2025-01-01"
    assert load_template({"template": "auto"}, write_hugging_face(tmp_path / "y")) is TEMPLATES["alpaca"]
    assert load_template({"template": "auto"}, None) is TEMPLATES["alpaca"]
    assert load_template({"template": "chat"}, folder) is TEMPLATES["chat"]
    assert load_template({"template": "gemma"}, folder).name == "gemma"


# What the named templates must agree with where they can: the real ones.
@pytest.mark.parametrize(
    ("named", "family"),
    [("llama3", "llama3"), ("gemma", "gemma3"), ("phi3", "phi3"), ("qwen", "qwen3"), ("chatml", "smollm2")],
)
def test_named_templates_are_those_of_their_families(named, family):
    turns = CONVERSATIONS.list_small()["three turns"][0]
    # The real ones trim, or add reasoning to the last answer: that is for them.
    turns = [{**turn, "content": turn["content"].strip()} for turn in turns][:-1]
    mine = make_named_template(named).render(turns, add_generation_prompt=True)
    assert mine == make_template(family).render(turns, add_generation_prompt=True)


def test_the_named_template_qwen_shows_tools_as_the_real_one():
    for key in ("tool", "two calls, no content"):
        messages, tools = CONVERSATIONS.list_small()[key]
        mine = make_named_template("qwen").render(messages[:-1], add_generation_prompt=True, tools=tools)
        assert mine == make_template("qwen3").render(messages[:-1], add_generation_prompt=True, tools=tools)


@pytest.mark.parametrize("name", NAMED_TEMPLATES)
def test_named_templates_say_what_the_model_writes(name):
    turns = CONVERSATIONS.list_small()["three turns"][0]
    text, spans = make_named_template(name).render_with_generation(turns)
    answers = [turn["content"] for turn in turns if turn["role"] == "assistant"]
    assert [text[begin:end].strip() for begin, end in spans] == [
        f"{answer}{end}".strip() for answer, end in zip(answers, [find_end(name)] * 3, strict=True)
    ]


def find_end(name):
    ends = {"llama3": "<|eot_id|>", "gemma": "<end_of_turn>", "mistral": "</s>", "phi3": "<|end|>"}
    return ends.get(name, "<|im_end|>")


def test_the_clock_stops_a_slow_template(monkeypatch):
    monkeypatch.setattr("components.text.template_sandbox.MAX_SECONDS", 0.01)
    template = ChatTemplate(
        "auto", {"default": "{% for i in range(99999) %}{{ messages | tojson | length }}{% endfor %}"}, {}
    )
    with pytest.raises(UserError, match="must end"):
        template.render([{"x": "y" * 1000}] * 100, add_generation_prompt=False)


def test_the_default_day_is_one():
    assert datetime.date.fromisoformat(chat_template.DEFAULT_DATE)
