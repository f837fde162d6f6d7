"""Train a byte-level BPE vocabulary whose ids hardly depend on the pattern that cuts text into words.

The tokenizer is GPT-2's, with its pattern (`components.text.tokenizer_rules`). KerasHub alone cuts by other patterns: none in eager
Python, one of its own inside a TensorFlow graph. A vocabulary whose merges never cross a boundary of any of them gives the same ids
by all, so this module learns merges inside the pieces that they have in common: a run of letters with the space before it, a run
of punctuation with the space before it, one digit. (What remains is a word right after an apostrophe that begins like a
contraction, such as `'verily`, which GPT-2 splits after `'ve`.)
"""

import itertools
import json
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

END_TOKEN = "<|endoftext|>"
_PIECES = r" ?\p{L}+| ?[^\s\p{L}\p{N}]+|\p{N}|\s"

# Words of the usual instruction prompts (Alpaca's template) that novels lack or rarely use. They are added to the text that the
# merges are learned from, often enough to become single tokens: that makes a rendered prompt about a third shorter.
_PROMPT_WORDS = (
    "###", " Instruction", " Input", " Response", " instruction", " input", " response", " describes", " task", " paired",
    " provides", " further", " context", " appropriately", " completes", " request", "Below", "Write",
)  # fmt: skip
_PROMPT_WORD_REPEATS = 1000


def train_bpe(texts: Iterable[str], vocabulary_size: int) -> tuple[dict[str, int], list[str]]:
    """Learn a byte-level BPE vocabulary.

    The ids are laid out as in GPT-2: the 256 bytes first, then the merges, and `<|endoftext|>` last. So id 0, which
    KerasHub pads with, is the ordinary token "!", here as in GPT-2: code that mistakes id 0 for padding fails on both.

    Args:
        texts: Training text.
        vocabulary_size: Number of ids, with the 256 bytes and `<|endoftext|>`.

    Returns:
        The vocabulary (token to id) and the merges ("left right"), in order of rank.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pattern=Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size - 1,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    prompt_words = list(_PROMPT_WORDS) * _PROMPT_WORD_REPEATS
    tokenizer.train_from_iterator(itertools.chain(texts, prompt_words), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    vocabulary = dict(sorted(model["vocab"].items(), key=lambda item: item[1]))
    return {**vocabulary, END_TOKEN: len(vocabulary)}, merges
