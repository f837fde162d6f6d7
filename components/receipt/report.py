"""The receipt as JSON: figures of each split, broken rules, examples with their mask."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from components.receipt.counting import (
    DOUBLED_START,
    SPECIAL_IDS_IN_TEXT,
    TRUNCATED,
    WITHOUT_SUPERVISED_END,
    WITHOUT_SUPERVISED_TOKEN,
    Counts,
)
from components.receipt.rows import Row, SpecialTokens
from components.receipt.rules import Violation
from components.text.token_texts import TokenTexts

FORMAT_VERSION = 1
# Lengths of which the receipt says how many of the truncated rows they would hold, in parts of the length that there is.
_LONGER = (1.25, 1.5, 2, 3, 4, 8, 16)
# Any row shows how these are broken.
_RULES_ON_ALL = ("no_supervised_token", "end_token_never_supervised")


def describe_split(counts: Counts, max_length: int) -> dict[str, Any]:
    """Returns the figures of a split."""
    return {
        "rows": counts.rows,
        "tokens": counts.tokens,
        "supervised_tokens": counts.supervised_tokens,
        "response_tokens": counts.response_tokens,
        "weight_sum": counts.weight_sum,
        "tokens_a_row": counts.lengths.describe(),
        "supervised_tokens_a_row": counts.supervised.describe(),
        "spans_a_row": counts.spans.describe(),
        "rows_without_supervised_token": counts.found[WITHOUT_SUPERVISED_TOKEN].rows,
        "rows_cleaned_away": counts.rows_cleaned_away,
        "rows_with_supervised_end_token": counts.rows_with_supervised_end_token,
        "rows_without_supervised_end_token": counts.found[WITHOUT_SUPERVISED_END].rows,
        "rows_with_doubled_start_token": counts.found[DOUBLED_START].rows,
        "rows_with_special_ids_in_text": counts.found[SPECIAL_IDS_IN_TEXT].rows,
        "special_ids_in_text": counts.special_ids,
        "truncated": {
            "rows": counts.found[TRUNCATED].rows,
            "prompt_tokens_cut": counts.prompt_tokens_cut,
            "response_tokens_cut": counts.response_tokens_cut,
            "full_length": counts.truncated.describe(),
            "fits": _list_fits(counts, max_length),
        },
    }


def summarize_split(counts: Counts, max_length: int) -> dict[str, Any]:
    """Returns what of a split's counts goes into the receipt, in a form that can be written to a file.

    Returns:
        `figures` (see `describe_split`), `sample` (rows), and `found`: a row by the rule that it breaks, where there is one.
    """
    return {
        "figures": describe_split(counts, max_length),
        "sample": [row.to_json() for row in counts.sample.values()],
        "found": {kind: found.example[1].to_json() for kind, found in counts.found.items() if found.example},
    }


def find_row(summary: Mapping[str, Any], rule: str) -> dict[str, Any] | None:
    """Returns the row of a split's summary that shows how a rule is broken; None if there is none."""
    rows = summary["sample"][:1] if rule in _RULES_ON_ALL else []
    return summary["found"].get(rule, next(iter(rows), None))


def make_report(
    facts: Mapping[str, Any],
    splits: Mapping[str, Mapping[str, Any]],
    violations: list[Violation],
    tokens: SpecialTokens,
    texts: TokenTexts,
) -> dict[str, Any]:
    """Returns the receipt.

    Args:
        facts: What the run's configuration says.
        splits: See `summarize_split`; the first one is trained on.
        violations: The rules that are broken.
        tokens: The model's special tokens.
        texts: Of the model's tokens.
    """
    train = next(iter(splits))
    shown = [(train, "", row) for row in splits[train]["sample"]]
    shown += [(v.split, v.rule, find_row(splits[v.split], v.rule)) for v in violations]
    return {
        "format_version": FORMAT_VERSION,
        **facts,
        "start_token": None if tokens.start_id is None else _describe_token(tokens.start_id, texts),
        "end_tokens": [_describe_token(token_id, texts) for token_id in tokens.end_ids],
        "splits": {split: summary["figures"] for split, summary in splits.items()},
        "violations": [asdict(violation) for violation in violations],
        "examples": [
            describe_row(Row.from_json(row), split, rule, tokens, texts)
            for split, rule, row in shown
            if row is not None
        ],
    }


def describe_row(row: Row, split: str, rule: str, tokens: SpecialTokens, texts: TokenTexts) -> dict[str, Any]:
    """Returns a row as the receipt shows it: ids and mask for programs, pieces of text for people.

    Args:
        row: The row.
        split: Where it is.
        rule: The rule that it breaks; "" for one of the sample.
        tokens: The model's special tokens.
        texts: Of the model's tokens.
    """
    pieces: list[dict[str, Any]] = []
    ids = row.token_ids.tolist()
    for token_id, text, weight in zip(ids, texts(ids), row.weight.tolist(), strict=True):
        look = {"weight": round(weight, 6), "special": token_id in tokens.all_ids}
        if pieces and {name: pieces[-1][name] for name in look} == look:
            pieces[-1]["text"] += text
            pieces[-1]["num_tokens"] += 1
        else:
            pieces.append({"text": text, "num_tokens": 1, **look})
    return {
        "example_id": row.example_id,
        "split": split,
        "rule": rule,
        "token_ids": ids,
        "supervised_spans": row.list_spans(),
        "tokens_cut": list(row.tokens_cut),
        "pieces": pieces,
    }


def _describe_token(token_id: int, texts: TokenTexts) -> dict[str, Any]:
    return {"id": token_id, "text": texts.one(token_id)}


def _list_fits(counts: Counts, max_length: int) -> list[dict[str, int]]:
    fits: list[dict[str, int]] = []
    for factor in _LONGER:
        if counts.truncated.size and (not fits or fits[-1]["rows"] < counts.truncated.size):
            length = round(max_length * factor)
            fits.append({"length": length, "rows": counts.truncated.count_up_to(length)})
    return fits
