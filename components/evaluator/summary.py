"""What was measured and decided, as Markdown for a pull request."""

import math
from collections.abc import Mapping, Sequence

from components.evaluator.gate import BASELINE, CANDIDATE, OVERALL, PRESET, Check, Measured, Results


def make_summary(
    verdict: str, checks: Sequence[Check], results: Results, directions: Mapping[str, bool | None], baseline: str
) -> str:
    """Returns the verdict, every condition, and every value over the whole split.

    Args:
        verdict: In words.
        checks: What came of each condition.
        results: What was measured.
        directions: Names of the values in the order of the configuration.
        baseline: Name of the model that was the baseline.
    """
    lines = [f"**{_escape(verdict)}**", "", "| condition | on | verdict | holds |", "| --- | --- | --- | --- |"]
    for check in checks:
        holds = {True: "yes", False: "**no**", None: "not enough evidence"}[check.passed]
        lines.append(
            f"| `{check.metric}`: {_escape(check.rule)} | {_escape(check.slice_name)} | {check.verdict or '-'}: "
            f"{_show(check.measured)} | {holds} |"
        )
    others = [PRESET, *([BASELINE] if baseline == BASELINE else [])]
    titles = ["value", *others, CANDIDATE, f"change from {baseline}"]
    lines += ["", f"On {results.num_examples[OVERALL]:,} examples:", "", _row(titles), _row(["---"] * len(titles))]
    for name in directions:
        values = [results.values[model][OVERALL].get(name) for model in (*others, CANDIDATE)]
        change = results.changes[baseline][OVERALL].get(name)
        lines.append(_row([f"`{name}`", *map(_show_number, values[:-1]), _show(values[-1]), _show(change, "+")]))
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _show(measured: Measured | None, sign: str = "") -> str:
    if measured is None or not math.isfinite(measured.low):
        return _show_number(measured, sign)
    return f"{measured.value:{sign}.4g} [{measured.low:{sign}.4g}, {measured.high:{sign}.4g}]"


def _show_number(measured: Measured | None, sign: str = "") -> str:
    return "-" if measured is None else f"{measured.value:{sign}.4g}"


def _escape(text: str) -> str:
    """Slices hold what the data hold."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
