"""The model's own token ids: KerasHub's tokenizers, with the rules by which the model was trained.

KerasHub hands the pattern that cuts a text into words to the library `tokenizers` as a plain string, which is searched for as it
stands and found nowhere; and it has one pattern for all models. So the object behind a KerasHub tokenizer is replaced here by
one with the model's own rules. Everything else about it stays KerasHub's.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.errors import UserError
from components.presets.side_files import find_side_file, is_hugging_face_folder, read_json_object
from components.presets.tokenizer_files import stands_for_text
from components.text.sentencepiece_rules import make_sentencepiece_rules
from components.text.tokenizer_rules import RULES_NAME, find_family, make_rules, read_rules

# Tokens that close a turn in the chat templates of the known families.
_TURN_ENDS = (
    "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<turn|>", "<|end|>", "<|return|>", "<|eot|>",
)  # fmt: skip


_TAG = re.compile(r"</?([A-Za-z]\w*)>")


def load_tokenizer(folder: str) -> Any:
    """Returns the KerasHub tokenizer of a preset; outside of a TensorFlow graph its ids are the model's own.

    Args:
        folder: A preset: a local folder, or a name that KerasHub knows.

    Raises:
        UserError: If the model's rules are not known, or are those of another vocabulary.
    """
    import keras_hub  # Imported by those who tokenize, not where a pipeline is only wired.

    from components.models.mends import mend_keras_hub

    mend_keras_hub()
    tokenizer = keras_hub.tokenizers.Tokenizer.from_preset(folder)
    adopt_own_rules(tokenizer, folder)
    return tokenizer


def adopt_own_rules(tokenizer: Any, folder: str | Path) -> None:
    """Gives a KerasHub tokenizer the model's own rules, in place; one that has them, or needs none, stays as it is.

    They are those of the publisher's `tokenizer.json` (all of them but the start token, which is the caller's to add), else
    those of the model's family.

    Args:
        tokenizer: A KerasHub tokenizer.
        folder: The preset that it comes from.

    Raises:
        UserError: If the model's rules are not known, or are those of another vocabulary.
    """
    from keras_hub.tokenizers import BytePairTokenizer, SentencePieceTokenizer

    if isinstance(tokenizer, BytePairTokenizer):
        rules = read_rules(folder) or _make_family_rules(tokenizer, folder)
        tokenizer._tokenizer = _make_backend(rules, tokenizer.vocabulary, folder)
    elif isinstance(tokenizer, SentencePieceTokenizer):
        own_rules = read_rules(folder) or make_sentencepiece_rules(tokenizer.proto)
        if own_rules is None or own_rules["model"]["type"] != "BPE":
            return  # not by byte-pair merges: SentencePiece's own library has the right rules
        pieces = list(tokenizer.get_vocabulary())
        backend = _make_backend(own_rules, {piece: i for i, piece in enumerate(pieces)}, folder)
        largest = max(backend.get_vocab(with_added_tokens=True).values())
        pieces += [backend.id_to_token(i) or "" for i in range(len(pieces), largest + 1)]
        tokenizer._sentence_piece_spm = _Processor(backend, pieces)
        tokenizer._vocabulary, tokenizer._vocabulary_size = pieces, len(pieces)
        tokenizer._token_to_id_map = {piece: i for i, piece in enumerate(pieces) if piece}


def get_backend(tokenizer: Any) -> Any | None:
    """Returns the `tokenizers.Tokenizer` behind a KerasHub tokenizer; None if there is none."""
    backend = getattr(tokenizer, "_tokenizer", None)
    if backend is None:
        backend = getattr(getattr(tokenizer, "_sentence_piece_spm", None), "backend", None)
    return backend if hasattr(backend, "encode_batch") else None


def encode_with_offsets(tokenizer: Any, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Returns the token ids of `text` and, for each, the [start, end) characters of `text` that it stands for.

    Special tokens in the text become their ids; no start token is added. Several tokens may stand for parts of one character:
    each of them has the whole of it.

    Raises:
        UserError: If the tokenizer is of a kind that does not tell.
    """
    backend = get_backend(tokenizer)
    if backend is None:
        raise UserError(
            "where tokens stand in their text is known of byte-pair tokenizers. Received: "
            f"{type(tokenizer).__name__}. Use a model with such a tokenizer, or a named template."
        )
    encoding = backend.encode(text, add_special_tokens=False)
    return list(encoding.ids), list(encoding.offsets)


