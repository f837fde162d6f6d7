"""The summary for a pull request, as a Markdown parser reads it: what slices hold stays text."""

import re

import pytest
from markdown_it import MarkdownIt

from components.evaluator.gate import Check, Measured, Results
from components.evaluator.summary import make_summary

EVIL = [
    "![x](http://evil.example/x.png)",
    "[click](https://evil.example)",
    "@everyone and #1",
    "`code` and ``more``",
    "<img src=x onerror=alert(1)>",
    "a | b\nc",
    "**bold** ~~gone~~ www.evil.example",
    "\x1b[2J\u202egnp.exe",
    "trailing \\",
]


def summarize(slice_name, verdict="the model is not blessed"):
    check = Check(
        metric="precision[x]", slice_name=slice_name, rule="at least 0.5", measured=Measured(value=0.25), verdict=None, passed=False
    )  # fmt: skip
    results = Results(
        values={"candidate": {"overall": {}}, "preset": {"overall": {}}},
        changes={"preset": {"overall": {}}},
        num_examples={"overall": 7},
    )
    return make_summary(verdict, [check], results, {"perplexity": False}, "preset")


@pytest.mark.parametrize("text", EVIL)
def test_what_the_data_hold_is_only_text(text):
    markdown = summarize(f"kind={text}", f"not blessed: precision on kind={text} is 0.25")
    html = MarkdownIt("commonmark").enable("table").enable("strikethrough").render(markdown)
    assert not re.search(r"<(a|img|del|em|script|h\d)\b", html)
    assert html.count("<table>") == 2
    assert html.count("<td>") == 4 + 4
    outside = re.sub(r"<code>.*?</code>", "", html, flags=re.DOTALL)
    # What GitHub would make a mention or a link of, once Markdown has been read.
    assert not re.search(r"[@#]\w|://|www\.\w", outside)
    assert not {"\x1b", "\u202e"} & set(html)


def test_sentences_stay_readable():
    lines = summarize("overall", "not blessed: perplexity is 3.2, above 3.0").splitlines()
    assert lines[0] == "**not blessed: perplexity is 3.2, above 3.0**"
    assert lines[4] == "| `precision[x]`: at least 0.5 | `overall` | -: 0.25 | **no** |"
