"""Measure a base preset on the held-out tail of every book: perplexity and bits per byte.

    python -m data.base.evaluate_base --corpus FOLDER_OR_FILE [FOLDER_OR_FILE ...]

gives the held-out figures of the model card again, from the same text that `train_base.py` was given.
"""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np

from components.text.model_tokenizer import adopt_own_rules
from data.base.corpus import Book, load_corpus

# Part of the definition of the held-out set: training and evaluation must cut the books at the same place.
HELD_OUT_SHARE = 0.02
PRESET = Path(__file__).parent / "tiny_gpt2_en"


def encode(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Return the token ids of each text."""
    return [[int(token) for token in ids] for ids in tokenizer(list(texts))]


def get_logits(backbone: Any, token_ids: Any, training: bool = False) -> Any:
    """Return next-token logits.

    Args:
        backbone: A `GPT2Backbone`; its tied token embedding gives the logits.
        token_ids: (batch, sequence_length) int32, without padding.
        training: Passed on to the layers.

    Returns:
        (batch, sequence_length, vocabulary_size) float32.
    """
    token_ids = keras.ops.convert_to_tensor(token_ids, "int32")
    inputs = {"token_ids": token_ids, "padding_mask": keras.ops.ones_like(token_ids)}
    hidden = backbone(inputs, training=training)
    return keras.ops.cast(backbone.token_embedding(hidden, reverse=True), "float32")


def measure_held_out(backbone: Any, tokenizer: Any, books: Sequence[Book]) -> dict[str, float]:
    """Return loss, perplexity and bits per byte over the held-out text.

    Each book's tail is one document that starts with `<|endoftext|>`. It is cut into windows of `max_sequence_length` that do
    not overlap, so the first tokens of a window are predicted from little context: the figures are on the careful side.
    Every token of the text is predicted exactly once.

    Raises:
        ValueError: If no book has held-out text.
    """
    length = backbone.max_sequence_length
    texts = ["\n".join(book.held_out) for book in books if book.held_out]
    if not texts:
        raise ValueError("The corpus has no held-out text: each book must have at least two paragraphs.")
    windows: list[np.ndarray] = []
    for ids in encode(tokenizer, texts):
        document = np.array([tokenizer.end_token_id, *ids], "int32")
        windows += [document[start : start + length + 1] for start in range(0, len(document) - 1, length)]
    total, count = 0.0, 0
    # The last window of a book is shorter; batching equal lengths needs no padding.
    for size in sorted({len(window) for window in windows}, reverse=True):
        batch = [window for window in windows if len(window) == size]
        for start in range(0, len(batch), 8):
            chunk = np.stack(batch[start : start + 8])
            logits = get_logits(backbone, chunk[:, :-1])
            losses = keras.ops.convert_to_numpy(
                keras.losses.sparse_categorical_crossentropy(chunk[:, 1:], logits, from_logits=True)
            )
            total += float(losses.sum(dtype="float64"))
            count += losses.size
    num_bytes = sum(len(text.encode()) for text in texts)
    return {
        "held_out_loss": total / count,
        "held_out_perplexity": math.exp(total / count),
        "held_out_bits_per_byte": total / math.log(2) / num_bytes,
        "held_out_tokens": count,
        "held_out_bytes": num_bytes,
    }


def measure_unigram(tokenizer: Any, books: Sequence[Book]) -> dict[str, float]:
    """Return the same figures for a model that knows only how frequent each token is in the training text (plus one)."""
    counts = np.ones(tokenizer.vocabulary_size())
    for ids in encode(tokenizer, ["\n".join(book.train) for book in books]):
        counts += np.bincount(ids, minlength=len(counts))
    log_probabilities = np.log(counts / counts.sum())
    texts = ["\n".join(book.held_out) for book in books if book.held_out]
    held_out = np.concatenate([np.array(ids) for ids in encode(tokenizer, texts)])
    loss = -float(log_probabilities[held_out].mean())
    num_bytes = sum(len(text.encode()) for text in texts)
    return {
        "unigram_perplexity": math.exp(loss),
        "unigram_bits_per_byte": loss * len(held_out) / math.log(2) / num_bytes,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Perplexity and bits per byte of a base preset on held-out text.")
    parser.add_argument("--corpus", nargs="+", type=Path, required=True, help="folders or .txt / .txt.gz files")
    parser.add_argument("--preset", type=Path, default=PRESET, help="preset folder (default: %(default)s)")
    options = parser.parse_args(arguments)
    books = load_corpus(options.corpus, HELD_OUT_SHARE)
    model = keras_hub.models.CausalLM.from_preset(str(options.preset), dtype="float32")
    tokenizer = model.preprocessor.tokenizer
    adopt_own_rules(tokenizer, options.preset)
    figures = {**measure_held_out(model.backbone, tokenizer, books), **measure_unigram(tokenizer, books)}
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
