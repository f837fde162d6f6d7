"""Which characters of a rendered conversation the model has to write.

A chat template is a program; what the model wrote in its text can be known in two ways. It says so by `{% generation %}`. Or the
text up to an answer, with the generation prompt, is the beginning of the text with the answer, and that is the beginning of the
whole. Where neither holds, because later turns change what stands before them, only the last answer is trained: the text
before it is then the prompt that the model will see, and nothing is guessed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from components.text.chat_template import ChatTemplate, RefusedConversationError
from components.text.conversation import Conversation

ALL_TURNS, LAST_TURN, EVERYTHING = "all_assistant_turns", "last_turn", "everything"
TRAIN_ON = (ALL_TURNS, LAST_TURN, EVERYTHING)

# Texts of which no template makes anything but themselves.
_REQUEST, _ANSWER = "qvxzkrequestqvxzk", "qvxzkanswerqvxzk"


class CannotTellError(Exception):
    """The template does not let one tell what the assistant wrote in earlier turns; the text says why."""


@dataclass(frozen=True, kw_only=True)
class RenderedConversation:
    """A conversation as text, up to the end of the last answer that is trained.

    Attributes:
        text: All of it.
        prompt: What it begins with: the turns before that answer, and the template's generation prompt.
        spans: [start, end) characters of `text` that are training targets, in order.
        note: Why answers before the last one are no targets though they were asked for; "" if they are, or were not.
    """

    text: str
    prompt: str
    spans: tuple[tuple[int, int], ...]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class AnswerForm:
    """What a template writes around an answer.

    Attributes:
        before: Between the generation prompt and the answer, where that is the same for all; None where it is not known.
        end: The special token that closes an answer; "" if none does.
    """

    before: str | None
    end: str


def find_answer_form(template: ChatTemplate, special_tokens: Sequence[str]) -> AnswerForm:
    """Returns what a template writes around the answer of the shortest conversation.

    Args:
        template: Any.
        special_tokens: Those of the model.
    """
    request: dict[str, Any] = {"role": "user", "content": _REQUEST}
    for turns in ([request], [{"role": "system", "content": "."}, request]):  # some ask for a system turn
        try:
            prompt = template.render(turns, add_generation_prompt=True)
            whole = template.render([*turns, {"role": "assistant", "content": _ANSWER}], add_generation_prompt=False)
        except RefusedConversationError:
            continue
        break
    else:
        return AnswerForm(before=None, end="")
    head, found, tail = whole.rpartition(_ANSWER)
    if not found:
        return AnswerForm(before=None, end="")
    candidates = {*special_tokens, *template.variables.values()} - {""}
    # The first one; of several that begin there, the longest.
    places = [(tail.find(token), -len(token), token) for token in candidates if token in tail]
    before = head[len(prompt) :] if head.startswith(prompt) else "" if prompt.startswith(head) else None
    return AnswerForm(before=before, end=min(places)[2] if places else "")


def render_conversation(
    template: ChatTemplate, conversation: Conversation, form: AnswerForm, train_on: str = ALL_TURNS
) -> RenderedConversation:
    """Renders a conversation up to its last trained answer, and says what the model has to write.

    Args:
        template: The model's.
        conversation: With at least one trained answer, which has a message before it.
        form: See `find_answer_form`, of the same template.
        train_on: One of `TRAIN_ON`.

    Raises:
        RefusedConversationError: If the template does not render it, or renders it so that not even the last answer can be told
            from its prompt.
    """
    trained = conversation.trained
    messages, tools = conversation.seen[: trained[-1] + 1], conversation.tools
    rendered = _render_last(template, messages, tools, form)
    _check_shown(rendered.text, messages, tools)
    if train_on == EVERYTHING:
        return replace(rendered, spans=((0, len(rendered.text)),))
    wanted = trained[-1:] if train_on == LAST_TURN else trained
    try:
        if template.marks_generation(tools):
            spans = _find_marked(template, messages, tools, form, rendered.text, wanted)
        else:
            earlier = [_find_by_prefix(template, messages, tools, form, rendered.text, i) for i in wanted[:-1]]
            spans = (*earlier, *rendered.spans)
    except CannotTellError as problem:
        return replace(rendered, note=str(problem) if len(wanted) > 1 else "")
    return replace(rendered, spans=spans)


def _check_shown(text: str, messages: Sequence[dict[str, Any]], tools: Sequence[Any] | None) -> None:
    """Raises if the template leaves out what an answer rests on: many do so without a word with what they do not know."""
    for tool in tools or []:
        if tool["function"]["name"] not in text:
            raise RefusedConversationError("the template does not show the definitions of tools")
    for message in messages:
        for call in message.get("tool_calls") or []:
            if call["function"]["name"] not in text:
                raise RefusedConversationError("the template does not show calls of tools")
        content = message["content"].strip()
        if message.get("tool_calls"):
            said = content.rpartition("</think>")[2].strip()  # reasoning that is left out is counted
            if said not in text and json.dumps(said, ensure_ascii=False)[1:-1] not in text:
                raise RefusedConversationError("the template does not show the text of an answer that calls a tool")
        # Some write what a tool answers as JSON.
        if message["role"] == "assistant" or content in text or json.dumps(content, ensure_ascii=False)[1:-1] in text:
            continue
        raise RefusedConversationError(f"the template does not show, or changes, a turn of the role {message['role']}")


def _render_last(
    template: ChatTemplate, messages: list[dict[str, Any]], tools: list[Any] | None, form: AnswerForm
) -> RenderedConversation:
    prompt = template.render(messages[:-1], add_generation_prompt=True, tools=tools)
    text = template.render(messages, add_generation_prompt=False, tools=tools)
    if not text.startswith(prompt):
        # The generation prompt opens what an answer of the past does not have (reasoning), or the last request is shown otherwise
        # once it is answered (a system text that stands with it). The model will see the generation prompt.
        stand_in = {"role": "assistant", "content": _ANSWER}
        head, found, _ = template.render(
            [*messages[:-1], stand_in], add_generation_prompt=False, tools=tools
        ).rpartition(_ANSWER)
        if form.before is None or not found or not text.startswith(head):
            raise RefusedConversationError(
                "the answer cannot be told from its prompt: the text that asks for it is not the beginning of the text with it"
            )
        text = prompt + form.before + text[len(head) :]
    span = _close(text, (len(prompt), len(text)), form)
    return RenderedConversation(text=text[: span[1]], prompt=prompt, spans=(span,))


def _find_by_prefix(
    template: ChatTemplate,
    messages: list[dict[str, Any]],
    tools: list[Any] | None,
    form: AnswerForm,
    whole: str,
    place: int,
) -> tuple[int, int]:
    """Returns the span of an earlier answer."""
    try:
        prompt = template.render(messages[:place], add_generation_prompt=True, tools=tools)
        with_answer = template.render(messages[: place + 1], add_generation_prompt=False, tools=tools)
    except RefusedConversationError as error:
        raise CannotTellError(f"the template does not render the turns up to an earlier answer: {error}") from error
    if not with_answer.startswith(prompt):
        raise CannotTellError("the text that asks for an earlier answer is not the beginning of the text with it")
    # What closes a text but no turn within it stands behind the end token.
    start, end = _close(with_answer, (len(prompt), len(with_answer)), form)
    if not whole.startswith(with_answer[:end]):
        raise CannotTellError(
            "the template shows an earlier answer, or what stands before it, otherwise once others follow"
        )
    return start, end


def _find_marked(
    template: ChatTemplate,
    messages: list[dict[str, Any]],
    tools: list[Any] | None,
    form: AnswerForm,
    whole: str,
    wanted: Sequence[int],
) -> tuple[tuple[int, int], ...]:
    """Returns the spans of some answers by the template's own `{% generation %}`."""
    text, marked = template.render_with_generation(messages, tools)
    if not text.startswith(whole):
        raise CannotTellError("the text that asks for the last answer is not the beginning of the text with it")
    answers = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    if len(marked) != len(answers):
        raise CannotTellError(f"the template marks {len(marked)} parts as generated, of {len(answers)} assistant turns")
    return tuple(_close(text, span, form) for i, span in zip(answers, marked, strict=True) if i in wanted)


def _close(text: str, span: tuple[int, int], form: AnswerForm) -> tuple[int, int]:
    """Returns a span that ends behind the token that closes the answer: what follows, a newline mostly, is never generated.

    Args:
        text: Of the conversation.
        span: Where the answer, and perhaps more, stands.
        form: Of the template.
    """
    start, end = span
    if not form.end:
        return span
    if (place := text.find(form.end, start, end)) >= 0:
        return start, place + len(form.end)
    blank = len(text[end:]) - len(text[end:].lstrip())
    if text.startswith(form.end, end + blank):
        return start, end + blank + len(form.end)
    return span
