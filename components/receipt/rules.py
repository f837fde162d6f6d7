"""The rules that a receipt must keep: what each one counts, and what the user is told when it is broken."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ERROR, WARN, OFF = "error", "warn", "off"


@dataclass(frozen=True, kw_only=True)
class Violation:
    """A rule that a split breaks.

    Attributes:
        rule: Its name, a key of the run's section `receipt`.
        level: `error` or `warn`.
        split: The split.
        rows: Rows that are as they must not be.
        of: Rows of the split.
        example_id: One of these rows; "" if there is none.
        message: The rule, what was received, and the way out.
    """

    rule: str
    level: str
    split: str
    rows: int
    of: int
    example_id: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule.

    Attributes:
        must: What must hold; {subject} is how many rows, at most.
        count: Rows that are as they must not be, from the figures of a split.
        describe: What was received, from the same.
        mend: What to do about it.
    """

    must: str
    count: Callable[[Mapping[str, Any]], int]
    describe: Callable[[Mapping[str, Any]], str]
    mend: str


def _describe_share(name: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda figures: describe_share(figures[name], figures["rows"])


def describe_share(rows: int, of: int) -> str:
    """Returns e.g. `12 of 5,120 rows (0.23 %)`."""
    return f"{rows:,} of {of:,} rows ({format_percent(rows / of if of else 0.0)})"


def format_percent(share: float) -> str:
    """Returns a share as percent, so that neither a few rows read as none nor nearly all as all."""
    percent = share * 100
    if percent <= 0 or percent >= 100:
        return f"{percent:.0f} %"
    for digits in range(4):
        rounded = round(percent, digits)
        if abs(rounded - percent) < 0.05 * min(rounded, 100 - rounded):
            return f"{rounded:.{digits}f} %"
    return "below 0.001 %" if percent < 50 else "above 99.999 %"


def _describe_truncated(figures: Mapping[str, Any]) -> str:
    truncated = figures["truncated"]
    return (
        f"{describe_share(truncated['rows'], figures['rows'])}, which lose {truncated['prompt_tokens_cut']:,} tokens of prompts "
        f"and {truncated['response_tokens_cut']:,} of responses. A length of "
        f"{describe_fits([(fit['length'], fit['rows']) for fit in truncated['fits']], truncated['rows'])}"
    )


def describe_fits(fits: Sequence[tuple[int, int]], rows: int) -> str:
    """Returns e.g. `60 would hold 301 of these, 96 all`; of lengths that hold as many rows the first is named.

    Args:
        fits: Lengths, and how many rows each of them would hold whole.
        rows: How many there are.
    """
    first = {held: length for length, held in reversed(fits) if held}
    named = [
        f"{length:,} would hold {f'{held:,} of these' if held < rows else 'all'}" for held, length in first.items()
    ]
    return ", ".join(reversed(named)) or (f"more than {fits[-1][0]:,} is needed" if fits else "")


def _lacks_all(name: str) -> Callable[[Mapping[str, Any]], int]:
    """Counts all rows where a split has nothing of something, else none."""
    return lambda figures: 0 if figures[name] else max(figures["rows"], 1)


RULES: dict[str, Rule] = {
    "no_supervised_token": Rule(
        must="the loss must count a token somewhere",
        count=_lacks_all("supervised_tokens"),
        describe=lambda figures: f"none in {figures['rows']:,} rows",
        mend="Check which column is the answer (data.columns), and that text.max_length leaves room for it.",
    ),
    "rows_without_supervised_token": Rule(
        must="{subject} may be without a token that the loss counts",
        count=lambda figures: figures["rows_without_supervised_token"],
        describe=_describe_share("rows_without_supervised_token"),
        mend="The Trainer leaves such rows out. Check data.columns and these records, or raise text.max_length.",
    ),
    "end_token_never_supervised": Rule(
        must="the loss must count an end token somewhere: else the model never learns to stop",
        count=lambda figures: (
            figures["rows"] if figures["supervised_tokens"] and not figures["rows_with_supervised_end_token"] else 0
        ),
        describe=lambda figures: f"none among {figures['supervised_tokens']:,} tokens of {figures['rows']:,} rows",
        mend=(
            "Take a text.template that closes the model's turns with an end token of the model, and a text.max_length that does "
            "not cut it away everywhere."
        ),
    ),
    "rows_without_supervised_end_token": Rule(
        must="{subject} may be without an end token that the loss counts",
        count=lambda figures: figures["rows_without_supervised_end_token"],
        describe=_describe_share("rows_without_supervised_end_token"),
        mend="Truncation and token cleaning take end tokens away: raise text.max_length, or token_cleaning.keep.",
    ),
    "doubled_start_token": Rule(
        must="{subject} may begin with the start token twice",
        count=lambda figures: figures["rows_with_doubled_start_token"],
        describe=_describe_share("rows_with_doubled_start_token"),
        mend="Template and tokenizer both put it there: take it out of the one of text.template.",
    ),
    "special_ids_in_text": Rule(
        must="{subject} may have special tokens that the template has not put there",
        count=lambda figures: figures["rows_with_special_ids_in_text"],
        describe=lambda figures: (
            f"{figures['special_ids_in_text']:,} in "
            f"{describe_share(figures['rows_with_special_ids_in_text'], figures['rows'])}"
        ),
        mend="They come from the records' own text, and can end a turn or imitate one: clean these records.",
    ),
    "truncated_rows": Rule(
        must="{subject} may be truncated to text.max_length = {max_length} tokens",
        count=lambda figures: figures["truncated"]["rows"],
        describe=_describe_truncated,
        mend="Raise text.max_length, or shorten the records.",
    ),
}


def find_violations(
    split: str,
    figures: Mapping[str, Any],
    find_example: Callable[[str], str],
    settings: Mapping[str, Mapping[str, Any]],
    max_length: int,
) -> list[Violation]:
    """Returns the rules that a split breaks, but for those that are off.

    Args:
        split: Its name.
        figures: See `components.receipt.report.describe_split`.
        find_example: Gives the `example_id` of a row that shows how a rule is broken; "" if there is none.
        settings: `level` of each rule by name, and `max_fraction` of those that have one.
        max_length: `text.max_length`.
    """
    violations = []
    for name, rule in RULES.items():
        level, limit = settings[name]["level"], settings[name].get("max_fraction", 0.0)
        rows, of = rule.count(figures), figures["rows"]
        if level == OFF or rows <= limit * of:
            continue
        example_id = find_example(name)
        example = f", for example {example_id}" if example_id else ""
        share = ", or raise its `max_fraction`" if "max_fraction" in settings[name] else ""
        subject = f"at most {format_percent(limit)} of the rows" if limit else "no row"
        must = rule.must.format(subject=subject, max_length=max_length)
        violations.append(
            Violation(
                rule=name,
                level=level,
                split=split,
                rows=rows,
                of=of,
                example_id=example_id,
                message=(
                    f"{must}. Received in the {split} split: {rule.describe(figures)}{example}. {rule.mend} To allow it, set "
                    f"receipt.{name} to warn or off{share}."
                ),
            )
        )
    return violations
