"""The share of padding on real lengths."""

import gzip
import json
from pathlib import Path

import keras_hub
import numpy as np
import pytest

from components.text.tokenization import RecordTokenizer
from components.trainer.lengths import count_positions, plan_lengths

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


@pytest.mark.skipif(not (DATA / "dolly-15k").is_dir() or not (DATA / "gpt2-bpe").is_dir(), reason="no ../shared/data")
def test_under_5_percent_of_dolly_at_512_tokens_is_padding():
    tokenizer = keras_hub.tokenizers.GPT2Tokenizer(str(DATA / "gpt2-bpe/vocab.json"), str(DATA / "gpt2-bpe/merges.txt"))
    to_tokens = RecordTokenizer(tokenizer, "alpaca", "", max_length=512)
    lengths = []
    with gzip.open(DATA / "dolly-15k" / "dolly.jsonl.gz", "rt", encoding="utf-8") as stream:
        for record in map(json.loads, stream):
            tokenized = to_tokens(
                {"instruction": record["instruction"], "input": record["context"], "output": record["response"]}
            )
            if tokenized is not None:
                lengths.append(len(tokenized.token_ids) - 1)
    counts = np.bincount(lengths)
    assert len(lengths) > 14000
    planned = plan_lengths(counts, 16, 512, 32)
    assert len(planned) == 32
    share = 1 - sum(lengths) / count_positions(counts, 16, planned)
    by_powers = 1 - sum(lengths) / count_positions(counts, 16, (64, 128, 256, 512))
    print(f"{share:.4f} {by_powers:.4f}")
    assert share < 0.05
    assert by_powers > 0.2
