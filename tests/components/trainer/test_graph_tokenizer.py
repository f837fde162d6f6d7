"""Tokens in a TensorFlow graph are those of eager Python, by the rules of each family; unknown rules are refused."""

import copy
import json
import random
from pathlib import Path
from types import SimpleNamespace

import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from tokenizers import Tokenizer

from components.errors import UserError
from components.text.graph_rules import find_tokenizer_problems, find_unknown_rules
from components.text.model_tokenizer import adopt_own_rules, get_backend
from components.text.token_texts import byte_symbols
from components.trainer.graph_tokenizer import GraphBytePairTokenizer, make_graph_tokenizer
from components.trainer.verify_export import ExportMismatchError, _verify_tokens

SHARED = Path(__file__).parents[4] / "shared" / "data"
BYTE_LEVEL = (
    "gpt2", "gpt_neo_x", "smollm2", "llama3", "qwen2", "qwen3_5", "gpt_oss", "bloom", "falcon", "tekken",
)  # fmt: skip
SENTENCEPIECE = ("gemma", "llama", "mistral_legacy")
PARTS = [
    "  ", " ", "\n", "\r\n", "\t", "a", "The", " the", "end", "don't", "B", "\u00e9", "1", "12345", "'s", "'LL", "'\u017f", ".",
    "!\n", "\u6771\u4eac", "\u00a0", "\u2028", "\u0085", "e\u0301", "\u1100\u1161", "/", "(", "|", "\u2026", "\ufdd0", ";", ",",
    "\x00", "\U0001f642", "\U0001f468\u200d\U0001f467", "\u0661", "\u00bd", "\u00fc", "\u2581", "\\", "\\1", "    ", "=====", "#",
    "<s>", "</s>", "<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<start_of_turn>", "<b>", "<|", "<0x41>",
]  # fmt: skip


def make_texts(count):
    generator = random.Random(0)
    texts = ["", " ", "the" * 100, " " * 70 + "x" + "\n" * 9]
    for _ in range(count):
        parts = [
            generator.choice(PARTS)
            if generator.random() < 0.9
            else chr(generator.choice([generator.randrange(1, 0xD800), generator.randrange(0xE000, 0x110000)]))
            for _ in range(generator.randint(1, 14))
        ]
        texts.append("".join(parts))
    return texts


TEXTS = make_texts(400)


def make_tokenizer(small_tokenizers, name, folder):
    if name in SENTENCEPIECE:
        tokenizer = small_tokenizers.make_sentencepiece(name, folder)
    else:
        tokenizer, _ = small_tokenizers.make_byte_level(name, folder)
    adopt_own_rules(tokenizer, folder)
    return tokenizer


def encode_in_graph(graph):
    return tf.function(graph.encode, input_signature=[tf.TensorSpec([None], tf.string)])


