from pathlib import Path

import keras_hub
import pytest

from components.text.token_texts import TokenTexts

PRESET = str(Path(__file__).resolve().parents[3] / "data" / "base" / "tiny_gpt2_en")
TEXTS = ["The opposite of hot is cold.", "Grüße aus 東京 🙂!", "a\n\tb  c\u00a0d", "<|endoftext|>", "\x00\x7f"]


class SentencePieces:
    """What is used of a SentencePiece tokenizer with byte fallback."""

    TOKENS = ["\u2581the", "<0xE6>", "<0x9D>", "<0xB1>", "\u2581", "<end>"]

    def id_to_token(self, token_id):
        return self.TOKENS[token_id]


@pytest.fixture(scope="module")
def tokenizer():
    return keras_hub.tokenizers.Tokenizer.from_preset(PRESET)


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_join_to_the_text(tokenizer, text):
    ids = [int(i) for i in tokenizer(text)]
    pieces = TokenTexts(tokenizer)(ids)
    assert len(pieces) == len(ids)
    assert "".join(pieces) == text


def test_a_character_of_several_tokens_stands_at_its_last(tokenizer):
    ids = [int(i) for i in tokenizer("京")]
    assert len(ids) > 1
    texts = TokenTexts(tokenizer)
    assert texts(ids) == [""] * (len(ids) - 1) + ["京"]
    assert "\ufffd" in texts.one(ids[0])


def test_sentence_pieces():
    texts = TokenTexts(SentencePieces())
    assert texts([0, 1, 2, 3, 4, 5]) == [" the", "", "", "東", " ", "<end>"]
