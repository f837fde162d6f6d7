"""From a raw record to token ids: clean, render, tokenize, mark the targets, truncate."""

from collections.abc import Mapping, Sequence

from components.errors import UserError
from components.text import features
from components.text.answer_spans import ALL_TURNS, EVERYTHING, LAST_TURN
from components.text.chat_template import ChatTemplate
from components.text.chat_tokenization import ChatTokenizer
from components.text.cleaning import REASONING, SAFE, clean_text, has_text
from components.text.conversation import REASONING_KEYS, Conversation, has_system_text, parse_conversation
from components.text.model_tokenizer import encode_with_offsets, list_special_tokens
from components.text.named_chat_templates import NAMED_TEMPLATES, list_needed_tokens, make_named_template
from components.text.record_cleaning import Cleaner, join_request, join_seam, join_seams, neutralize
from components.text.templates import TEMPLATES, PromptTemplate, Turns
from components.text.tokenized_record import TokenizedRecord, Tokenizer, mark_tokens, start_token_id, truncate

__all__ = [
    "RecordTokenizer",
    "TokenizedRecord",
    "Tokenizer",
    "neutralize",
    "prepare_template",
    "start_token_id",
    "truncate",
]


class RecordTokenizer:
    """Turns raw records into tokens with one template and one model's tokenizer."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: str | PromptTemplate | ChatTemplate,
        system: str,
        max_length: int,
        train_on: str = ALL_TURNS,
        cleaning: str = SAFE,
    ):
        """Sets the tokenizer up.

        Args:
            tokenizer: The model's.
            template: A template, or the name of one.
            system: Text before every prompt that has none of its own; "" for none.
            max_length: Most tokens of one example.
            train_on: One of `answer_spans.TRAIN_ON`.
            cleaning: One of `cleaning.LEVELS`.

        Raises:
            UserError: If the tokenizer lacks a special token of the template.
        """
        if isinstance(template, str):
            template = make_named_template(template) if template in NAMED_TEMPLATES else TEMPLATES[template]
        self._tokenizer = tokenizer
        self._special = list_special_tokens(tokenizer)
        self._template = template
        self._cleaning = cleaning
        self._system = clean_text(system, cleaning)
        self._max_length = max_length
        self._train_on = train_on
        start = start_token_id(tokenizer)
        self._start = [] if start is None else [int(start)]
        self._end_tokens = {find_token(tokenizer, int(tokenizer.end_token_id))}
        self._chat = None
        if isinstance(template, ChatTemplate):
            self._chat = ChatTokenizer(
                tokenizer,
                prepare_template(template, tokenizer),
                self._special,
                system=self._system,
                max_length=max_length,
                train_on=train_on,
            )
            self._end_tokens.add(self._chat.form.end)

    def __call__(self, record: Mapping[str, str]) -> TokenizedRecord | None:
        """Returns the record in tokens, or None if nothing is left of its response once it is cleaned.

        Args:
            record: The raw text features by name.

        Raises:
            RefusedConversationError: If the model's chat template does not render it.
        """
        cleaner = Cleaner(self._special, self._end_tokens, self._cleaning)
        if record.get(features.INPUT) and features.MESSAGES in record and isinstance(self._template, PromptTemplate):
            # An instruction with a system text of its own: the template has a place for its input.
            first = parse_conversation(record[features.MESSAGES]).messages[:1]
            system = cleaner(first[0]["content"]) if has_system_text(first) else self._system
            return self._tokenize_instruction(record, cleaner, system)
        if messages := record.get(features.MESSAGES):
            raw = parse_conversation(messages)
            conversation = cleaner.clean(raw)
            if isinstance(self._template, PromptTemplate) and not self._template.response_prefix:
                conversation = join_seams(raw, conversation, self._cleaning)
        elif self._chat:
            conversation = cleaner.clean(_to_conversation(record, cleaner))
        else:
            return self._tokenize_instruction(record, cleaner, self._system)
        if not conversation.trained:
            return None
        tokenized = self._chat(conversation, cleaner) if self._chat else self._tokenize_turns(conversation, cleaner)
        answer = conversation.messages[conversation.trained[-1]]
        reasoning = next((answer[key] for key in REASONING_KEYS if answer.get(key)), "")
        if has_text(reasoning) and reasoning.strip() not in tokenized.response:
            cleaner.changes.setdefault(REASONING, (reasoning, ""))
        return tokenized

    def _tokenize_instruction(self, record: Mapping[str, str], cleaner: Cleaner, system: str) -> TokenizedRecord | None:
        assert isinstance(self._template, PromptTemplate)
        raw, raw_context = record[features.INSTRUCTION], record.get(features.INPUT, "")
        instruction, context = cleaner(raw), cleaner(raw_context)
        response = cleaner.clean_answer(record[features.OUTPUT])
        if not has_text(response):
            return None
        if not self._template.response_prefix and (instruction or context):
            response = join_seam(raw_context if context else raw, record[features.OUTPUT], response, self._cleaning)
        prompt = self._template.render(instruction, context, system)
        return self._join(Turns(prompt, response, {}), [], cleaner)

    def _tokenize_turns(self, conversation: Conversation, cleaner: Cleaner) -> TokenizedRecord:
        """Tokenizes a conversation in a template without special tokens, where only the last answer ends with one."""
        assert isinstance(self._template, PromptTemplate)
        trained = conversation.trained
        messages = conversation.seen[: trained[-1] + 1]
        turns = self._template.render_turns(messages, self._system, conversation.tools)
        spans = [] if self._train_on == LAST_TURN else [turns.answers[i] for i in trained[:-1]]
        return self._join(turns, spans, cleaner)

    def _join(self, turns: Turns, spans: Sequence[tuple[int, int]], cleaner: Cleaner) -> TokenizedRecord:
        """Tokenizes prompt and response one by one, since the model will get the one and write the other."""
        if spans:
            body, offsets = encode_with_offsets(self._tokenizer, turns.prompt)
            mask = mark_tokens(offsets, spans)
        else:
            body = [int(i) for i in self._tokenizer(turns.prompt)]
            mask = [0] * len(body)
        if self._train_on == EVERYTHING:
            mask = [1] * len(body)
        prompt_ids = [*self._start, *body]
        response_ids = [*(int(i) for i in self._tokenizer(turns.response)), int(self._tokenizer.end_token_id)]
        ids = prompt_ids + response_ids
        mask = [*[0] * len(self._start), *mask, *[1] * len(response_ids)]
        kept_prompt, kept_response = truncate(
            range(len(prompt_ids)), range(len(prompt_ids), len(ids)), self._max_length, len(self._start)
        )
        kept = kept_prompt + kept_response
        return TokenizedRecord(
            token_ids=[ids[i] for i in kept],
            target_mask=[mask[i] for i in kept],
            num_prompt_tokens=len(kept_prompt),
            prompt=turns.prompt,
            response=turns.response,
            prompt_tokens_cut=len(prompt_ids) - len(kept_prompt),
            response_tokens_cut=len(response_ids) - len(kept_response),
            neutralized=cleaner.neutralized,
            changes=cleaner.changes,
            template_specials=len(self._start) + 1,
        )


def prepare_template(template: ChatTemplate, tokenizer: Tokenizer) -> ChatTemplate:
    """Returns a chat template with the tokenizer's start and end token for variables that it has no value for.

    Raises:
        UserError: If the tokenizer lacks a special token that a named template writes.
    """
    missing = [token for token in list_needed_tokens(template.name) if not _is_one_token(tokenizer, token)]
    if missing:
        raise UserError(
            f"the template `{template.name}` writes special tokens that the model must know. Its tokenizer has no "
            f"{', '.join(f'`{token}`' for token in missing)}. Name another template in `text.template`, or a preset that was "
            "made for this one."
        )
    start = start_token_id(tokenizer)
    found = {
        "bos_token": "" if start is None else find_token(tokenizer, int(start)),
        "eos_token": find_token(tokenizer, int(tokenizer.end_token_id)),
    }
    return template.with_variables({name: token for name, token in found.items() if token})


def find_token(tokenizer: Tokenizer, token_id: int) -> str:
    """Returns the special token with an id; "" if none has it."""
    return next((t for t in list_special_tokens(tokenizer) if [int(i) for i in tokenizer(t)] == [token_id]), "")


def _is_one_token(tokenizer: Tokenizer, token: str) -> bool:
    ids = tokenizer(token)
    to_token = getattr(tokenizer, "id_to_token", None)
    return len(ids) == 1 and (to_token is None or to_token(int(ids[0])) == token)


def _to_conversation(record: Mapping[str, str], cleaner: Cleaner) -> Conversation:
    """Returns an instruction with its input, cleaned, and the answer, as a conversation of one turn each."""
    parts = (record[features.INSTRUCTION], record.get(features.INPUT, ""))
    request = join_request(*(cleaner.clean_characters(part) for part in parts))
    return Conversation(
        messages=[{"role": "user", "content": request}, {"role": "assistant", "content": record[features.OUTPUT]}]
    )