def list_special_tokens(tokenizer: Any) -> list[str]:
    """Returns the tokens that stand for no text, longest first: their characters in a text would become their ids."""
    tokens = {token for token in tokenizer.special_tokens if token}
    if backend := get_backend(tokenizer):
        added = backend.get_added_tokens_decoder().values()
        # KerasHub has all of them among its special ones.
        tokens -= _list_tags([token.content for token in added if not token.special], tokenizer)
        tokens |= {token.content for token in added if token.special}
    return sorted(tokens, key=lambda token: (-len(token), token))


def _list_tags(tokens: Sequence[str], tokenizer: Any) -> set[str]:
    """Returns tokens that are text with one id: tags that open and close a part of an answer, such as `<think>` and `</think>`.

    What marks a turn stands alone, and some publishers do not call it special either.
    """
    names: dict[str, set[str]] = {}
    for token in tokens:
        if match := _TAG.fullmatch(token):
            names.setdefault(match[1], set()).add(token)
    own = {getattr(tokenizer, f"{name}_token", None) for name in ("start", "end", "end2", "pad")}
    return {token for pair in names.values() if len(pair) == 2 and not pair & own for token in pair}


def list_end_token_ids(tokenizer: Any, folder: str | Path) -> tuple[int, ...]:
    """Returns the ids of all tokens that end a generation; the first is the one that is trained to end an answer.

    They are the tokenizer's own end tokens, those of `generation_config.json` and the one that closes a turn in the chat template.
    """
    found = [getattr(tokenizer, name, None) for name in ("end_token_id", "end_token2_id")]
    path = find_side_file(folder, "generation_config.json")
    listed = (read_json_object(path) or {}).get("eos_token_id") if path else None
    found += listed if isinstance(listed, list) else [listed]
    template = _read_chat_template(folder)
    backend = get_backend(tokenizer)
    found += [backend.token_to_id(token) for token in _TURN_ENDS if backend and token in template]
    return tuple(dict.fromkeys(int(token_id) for token_id in found if token_id is not None))


class _Processor:
    """What KerasHub's SentencePiece tokenizers use of `sentencepiece.SentencePieceProcessor`, by other rules."""

    def __init__(self, backend: Any, pieces: Sequence[str]):
        self.backend = backend
        self._pieces = pieces

    def Encode(self, texts: Sequence[str], add_bos: bool = False, add_eos: bool = False) -> list[list[int]]:  # noqa: N802
        """Returns the ids of each text; start and end tokens are not added."""
        return [encoding.ids for encoding in self.backend.encode_batch(list(texts), add_special_tokens=False)]

    def Decode(self, token_ids: Sequence[Sequence[int]]) -> list[str]:  # noqa: N802
        """Returns the text of each list of ids."""
        return self.backend.decode_batch([list(ids) for ids in token_ids], skip_special_tokens=False)

    def IdToPiece(self, token_id: int) -> str:  # noqa: N802
        """Returns a token as the vocabulary has it."""
        return self._pieces[token_id]


def _make_family_rules(tokenizer: Any, folder: str | Path) -> dict[str, Any]:
    if pattern := getattr(tokenizer, "split_pattern", None):
        # Mistral's newer tokenizers bring their pattern with them.
        from components.text.tokenizer_rules import Family, byte_level, split

        family: Any = Family(pre_tokenizers=[split(pattern), byte_level(use_regex=False)])
    else:
        family = find_family([base.__name__ for base in type(tokenizer).__mro__], tokenizer.vocabulary)
    if family is None:
        raise UserError(
            f"the rules by which {type(tokenizer).__name__} makes tokens must be known. {folder} has no {RULES_NAME} of its "
            "publisher, and its vocabulary is that of no family known here. Give the model's folder from Hugging Face, with "
            f"that file, as model.preset, or put the file into the folder `hugging_face` of the preset."
        )
    return make_rules(
        family,
        tokenizer.vocabulary,
        tokenizer.merges,
        [*tokenizer.special_tokens, *(tokenizer.unsplittable_tokens or [])],
        prefix_space=bool(tokenizer.add_prefix_space),
    )


