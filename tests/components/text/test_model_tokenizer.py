"""Token ids are those of the library `tokenizers` by the model's own rules; what cannot be right is refused."""

import json
import random

import keras_hub
import pytest
from tokenizers import Regex, Tokenizer, pre_tokenizers

from components.errors import UserError
from components.text.model_tokenizer import (
    adopt_own_rules,
    encode_with_offsets,
    get_backend,
    list_end_token_ids,
    list_special_tokens,
    load_tokenizer,
)
from components.text.tokenizer_rules import LLAMA3_PATTERN

BYTE_LEVEL = (
    "gpt2", "gpt_neo_x", "smollm2", "llama3", "qwen2", "qwen3_5", "gpt_oss", "bloom", "falcon", "tekken",
)  # fmt: skip
TEXTS = [
    "",
    " ",
    "a\n\nb",
    "  Don't  stop,\tthe 12345 birds'll  sing \n\n\n",
    "e\u0301 \u00e9 \u6771\u4eac\u3067 \U0001f468\u200d\U0001f469\u200d\U0001f467 \u00a0\u2028 x\u0085y",
    "def f(x):\n    return x  # \u00bd\u00b2 \u0661\u0662\u0663\r\n",
    "<|endoftext|>in the <|im_start|>middle<|eot_id|> <start_of_turn>user\n<b></s> <pad",
]


@pytest.mark.parametrize("name", BYTE_LEVEL)
def test_byte_level_ids_are_those_of_the_publishers_rules(name, small_tokenizers, tmp_path):
    tokenizer, rules = small_tokenizers.make_byte_level(name, tmp_path)
    reference = Tokenizer.from_str(json.dumps(rules))
    adopt_own_rules(tokenizer, tmp_path)
    for text in TEXTS:
        expected = reference.encode(text, add_special_tokens=False)
        assert tokenizer(text).tolist() == expected.ids
        assert encode_with_offsets(tokenizer, text) == (expected.ids, expected.offsets)
        assert tokenizer.detokenize(expected.ids) == reference.decode(expected.ids, skip_special_tokens=False)


@pytest.mark.parametrize("name", ["gpt2", "gpt_neo_x", "llama3", "qwen2", "gpt_oss", "bloom", "falcon"])
def test_without_the_publishers_file_the_familys_pattern_gives_the_same(name, small_tokenizers, tmp_path):
    tokenizer, rules = small_tokenizers.make_byte_level(name, tmp_path)
    reference = Tokenizer.from_str(json.dumps(rules))
    adopt_own_rules(tokenizer, tmp_path / "nothing")
    assert [i.ids for i in reference.encode_batch(TEXTS)] == [tokenizer(text).tolist() for text in TEXTS]


@pytest.mark.parametrize("name", ["gemma", "llama", "mistral_legacy"])
def test_sentencepiece_ids(name, small_tokenizers, tmp_path):
    tokenizer = small_tokenizers.make_sentencepiece(name, tmp_path)
    plain = [text for text in TEXTS if "<" not in text]
    if name == "llama":
        # Transformers puts no second space before a text that begins with one.
        plain = [text for text in plain if not text.startswith(" ")]
    own = [tokenizer(text).tolist() for text in plain]
    pieces = tokenizer.get_vocabulary()
    adopt_own_rules(tokenizer, tmp_path)
    # On ordinary text transformers' rules and SentencePiece's own library agree.
    assert [tokenizer(text).tolist() for text in plain] == own
    assert [tokenizer.detokenize(ids) for ids in own] == plain
    assert [tokenizer.id_to_token(i) for i in range(len(pieces))] == tokenizer.get_vocabulary()
    token = {"gemma": "<start_of_turn>"}.get(name, "</s>")
    assert tokenizer.token_to_id(token) in tokenizer(f"a{token}b").tolist()
    assert token in list_special_tokens(tokenizer)


def test_tags_that_are_not_called_special_are_text_and_what_marks_a_turn_is_not(make_golden_folder):
    """Llama's architecture: KerasHub counts every added token as special."""
    folder = make_golden_folder("llama3")
    rules = json.loads((folder / "tokenizer.json").read_text())
    names = {"<|start_header_id|>": "<think>", "<|end_header_id|>": "</think>"}
    for token in rules["added_tokens"]:
        token["content"] = names.get(token["content"], token["content"])
        token["special"] = token["special"] and token["content"] not in (*names.values(), "<|eot_id|>")
    (folder / "tokenizer.json").write_text(json.dumps(rules))
    tokenizer = load_tokenizer(str(folder))
    assert not {"<think>", "</think>"} & set(list_special_tokens(tokenizer))
    assert "<|eot_id|>" in list_special_tokens(tokenizer)
    assert tokenizer("a<think>").tolist()[-1] == tokenizer.token_to_id("<think>")


