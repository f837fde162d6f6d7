"""Small tokenizers by the rules of real families, their vocabularies learned from this repository's own texts."""

import io
import json
from pathlib import Path

import keras_hub
import sentencepiece
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from components.text import tokenizer_rules
from components.text.sentencepiece_rules import make_sentencepiece_rules
from components.text.tokenizer_rules import Family, byte_level, split

ROOT = Path(__file__).resolve().parents[2]
TEKKEN_PATTERN = tokenizer_rules.GPT_OSS_PATTERN.replace(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "").replace("{1,3}", "")
TEKKEN = Family(pre_tokenizers=[split(TEKKEN_PATTERN), byte_level(use_regex=False)], ignore_merges=True)
END = "<|endoftext|>"
_ASCII_BYTES = [chr(byte) for byte in range(33, 127)]

# Name: rules, class of KerasHub's tokenizer, tokens that it asks for.
BYTE_LEVEL = {
    "gpt2": (tokenizer_rules.GPT2, keras_hub.tokenizers.GPT2Tokenizer, [END]),
    "gpt_neo_x": (tokenizer_rules.GPT_NEO_X, keras_hub.tokenizers.GPTNeoXTokenizer, [END]),
    "smollm2": (
        tokenizer_rules.SMOLLM2,
        keras_hub.tokenizers.Llama3Tokenizer,
        ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"],
    ),
    "llama3": (
        tokenizer_rules.LLAMA3,
        keras_hub.tokenizers.Llama3Tokenizer,
        ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"],
    ),
    "qwen2": (tokenizer_rules.QWEN2, keras_hub.tokenizers.QwenTokenizer, [END, "<|im_start|>", "<|im_end|>"]),
    "qwen3_5": (
        tokenizer_rules.QWEN3_5,
        keras_hub.tokenizers.Qwen3Tokenizer,
        [END, "<|im_start|>", "<|im_end|>"],
    ),
    "gpt_oss": (tokenizer_rules.GPT_OSS, keras_hub.tokenizers.GptOssTokenizer, [END]),
    "bloom": (tokenizer_rules.BLOOM, keras_hub.tokenizers.BloomTokenizer, ["<s>", "</s>", "<pad>"]),
    "falcon": (tokenizer_rules.FALCON, keras_hub.tokenizers.FalconTokenizer, [END]),
    "tekken": (TEKKEN, keras_hub.tokenizers.GPT2Tokenizer, [END]),
}
SENTENCEPIECE = ("gemma", "llama", "mistral_legacy")


def read_texts(count=400):
    """Returns texts to learn from: instructions and answers of the sample, and a few in other scripts."""
    lines = (ROOT / "data" / "sample" / "instructions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines[:: max(len(lines) // count, 1)][:count]]
    texts = ["\n".join(str(value) for value in row.values()) for row in rows]
    code = (ROOT / "components" / "text" / "tokenization.py").read_text(encoding="utf-8")
    other = "Grüße, 東京と北京 и Москва 12345 ١٢٣ don't DON'T  \t\n\n é e\u0301 🙂👩‍👩‍👧"
    return [*texts, *code.split("\n\n"), *[other] * 20]


def make_byte_level(name, folder, *, all_bytes=True, vocabulary_size=700):
    """Returns KerasHub's tokenizer of a family with the publisher's rules beside it in `folder`, and these rules.

    Args:
        name: A key of `BYTE_LEVEL`.
        folder: Where `hugging_face/tokenizer.json` is written.
        all_bytes: Whether each byte is a token; else those of ASCII, and of what stands in the texts.
        vocabulary_size: Tokens without special ones.
    """
    family, kind, special = BYTE_LEVEL[name]
    rules = tokenizer_rules.make_rules(family, {"!": 0}, [], [], prefix_space=False)
    learner = Tokenizer.from_str(json.dumps(rules))
    learner.model = models.BPE()
    alphabet = pre_tokenizers.ByteLevel.alphabet() if all_bytes else _ASCII_BYTES
    learner.train_from_iterator(
        read_texts(),
        trainers.BpeTrainer(vocab_size=vocabulary_size, initial_alphabet=alphabet, show_progress=False),
    )
    model = json.loads(learner.to_str())["model"]
    vocabulary, merges = model["vocab"], [" ".join(pair) for pair in model["merges"]]
    for token in special:
        vocabulary.setdefault(token, len(vocabulary))
    rules = tokenizer_rules.make_rules(family, vocabulary, merges, special, prefix_space=False)
    write_rules(folder, rules)
    return kind(vocabulary=vocabulary, merges=merges), rules


def make_sentencepiece(name, folder, *, vocabulary_size=900):
    """Returns KerasHub's tokenizer of a SentencePiece family; the publisher's rules go into `folder` where there are such."""
    prefix = name != "gemma"
    proto = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter("\n".join(read_texts()).split("\n")),
        model_writer=proto,
        model_type="bpe",
        vocab_size=vocabulary_size,
        byte_fallback=True,
        character_coverage=0.98,
        normalization_rule_name="identity",
        add_dummy_prefix=prefix,
        remove_extra_whitespaces=False,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        **(
            {"unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1}
            if prefix
            else {
                **{"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, "bos_piece": "<bos>", "eos_piece": "<eos>"},
                "user_defined_symbols": ["<start_of_turn>", "<end_of_turn>", "\n", "\n\n", "\u2581\u2581", "<b>"],
            }
        ),
        minloglevel=2,
    )
    kind = {"gemma": keras_hub.tokenizers.GemmaTokenizer, "llama": keras_hub.tokenizers.LlamaTokenizer}
    tokenizer = kind.get(name, keras_hub.tokenizers.MistralTokenizer)(proto=proto.getvalue())
    rules = make_sentencepiece_rules(proto.getvalue())
    if name == "gemma":
        step = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
        write_rules(folder, {**rules, "pre_tokenizer": step})
    if name == "mistral_legacy":
        steps = [
            {"type": "Prepend", "prepend": "\u2581"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
        ]
        write_rules(folder, {**rules, "normalizer": {"type": "Sequence", "normalizers": steps}, "pre_tokenizer": None})
    return tokenizer


def write_rules(folder, rules):
    """Writes the publisher's rules where a KerasHub preset keeps them."""
    path = Path(folder) / "hugging_face" / "tokenizer.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rules, ensure_ascii=False), encoding="utf-8")
