"""What was measured and decided, as Markdown for a pull request."""

import math
import re
from collections.abc import Mapping, Sequence

from components.evaluator.gate import BASELINE, CANDIDATE, OVERALL, PRESET, Check, Measured, Results
from components.harmless import make_harmless

# In a table it must be escaped, in code too.
_PIPE = r"\|"


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
    lines = [f"**{_prose(verdict)}**", "", "| condition | on | verdict | holds |", "| --- | --- | --- | --- |"]
    for check in checks:
        holds = {True: "yes", False: "**no**", None: "not enough evidence"}[check.passed]
        lines.append(
            f"| {_code(check.metric)}: {_prose(check.rule)} | {_code(check.slice_name)} | {check.verdict or '-'}: "
            f"{_show(check.measured)} | {holds} |"
        )
    others = [PRESET, *([BASELINE] if baseline == BASELINE else [])]
    titles = ["value", *others, CANDIDATE, f"change from {baseline}"]
    lines += ["", f"On {results.num_examples[OVERALL]:,} examples:", "", _row(titles), _row(["---"] * len(titles))]
    for name in directions:
        values = [results.values[model][OVERALL].get(name) for model in (*others, CANDIDATE)]
        change = results.changes[baseline][OVERALL].get(name)
        lines.append(_row([_code(name), *map(_show_number, values[:-1]), _show(values[-1]), _show(change, "+")]))
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _show(measured: Measured | None, sign: str = "") -> str:
    if measured is None or not math.isfinite(measured.low):
        return _show_number(measured, sign)
    return f"{measured.value:{sign}.4g} [{measured.low:{sign}.4g}, {measured.high:{sign}.4g}]"


def _show_number(measured: Measured | None, sign: str = "") -> str:
    return "-" if measured is None else f"{measured.value:{sign}.4g}"


def _code(text: str) -> str:
    """Names of slices and labels hold what the data hold: in a code span nothing is a link, an image or a mention."""
    return f"`{' '.join(make_harmless(text).split()).replace('`', chr(39)).replace('|', _PIPE)}`"


def _prose(text: str) -> str:
    """A sentence of ours, in which such names may stand."""
    escaped = re.sub(r"([\\`*\[\]<>|!~])", r"\\\1", " ".join(make_harmless(text).split()))
    # GitHub makes mentions and links of text that Markdown has left alone; a comment takes them apart.
    return re.sub(r"([@#]|:(?=//)|(?<=www)\.)", r"\1<!-- -->", escaped)