def decode_in_graph(graph, ids):
    texts = graph.decode(tf.ragged.constant(ids, dtype=tf.int32))
    # As the signatures do: a client must be able to rely on UTF-8.
    return [t.decode() for t in tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace").numpy()]


def check(tokenizer, texts=TEXTS):
    """Compares the graph with eager Python; returns the graph's function."""
    graph = make_graph_tokenizer(tokenizer)
    assert isinstance(graph, GraphBytePairTokenizer)
    encode = encode_in_graph(graph)
    expected = [[int(i) for i in tokenizer(text)] for text in texts]
    assert encode(tf.constant(texts)).to_list() == expected
    assert decode_in_graph(graph, expected) == [tokenizer.detokenize(ids) for ids in expected]
    generator = np.random.default_rng(0)
    size = get_backend(tokenizer).get_vocab_size()
    cut = [generator.integers(0, size, generator.integers(0, 12)).tolist() for _ in range(100)]
    assert decode_in_graph(graph, cut) == [tokenizer.detokenize(ids) for ids in cut]
    return encode


@pytest.mark.parametrize("name", [*BYTE_LEVEL, *SENTENCEPIECE])
def test_ids_and_texts_are_those_of_eager_python(name, small_tokenizers, tmp_path):
    encode = check(make_tokenizer(small_tokenizers, name, tmp_path))
    # One text at a time, and none at all.
    whole = encode(tf.constant(TEXTS[:20])).to_list()
    for row in (0, 2, 12):
        assert encode(tf.constant(TEXTS[row : row + 1])).to_list() == whole[row : row + 1]
    assert encode(tf.constant([], tf.string)).to_list() == []


@pytest.mark.parametrize("name", SENTENCEPIECE)
def test_what_follows_a_text_keeps_its_first_blank(name, small_tokenizers, tmp_path):
    """A tokenizer that puts a blank before a text takes it away from one; indented code that goes on from a prompt has its own."""
    graph = make_graph_tokenizer(make_tokenizer(small_tokenizers, name, tmp_path))
    ids = graph.encode(tf.constant(["x", "x    return the"])).to_list()
    rest = ids[1][len(ids[0]) :]
    decoded = graph.decode(tf.ragged.constant([rest], dtype=tf.int32), whole=False).numpy()[0].decode()
    assert decoded == "    return the"
    whole = graph.decode(tf.ragged.constant([rest], dtype=tf.int32)).numpy()[0].decode()
    assert whole == ("   return the" if graph.puts_blank else "    return the")


def test_bytes_that_are_no_token_are_dropped_before_the_merges(small_tokenizers, tmp_path):
    symbols = byte_symbols()
    tokenizer, _ = small_tokenizers.make_byte_level("gpt2", tmp_path, all_bytes=False)
    adopt_own_rules(tokenizer, tmp_path)
    letter = next(
        letter
        for letter in map(chr, range(0x180, 0x250))
        if not any(symbols[byte] in tokenizer.vocabulary for byte in letter.encode())
    )
    assert tokenizer(f"t{letter}he").tolist() == tokenizer("the").tolist()
    check(tokenizer)


def test_tokens_that_take_spaces_and_those_of_normalized_text(small_tokenizers, tmp_path):
    tokenizer, rules = small_tokenizers.make_byte_level("qwen2", tmp_path)
    ends = [{**token, "rstrip": True, "lstrip": i == 1} for i, token in enumerate(rules["added_tokens"])]
    vocabulary = rules["model"]["vocab"]
    more = [("e\u0301!", True), ("<|im_", False), ("the end", False)]
    for content, normalized in more:
        vocabulary[content] = len(vocabulary)
        ends.append(
            {**rules["added_tokens"][0], "id": vocabulary[content], "content": content, "normalized": normalized}
        )
    small_tokenizers.write_rules(tmp_path, {**rules, "added_tokens": ends})
    merges = [" ".join(pair) for pair in rules["model"]["merges"]]
    tokenizer = keras_hub.tokenizers.QwenTokenizer(vocabulary=vocabulary, merges=merges)
    adopt_own_rules(tokenizer, tmp_path)
    extra = ["x e\u0301! \u00e9! the end", "a \n<|im_start|>\u3000 <|im_end|>  b<|im_ <|endoftext|> c"]
    encode = check(tokenizer, [*extra, *TEXTS[:100]])
    assert vocabulary["e\u0301!"] in encode(tf.constant(extra[:1])).to_list()[0]


def test_ids_of_a_saved_model(small_tokenizers, tmp_path):
    tokenizer = make_tokenizer(small_tokenizers, "llama3", tmp_path)
    module = make_graph_tokenizer(tokenizer)
    module.served = encode_in_graph(module)
    tf.saved_model.save(module, str(tmp_path / "saved"))
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    assert loaded.served(tf.constant(TEXTS[:50])).to_list() == [[int(i) for i in tokenizer(t)] for t in TEXTS[:50]]


def test_keras_hubs_tokenizer_as_it_is(small_tokenizers, tmp_path):
    """One that nobody gave rules to is followed as well: its pattern is text that is searched for."""
    tokenizer, _ = small_tokenizers.make_byte_level("gpt2", tmp_path)
    check(tokenizer, TEXTS[:100])


@pytest.mark.skipif(not (SHARED / "gpt2-bpe").exists(), reason="GPT-2's vocabulary is not here")
def test_gpt2s_own_vocabulary():
    folder = SHARED / "gpt2-bpe"
    merges = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    tokenizer = keras_hub.models.GPT2Tokenizer(vocabulary=vocabulary, merges=[m for m in merges if m])
    adopt_own_rules(tokenizer, "")
    # As OpenAI's own code makes them.
    assert tokenizer("a\n\nb").tolist() == [64, 198, 198, 65]
    texts = json.loads((SHARED / "naughty-strings" / "blns.json").read_text(encoding="utf-8"))
    check(tokenizer, [*texts, *TEXTS[:100]])


def test_unknown_rules_are_refused_by_name(small_tokenizers, tmp_path):
    _, rules = small_tokenizers.make_byte_level("gpt2", tmp_path)
    assert find_unknown_rules(rules) == []
    step = {"type": "Split", "pattern": {"Regex": r"(?<=x)\p{L}+"}, "behavior": "Removed", "invert": False}
    changes = {
        "the normalizer `Lowercase`": {"normalizer": {"type": "Lowercase"}},
        "the pre-tokenizer `Whitespace`": {"pre_tokenizer": {"type": "Whitespace"}},
        "`Split` whose matches are `Removed`": {"pre_tokenizer": step},
        r"`Split` by `(?<=x)\p{L}+`": {"pre_tokenizer": {**step, "behavior": "Isolated"}},
        "the model `Unigram`": {"model": {**rules["model"], "type": "Unigram"}},
        "`dropout` 0.1": {"model": {**rules["model"], "dropout": 0.1}},
        "found between other words only": {"added_tokens": [{**rules["added_tokens"][0], "single_word": True}]},
        "the decoder ['WordPiece']": {"decoder": {"type": "WordPiece"}},
    }
    for said, change in changes.items():
        assert any(said in found for found in find_unknown_rules({**copy.deepcopy(rules), **change})), said
    with pytest.raises(UserError, match="the normalizer `Lowercase`"):
        GraphBytePairTokenizer(Tokenizer.from_str(json.dumps({**rules, "normalizer": {"type": "Lowercase"}})))


def test_validate_names_what_the_graph_does_not_know(small_tokenizers, tmp_path):
    _, rules = small_tokenizers.make_byte_level("gpt2", tmp_path)
    assert find_tokenizer_problems(tmp_path) == find_tokenizer_problems(tmp_path / "nothing") == []
    small_tokenizers.write_rules(tmp_path, {**rules, "normalizer": {"type": "Lowercase"}})
    (problem,) = find_tokenizer_problems(tmp_path)
    assert "does not know the normalizer `Lowercase`" in problem
    small_tokenizers.write_rules(tmp_path, {"model": {}})
    assert "must hold the rules of a tokenizer" in find_tokenizer_problems(tmp_path)[0]


def test_an_export_with_other_tokens_is_refused(small_tokenizers, tmp_path):
    tokenizer = make_tokenizer(small_tokenizers, "gpt2", tmp_path)
    other = make_tokenizer(small_tokenizers, "smollm2", tmp_path / "other")
    loaded = SimpleNamespace(tokenize=make_graph_tokenizer(tokenizer).encode)
    _verify_tokens(loaded, tokenizer, ["The end", ""])
    _verify_tokens(loaded, tokenizer, [])
    with pytest.raises(ExportMismatchError, match="'in 12345 days' has"):
        _verify_tokens(loaded, other, ["in 12345 days"])


@pytest.mark.parametrize("name", ["smollm2", "gemma"])
def test_tokens_that_no_tokenizer_knows_are_no_text(small_tokenizers, name, tmp_path):
    """A model that was rounded up has embeddings for them, and may say one."""
    tokenizer = make_tokenizer(small_tokenizers, name, tmp_path)
    graph = make_graph_tokenizer(tokenizer)
    ids = [int(i) for i in tokenizer("The end.")]
    known = max(get_backend(tokenizer).get_vocab(with_added_tokens=True).values())
    assert decode_in_graph(graph, [[*ids, known + 1, *ids, known + 20]]) == decode_in_graph(graph, [ids + ids])
