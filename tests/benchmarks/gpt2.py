"""GPT-2 with 124 M parameters, and real examples in its vocabulary, for the benchmarks of training."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

GPT2 = {
    "vocabulary_size": 50257,
    "num_layers": 12,
    "num_heads": 12,
    "hidden_dim": 768,
    "intermediate_dim": 3072,
    "max_sequence_length": 1024,
}


def read_examples(arguments: argparse.Namespace, rng: np.random.Generator) -> list[Any]:
    """Tokenized examples of a data file, drawn at random.

    Args:
        arguments: `data`, `columns`, `vocabulary` (folder of vocab.json and merges.txt), `examples` (how many) and `max_length`.
        rng: draws.
    """
    import keras_hub
    from cleaning_data import read_records, tokenize

    from components.text.model_tokenizer import adopt_own_rules
    from components.text.tokenization import RecordTokenizer

    records = read_records(arguments.data, arguments.columns)
    chosen = [records[i] for i in rng.permutation(len(records))[: arguments.examples]]
    folder = Path(arguments.vocabulary)
    tokenizer = keras_hub.tokenizers.GPT2Tokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    adopt_own_rules(tokenizer, folder)
    return tokenize(chosen, RecordTokenizer(tokenizer, "alpaca", "", arguments.max_length), "")