def test_offsets_cover_special_tokens_and_parts_of_characters(small_tokenizers, tmp_path):
    tokenizer, _ = small_tokenizers.make_byte_level("qwen2", tmp_path)
    adopt_own_rules(tokenizer, tmp_path)
    text = "e\u0301\u6771<|im_end|>\n"
    ids, offsets = encode_with_offsets(tokenizer, text)
    place = ids.index(tokenizer.token_to_id("<|im_end|>"))
    assert text[slice(*offsets[place])] == "<|im_end|>"
    assert {offsets[i] for i in range(place) if offsets[i][0] >= 2} == {(2, 3)}
    assert offsets[0][0] == 0 and offsets[-1][1] == len(text)


def test_dummy_prefix_is_no_character(small_tokenizers, tmp_path):
    tokenizer = small_tokenizers.make_sentencepiece("llama", tmp_path)
    adopt_own_rules(tokenizer, tmp_path)
    ids, offsets = encode_with_offsets(tokenizer, "the end")
    assert len(ids) == len(offsets) and offsets[0][0] == 0 and offsets[-1][1] == len("the end")


def test_ends_of_a_generation(small_tokenizers, tmp_path):
    tokenizer, _ = small_tokenizers.make_byte_level("qwen2", tmp_path)
    adopt_own_rules(tokenizer, tmp_path)
    end, close, other = (tokenizer.token_to_id(t) for t in ("<|endoftext|>", "<|im_end|>", "<|im_start|>"))
    assert list_end_token_ids(tokenizer, tmp_path) == (end,)
    (tmp_path / "hugging_face" / "chat_template.jinja").write_text("{{ '<|im_start|>' }}{{ text }}{{ '<|im_end|>' }}")
    assert list_end_token_ids(tokenizer, tmp_path) == (end, close)
    (tmp_path / "hugging_face" / "generation_config.json").write_text(json.dumps({"eos_token_id": [other, end]}))
    assert list_end_token_ids(tokenizer, tmp_path) == (end, other, close)


def test_another_vocabulary_is_refused(small_tokenizers, tmp_path):
    tokenizer, rules = small_tokenizers.make_byte_level("gpt2", tmp_path)
    vocabulary = rules["model"]["vocab"]
    vocabulary["!"], vocabulary['"'] = vocabulary['"'], vocabulary["!"]
    small_tokenizers.write_rules(tmp_path, rules)
    with pytest.raises(UserError, match="differ in 2 tokens: '!' has the id 1 and 0"):
        adopt_own_rules(tokenizer, tmp_path)
    small_tokenizers.write_rules(tmp_path, {"model": 1})
    with pytest.raises(UserError, match="must hold the rules of a tokenizer"):
        adopt_own_rules(tokenizer, tmp_path)


def test_ids_beyond_the_embedding_are_refused(small_tokenizers, tmp_path):
    tokenizer, rules = small_tokenizers.make_byte_level("gpt2", tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"config": {"vocabulary_size": 700}}))
    with pytest.raises(UserError, match=r"embedding, which has 700.*'<\|endoftext\|>' with the id 700"):
        adopt_own_rules(tokenizer, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"config": {"vocabulary_size": 701}}))
    image = {**rules["added_tokens"][0], "id": 701, "content": "<image_soft_token>"}
    small_tokenizers.write_rules(tmp_path, {**rules, "added_tokens": [*rules["added_tokens"], image]})
    # A token that stands for an image is ordinary text to a model without a row for it.
    adopt_own_rules(tokenizer, tmp_path)
    assert max(tokenizer("<image_soft_token><|endoftext|>").tolist()) == 700


def test_unknown_rules_are_refused(small_tokenizers, tmp_path):
    _, rules = small_tokenizers.make_byte_level("gpt2", tmp_path)
    merges = [" ".join(pair) for pair in rules["model"]["merges"]]
    plain = keras_hub.tokenizers.BytePairTokenizer(vocabulary=rules["model"]["vocab"], merges=merges)
    with pytest.raises(UserError, match="no tokenizer.json of its publisher"):
        adopt_own_rules(plain, tmp_path / "nothing")


def test_built_in_base_has_gpt2s_rules():
    tokenizer = load_tokenizer("data/base/tiny_gpt2_en")
    # GPT-2 takes the contraction off, though the word goes on.
    assert [tokenizer.id_to_token(i) for i in tokenizer("'verily").tolist()][:2] == ["'", "ve"]
    assert list_special_tokens(tokenizer) == ["<|endoftext|>"]


def test_keras_hub_still_hands_its_pattern_over_as_a_plain_string(small_tokenizers, tmp_path):
    """Where this fails, KerasHub has mended its eager tokenizer: see what of `model_tokenizer.py` is needed still."""
    tokenizer, _ = small_tokenizers.make_byte_level("llama3", tmp_path)
    generator = random.Random(0)
    text = "".join(generator.choice("ab1 \n'.") for _ in range(3000))
    pieces = get_backend(tokenizer).pre_tokenizer.pre_tokenize_str(text)
    assert len(pieces) == 1
    right = pre_tokenizers.Split(Regex(LLAMA3_PATTERN), "isolated").pre_tokenize_str(text)
    assert len(right) > 500
