"""What a template puts around a request: two constant texts, or a reason why not."""

import pytest

from components.text.chat_template import ChatTemplate
from components.text.request_form import NoRequestFormError, find_request_form, render_request
from components.text.templates import TEMPLATES

PLAIN = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}<eot>{% endfor %}{% if add_generation_prompt %}<a>{% endif %}"


def make(source):
    return ChatTemplate("auto", {"default": source}, {"bos_token": "<bos>"})


def test_what_stands_around_a_request():
    assert find_request_form(make(PLAIN), "", []) == ("<user>", "<eot><a>")
    assert find_request_form(make(PLAIN), " S<eot>\u200b", ["<eot>"]) == ("<system>S< eot><eot><user>", "<eot><a>")
    assert find_request_form(TEMPLATES["alpaca"], "S", []) == ("S\n\n### Instruction:\n", "\n\n### Response:\n")
    before, behind = find_request_form(make(PLAIN), "S", [])
    assert before + "x" + behind == render_request(make(PLAIN), "x", "S", [])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ raise_exception('no') }}", "it refuses a request alone: no"),
        ("{{ messages[0].content | upper }}", "it shows a request 0 times"),
        ("{{ messages[0].content }}{{ messages[0].content }}", "it shows a request 2 times"),
        ("{{ messages[0].content.split('</think>')[-1] }}", "it changes the request '<think>"),
        ("{{ messages[0].content | replace('  ', ' ') }}", "it changes the request 'two"),
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
        find_request_form(make(source), "", [])
