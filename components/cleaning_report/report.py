"""The report as JSON: figures, distribution, slices, tokens, examples."""

import math
from typing import Any

from components.cleaning_report.summary import BIN_WIDTH, Summary, list_tokens
from components.cleaning_report.tokens import CleanedExample
from components.text.token_texts import TokenTexts
from components.transform.cut import RANK_ERROR_BOUND

FORMAT_VERSION = 1
NUM_TOKENS = 50


def make_report(summary: Summary, texts: TokenTexts) -> dict[str, Any]:
    """Returns the report of a whole split, but for what the run's configuration says.

    `threshold` is the lowest influence that is kept where everything below it is dropped, else None (a cut for each example
    has no common threshold).
    """
    is_one_cut = summary.num_kept > 0 and summary.highest_dropped[0] <= summary.lowest_kept[0]
    return {
        "format_version": FORMAT_VERSION,
        "num_examples": summary.num_examples,
        "num_examples_without_target": summary.num_without_target,
        "num_response_tokens": summary.num_tokens,
        "num_kept_tokens": summary.num_kept,
        "kept_share": summary.num_kept / max(summary.num_tokens, 1),
        "threshold": summary.lowest_kept[0] if is_one_cut else None,
        "num_tied_at_threshold": summary.num_tied if is_one_cut else 0,
        "rank_error_bound": RANK_ERROR_BOUND,
        "influence": {
            "min": _finite(summary.lowest),
            "max": _finite(summary.highest),
            "mean": summary.influence_sum / max(summary.num_tokens, 1),
            "bin_width": BIN_WIDTH,
            "bins": [
                {"low": round(index * BIN_WIDTH, 6), "kept": int(counts[0]), "dropped": int(counts[1])}
                for index, counts in sorted(summary.bins.items())
            ],
        },
        "slices": {
            column: {
                value: {"examples": int(c[0]), "response_tokens": int(c[1] + c[2]), "kept_tokens": int(c[1])}
                for value, c in sorted(values.items())
            }
            for column, values in summary.slices.items()
        },
        "tokens": {
            name: [
                {"token_id": token_id, "text": texts.one(token_id), "dropped": dropped, "kept": kept}
                for token_id, kept, dropped in list_tokens(summary.tokens, column, NUM_TOKENS)
            ]
            for column, name in ((1, "dropped"), (0, "kept"))
        },
        "examples": [describe_example(example, texts) for example in summary.sample.values()],
    }


def describe_example(example: CleanedExample, texts: TokenTexts) -> dict[str, Any]:
    """Returns one example as the report shows it."""
    tokens = zip(texts(example.token_ids.tolist()), example.influence, example.is_kept, strict=True)
    return {
        "example_id": example.example_id,
        "slices": example.slices,
        "prompt": example.prompt,
        "tokens": [
            {"text": text, "influence": round(float(influence), 4), "kept": bool(kept)}
            for text, influence, kept in tokens
        ],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
