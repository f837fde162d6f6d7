"""What a template puts around a request: two constant texts, or a reason why not."""

import pytest

from components.text.chat_template import ChatTemplate
from components.text.cleaning import NORMALIZE, SAFE
from components.text.request_form import NoRequestFormError, find_request_form, render_request
from components.text.templates import TEMPLATES

PLAIN = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}<eot>{% endfor %}{% if add_generation_prompt %}<a>{% endif %}"


def make(source):
    return ChatTemplate("auto", {"default": source}, {"bos_token": "<bos>"})


@pytest.mark.parametrize("level", [SAFE, NORMALIZE])
def test_what_stands_around_a_request(level):
    assert find_request_form(make(PLAIN), "", [], level) == ("<user>", "<eot><a>", True)
    expected = ("<system>S< eot><eot><user>", "<eot><a>", True)
    assert find_request_form(make(PLAIN), "S<eot>\x00\n", ["<eot>"], level) == expected
    alpaca = ("S\n\n### Instruction:\n", "\n\n### Response:\n", False)
    assert find_request_form(TEMPLATES["alpaca"], "S", [], level) == alpaca
    before, behind, _ = find_request_form(make(PLAIN), "S", [], level)
    assert before + "x" + behind == render_request(make(PLAIN), "x", "S", [])
    untrimmed = PLAIN.replace(" | trim", "")
    assert find_request_form(make(untrimmed), "", [], level) == ("<user>", "<eot><a>", False)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ raise_exception('no') }}", "it refuses a request alone: no"),
        ("{{ messages[0].content | upper }}", "it shows a request 0 times"),
        ("{{ messages[0].content }}{{ messages[0].content }}", "it shows a request 2 times"),
        ("{{ messages[0].content.split('</think>')[-1] }}", "it changes the request '<think>"),
        ("{{ messages[0].content | replace('  ', ' ') }}", "it changes the request '    an"),
        ("{{ messages[0].content | length }}{{ messages[0].content }}", "it changes the request 'x'"),
        (
            "{% if 'INST' in messages[0].content %}{{ raise_exception('no') }}{% endif %}{{ messages[0].content }}",
            "it refuses the request",
        ),
        ("{{ messages[0].content | truncate(500) }}", "it changes the request 'xxx"),
    ],
)
def test_a_template_that_looks_into_requests_has_none(source, message):
    with pytest.raises(NoRequestFormError, match=message):
        find_request_form(make(source), "", [], SAFE)
