"""Writes the small tokenizers of the golden models, in the project's own environment: `.venv/bin/python write_tokenizers.py`.

Written with tokenizers 0.22 and sentencepiece 0.2. Byte-pair tokenizers split as the families' published `tokenizer.json` do.
"""

import json
import shutil
import tempfile
from pathlib import Path

import sentencepiece
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

HERE = Path(__file__).resolve().parent
TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "She sells sea shells by the sea shore, 12 of them for 3.50.",
    "def add(a, b):\n    return a + b\n\nprint(add(1, 22))",
    "What is the capital of France? The capital of France is Paris.",
    "Write an answer to the question below, and say why.",
] * 4
GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
BYTE_PAIR = {
    "gpt2": (GPT2, ["<|endoftext|>"]),
    "llama3": (
        LLAMA3,
        ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"],
    ),
    "smollm2": (GPT2, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]),
    "qwen": (QWEN, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]),
}
SENTENCE_PIECE = {
    "gemma": (["<pad>", "<eos>", "<bos>", "<unk>"], ["<start_of_turn>", "<end_of_turn>"]),
    "mistral": (["<unk>", "<s>", "</s>"], []),
}
STARTS_AND_ENDS = {
    "gpt2": ("<|endoftext|>", "<|endoftext|>"),
    "llama3": ("<|begin_of_text|>", "<|eot_id|>"),
    "smollm2": ("<|im_start|>", "<|im_end|>"),
    "qwen": (None, "<|im_end|>"),
    "gemma": ("<bos>", "<eos>"),
    "mistral": ("<s>", "</s>"),
}
# What the models' `vocab_size` is: a little more than the tokenizers know, as in published models.
VOCABULARY_SIZE = 320


def write_byte_pair(name: str, pattern: str, special: list[str], folder: Path) -> None:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    split = pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300 - len(special), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_special_tokens(special)  # behind the vocabulary, as in Llama 3 and Qwen
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)


def write_sentence_piece(control: list[str], symbols: list[str], folder: Path) -> None:
    names = {"<pad>": "pad", "<eos>": "eos", "<bos>": "bos", "<unk>": "unk", "<s>": "bos", "</s>": "eos"}
    options = {f"{names[token]}_id": i for i, token in enumerate(control)}
    options |= {f"{names[token]}_piece": token for token in control}
    with tempfile.TemporaryDirectory() as scratch:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(TEXTS),
            model_prefix=f"{scratch}/tokenizer",
            model_type="bpe",
            vocab_size=310,
            byte_fallback=True,
            character_coverage=1.0,
            hard_vocab_limit=False,
            add_dummy_prefix="<s>" in control,
            remove_extra_whitespaces=False,
            normalization_rule_name="identity",
            user_defined_symbols=symbols,
            **({"pad_id": -1} | options),
        )
        shutil.copy(f"{scratch}/tokenizer.model", folder / "tokenizer.model")


def main() -> None:
    for name, (start, end) in STARTS_AND_ENDS.items():
        folder = HERE / "tokenizers" / name
        folder.mkdir(parents=True, exist_ok=True)
        if name in BYTE_PAIR:
            write_byte_pair(name, *BYTE_PAIR[name], folder)
        else:
            write_sentence_piece(*SENTENCE_PIECE[name], folder)
        config = {"bos_token": start, "eos_token": end, "model_max_length": 64}
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    main()