def _make_backend(rules: Mapping[str, Any], known: Mapping[str, int], folder: str | Path) -> Any:
    """Returns the rules as a `tokenizers.Tokenizer` once they are found to be of the vocabulary `known`, token to id."""
    from tokenizers import Tokenizer

    rows = find_embedding_rows(folder)
    # Such an id in a text would be outside of the embedding.
    added = [
        token
        for token in rules.get("added_tokens") or ()
        if rows is None or token["id"] < rows or token["content"] in known or stands_for_text(token["content"])
    ]
    try:
        backend = Tokenizer.from_str(json.dumps({**rules, "added_tokens": added}))
    except Exception as error:  # the library raises nothing more particular
        raise UserError(
            f"the tokenizer of {folder} must follow rules that the library `tokenizers` reads. Received: {error}. Download "
            f"{RULES_NAME} again, or leave it out where the folder has the files of an older tokenizer."
        ) from error
    _check_vocabulary(backend.get_vocab(with_added_tokens=True), known, {token["content"] for token in added}, folder)
    _check_embedding(backend.get_vocab(with_added_tokens=True), rows, folder)
    return backend


def _check_vocabulary(own: Mapping[str, int], known: Mapping[str, int], added: set[str], folder: str | Path) -> None:
    # Transformers writes the byte of the tabulator as the tabulator. KerasHub leaves reserved tokens out.
    renamed = {"<0x09>", "\t"} if own.get("\t") == known.get("<0x09>") else set()
    other = [token for token, token_id in known.items() if own.get(token) != token_id and token not in renamed]
    other += [token for token in own if token not in known and token not in added and token not in renamed]
    if other:
        shown = "; ".join(f"{token!r} has the id {own.get(token)} and {known.get(token)}" for token in other[:3])
        raise UserError(
            f"the vocabulary of {RULES_NAME} must be the one of the model's tokenizer. In {folder} they differ in {len(other)} "
            f"tokens: {shown}. Take all files of the folder from one revision of one model."
        )


def _check_embedding(own: Mapping[str, int], rows: int | None, folder: str | Path) -> None:
    beyond = sorted((i, token) for token, i in own.items() if rows is not None and i >= rows)
    if beyond:
        raise UserError(
            f"each token must have a row in the model's embedding, which has {rows}. Received from {folder}: {len(beyond)} tokens "
            f"more, such as {beyond[0][1]!r} with the id {beyond[0][0]}. Take the tokenizer that belongs to the weights, or the "
            "weights whose embedding was made larger for it."
        )


def find_embedding_rows(folder: str | Path) -> int | None:
    """Returns for how many ids the model of a preset folder has an embedding; None if its configuration does not say."""
    config = read_json_object(Path(folder) / "config.json") or {}
    if is_hugging_face_folder(folder):
        inner = config.get("text_config")
        value = config.get("vocab_size", inner.get("vocab_size") if isinstance(inner, dict) else None)
    else:
        inner = config.get("config")
        value = inner.get("vocabulary_size") if isinstance(inner, dict) else None
    return value if isinstance(value, int) else None


def _read_chat_template(folder: str | Path) -> str:
    for name in ("chat_template.jinja", "chat_template.json", "tokenizer_config.json"):
        if path := find_side_file(folder, name):
            text = path.read_text(encoding="utf-8")
            if name.endswith(".jinja"):
                return text
            if template := (read_json_object(path) or {}).get("chat_template"):
                return json.dumps(template, ensure_ascii=False)
    return ""
