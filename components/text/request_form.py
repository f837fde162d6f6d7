"""What a template puts around a single request, as two constant texts: what an exported model can do without Jinja."""

from typing import Any

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


class NoRequestFormError(Exception):
    """A template does more with a request than to put constant texts around it; the text says what."""


def find_request_form(
    template: PromptTemplate | ChatTemplate, system: str, special_tokens: list[str]
) -> tuple[str, str]:
    """Returns what stands before and behind a cleaned request in its prompt.

    It is found by rendering a stand-in, and verified on odd requests.

    Args:
        template: The run's.
        system: The run's `text.system`.
        special_tokens: The model's.

    Raises:
        NoRequestFormError: If the template does something else.
    """
    if isinstance(template, PromptTemplate):
        return template.prefix(clean_text(system)), template.response_prefix
    try:
        parts = render_request(template, _REQUEST, system, special_tokens).split(_REQUEST)
    except RefusedConversationError as error:
        raise NoRequestFormError(f"it refuses a request alone: {error}") from error
    if len(parts) != 2:
        raise NoRequestFormError(f"it shows a request {len(parts) - 1} times")
    before, behind = parts
    for request in ODD_REQUESTS:
        request = neutralize(clean_text(request), special_tokens)[0]
        try:
            rendered = render_request(template, request, system, special_tokens)
        except RefusedConversationError as error:
            raise NoRequestFormError(f"it refuses the request {request[:60]!r}: {error}") from error
        if rendered != before + request + behind:
            raise NoRequestFormError(f"it changes the request {request[:60]!r}")
    return before, behind


def render_request(
    template: PromptTemplate | ChatTemplate, request: str, system: str, special_tokens: list[str]
) -> str:
    """Returns the prompt of one request.

    Args:
        template: The run's.
        request: Cleaned, without special tokens.
        system: The run's `text.system`.
        special_tokens: The model's.
    """
    system = clean_text(system)
    if isinstance(template, PromptTemplate):
        return template.render(request, system=system)
    messages: list[dict[str, Any]] = [{"role": "user", "content": request}]
    if system:
        messages.insert(0, {"role": "system", "content": neutralize(system, special_tokens)[0]})
    return template.render(messages, add_generation_prompt=True)
