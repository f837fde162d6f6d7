"""From a conversation to token ids with a chat template: render, tokenize as one text, mark the targets, truncate."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from components.errors import UserError
from components.text.answer_spans import LAST_TURN, RenderedConversation, find_answer_form, render_conversation
from components.text.chat_template import ChatTemplate, RefusedConversationError
from components.text.conversation import Conversation, has_system_text, with_system
from components.text.model_tokenizer import encode_with_offsets
from components.text.record_cleaning import Cleaner
from components.text.tokenized_record import TokenizedRecord, Tokenizer, mark_tokens, truncate


@dataclass(frozen=True, kw_only=True)
class _Encoded:
    """A conversation in tokens before truncation; `num_head` of them stand before the last request."""

    conversation: Conversation
    rendered: RenderedConversation
    token_ids: list[int]
    offsets: list[tuple[int, int]]
    num_prompt_tokens: int
    num_head: int


class ChatTokenizer:
    """Tokenizes conversations with one chat template and one model's tokenizer.

    The text is what the template gives: no start token is added to it, and none is doubled.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: ChatTemplate,
        special_tokens: Sequence[str],
        *,
        system: str,
        max_length: int,
        train_on: str,
    ):
        """Sets it up.

        Args:
            tokenizer: The model's.
            template: With values for its variables.
            special_tokens: The model's.
            system: Cleaned text of a system turn for conversations that have none; "" for none.
            max_length: Most tokens of one example.
            train_on: One of `answer_spans.TRAIN_ON`.

        Raises:
            UserError: If the token that closes an answer is none of the tokenizer's.
        """
        self._tokenizer = tokenizer
        self._template = template
        self._specials = re.compile("|".join(map(re.escape, special_tokens)) or "(?!)")
        self._system = system
        self._max_length = max_length
        self._train_on = train_on
        self._end_ids = {int(tokenizer.end_token_id)}
        self.form = find_answer_form(template, special_tokens)
        if self.form.end:
            ids = tokenizer(self.form.end)
            if len(ids) != 1:
                raise UserError(
                    f"the token that closes a turn in the chat template, `{self.form.end}`, must be one token of the model. Its "
                    f"tokenizer makes {len(ids)} of it. Take template and tokenizer of one model, or name another template in "
                    "`text.template`."
                )
            self._end_ids.add(int(ids[0]))
        self._specials_of_shape: dict[Any, int | None] = {}

    def __call__(self, conversation: Conversation, cleaner: Cleaner) -> TokenizedRecord:
        """Returns a cleaned conversation, which has a trained answer, in tokens.

        One that is too long loses its oldest turns, whole, but for the system turn and tools. What is left when only the last
        request stays loses tokens: those of the request from its beginning, then those of the answer from its end.

        Raises:
            RefusedConversationError: If the template does not render it.
        """
        if self._system and not has_system_text(conversation.messages):
            system = cleaner.neutralize(self._system)
            conversation = replace(conversation, messages=with_system(conversation.messages, system))
        whole = encoded = self._encode(conversation)
        if len(whole.token_ids) > self._max_length:
            encoded = self._drop_oldest(conversation, whole)
        ids, split = encoded.token_ids, encoded.num_prompt_tokens
        num_head = min(encoded.num_head, self._max_length // 4)
        kept_prompt, kept_response = truncate(range(split), range(split, len(ids)), self._max_length, num_head)
        kept = kept_prompt + kept_response
        rendered = render_conversation(self._template, encoded.conversation, self.form, self._train_on)
        mask = mark_tokens(encoded.offsets, rendered.spans)
        mask += [1] * (len(ids) - len(mask))  # the end token where the template has none
        return TokenizedRecord(
            token_ids=[ids[i] for i in kept],
            target_mask=[mask[i] for i in kept],
            num_prompt_tokens=len(kept_prompt),
            prompt=rendered.prompt,
            response=self._cut_answer(rendered),
            prompt_tokens_cut=whole.num_prompt_tokens - len(kept_prompt),
            response_tokens_cut=len(ids) - split - len(kept_response),
            neutralized=cleaner.neutralized,
            changes=cleaner.changes,
            template_specials=self._count_specials(conversation, whole),
            note=rendered.note,
        )

    def _cut_answer(self, rendered: RenderedConversation) -> str:
        """Returns the last answer without what the template writes around it; its first line may be indented."""
        answer = rendered.text[len(rendered.prompt) :].removesuffix(self.form.end).rstrip(" \t\n")
        return answer.lstrip(" \t\n") if self.form.before is None else answer.removeprefix(self.form.before)

    def _encode(self, conversation: Conversation) -> _Encoded:
        rendered = render_conversation(self._template, conversation, self.form, LAST_TURN)
        ids, offsets = encode_with_offsets(self._tokenizer, rendered.text)
        is_answer = mark_tokens(offsets, [(len(rendered.prompt), len(rendered.text))])
        if 1 not in is_answer:
            raise RefusedConversationError("the template writes nothing for the answer")
        split = is_answer.index(1)
        if ids[-1] not in self._end_ids:
            # The template has no token of its own that closes an answer, but a generation must end.
            ids = [*ids, int(self._tokenizer.end_token_id)]
        request = conversation.seen[conversation.trained[-1] - 1]["content"].strip()  # as many templates show it
        forms = (request, json.dumps(request, ensure_ascii=False)[1:-1])
        head = max(0, *map(rendered.prompt.rfind, forms)) if request else 0
        return _Encoded(
            conversation=conversation,
            rendered=rendered,
            token_ids=ids,
            offsets=offsets,
            num_prompt_tokens=split,
            num_head=sum(end <= head for _, end in offsets),
        )

    def _drop_oldest(self, conversation: Conversation, whole: _Encoded) -> _Encoded:
        """Returns the conversation without as few of its oldest turns as make it short enough, or as many as there are."""
        messages, last = conversation.messages, conversation.trained[-1]
        first = 1 if messages[0]["role"] == "system" else 0
        # A conversation goes on from a request.
        begins = [i for i in range(first + 1, last) if messages[i]["role"] == "user"]
        best, low, high = whole, 0, len(begins)
        while low < high:
            middle = (low + high) // 2
            shorter = replace(conversation, messages=messages[:first] + messages[begins[middle] :])
            encoded = self._encode(shorter)
            if len(encoded.token_ids) <= self._max_length:
                best, high = encoded, middle
            else:
                # The shortest so far, in case that none is short enough.
                best, low = (encoded if len(best.token_ids) > self._max_length else best), middle + 1
        return best

    def _count_specials(self, conversation: Conversation, whole: _Encoded) -> int:
        """Returns how many special tokens the template writes into a conversation of this shape, whatever its texts are."""
        stand_in = conversation.map_text(lambda text: "x" if text.strip() else "")
        shape = repr(stand_in)
        if shape not in self._specials_of_shape:
            if len(self._specials_of_shape) > 10_000:
                self._specials_of_shape.clear()
            try:
                text = render_conversation(self._template, stand_in, self.form, LAST_TURN).text
            except RefusedConversationError:
                self._specials_of_shape[shape] = None
            else:
                self._specials_of_shape[shape] = len(self._specials.findall(text))
        count = self._specials_of_shape[shape]
        if count is None:  # The template reads the texts: what is in the rendered text is all that there is to go by.
            count = len(self._specials.findall(whole.rendered.text))
        return count + (len(whole.token_ids) > 0 and not whole.rendered.text.endswith(self.form.end or "\0"))
