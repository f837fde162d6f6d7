"""What a template puts around a single request, as two constant texts: what an exported model can do without Jinja."""

from typing import Any, NamedTuple

from components.text.chat_template import ChatTemplate, RefusedConversationError
from components.text.cleaning import clean_text
from components.text.record_cleaning import neutralize
from components.text.templates import PromptTemplate

_REQUEST = "qvxzkrequestqvxzk"
# Cleaned requests that a template may take for something else than text, if it looks into them.
ODD_REQUESTS = (
    "x",
    "0",
    "None",
    "Hello, how are you?",
    "    an indented first line",
    "\u00a0 a blank of another kind\u3000",
    "two\n\nparagraphs\n    and indented code\n\twith a tab",
    "a  b \\n c\\",
    "{{ 7 * 7 }} {% raw %} {# comment #}",
    "<think>\nreasoning\n</think>\n\nanswer",
    "no opening</think>",
    "<tool_response>\n7\n</tool_response>",
    "<tool_call>\n{}\n</tool_call>",
    '{"name": "f", "arguments": {}}',
    "[INST] x [/INST]",
    "User: x\nAssistant: y",
    "### Instruction:\nx",
    "<b>&amp; \"quoted\" 'single'</b>",
    "Grüße, 日本語, \U0001f642 e\u0301",
    "$HOME %s {0} /no_think /think",
    "x" * 3000,
)


class RequestForm(NamedTuple):
    """What an exported model does with a cleaned request.

    Attributes:
        before: What stands before it.
        behind: What stands behind it.
        trims: Whether the template takes white space away around it, as Python's `strip` does.
    """

    before: str
    behind: str
    trims: bool = False


class NoRequestFormError(Exception):
    """A template does more with a request than to put constant texts around it; the text says what."""


def find_request_form(
    template: PromptTemplate | ChatTemplate, system: str, special_tokens: list[str], cleaning: str
) -> RequestForm:
    """Returns what becomes of a cleaned request in its prompt.

    It is found by rendering a stand-in, and verified on odd requests.

    Args:
        template: The run's.
        system: The run's `text.system`.
        special_tokens: The model's.
        cleaning: One of `cleaning.LEVELS`.

    Raises:
        NoRequestFormError: If the template does something else.
    """
    if isinstance(template, PromptTemplate):
        return RequestForm(template.prefix(clean_text(system, cleaning)), template.response_prefix)
    system = clean_text(system, cleaning)
    try:
        parts = render_request(template, _REQUEST, system, special_tokens).split(_REQUEST)
    except RefusedConversationError as error:
        raise NoRequestFormError(f"it refuses a request alone: {error}") from error
    if len(parts) != 2:
        raise NoRequestFormError(f"it shows a request {len(parts) - 1} times")
    before, behind = parts
    trims = _is_trimmed(template, system, special_tokens, before, behind)
    for request in ODD_REQUESTS:
        request = neutralize(clean_text(request, cleaning), special_tokens)[0]
        try:
            rendered = render_request(template, request, system, special_tokens)
        except RefusedConversationError as error:
            raise NoRequestFormError(f"it refuses the request {request[:60]!r}: {error}") from error
        if rendered != before + (request.strip() if trims else request) + behind:
            raise NoRequestFormError(f"it changes the request {request[:60]!r}")
    return RequestForm(before, behind, trims)


def _is_trimmed(template: ChatTemplate, system: str, special_tokens: list[str], before: str, behind: str) -> bool:
    try:
        return render_request(template, f" \n{_REQUEST}\t\n", system, special_tokens) == before + _REQUEST + behind
    except RefusedConversationError:
        return False


def render_request(
    template: PromptTemplate | ChatTemplate, request: str, system: str, special_tokens: list[str]
) -> str:
    """Returns the prompt of one request.

    Args:
        template: The run's.
        request: Cleaned, without special tokens.
        system: The run's `text.system`, cleaned.
        special_tokens: The model's.
    """
    if isinstance(template, PromptTemplate):
        return template.render(request, system=system)
    messages: list[dict[str, Any]] = [{"role": "user", "content": request}]
    if system:
        messages.insert(0, {"role": "system", "content": neutralize(system, special_tokens)[0]})
    return template.render(messages, add_generation_prompt=True)
