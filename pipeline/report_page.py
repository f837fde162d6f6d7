"""The HTML page of a run: one file without network, for any browser, also without scripts."""

import io
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.evaluator.gate import GENERAL, OVERALL
from pipeline.console import make_console
from pipeline.html import render, write_whole
from pipeline.lineage import trace_view
from pipeline.lineage.recorded import read_config
from pipeline.lineage.trace_view import describe_cleaning
from pipeline.receipt_page import FILTERS
from pipeline.report_store import RunReport
from pipeline.tokens_view import make_harmless, make_visible

_TEMPLATE = Path(__file__).with_name("report_page.html.j2")
_LINEAGE_WIDTH = 110
_CONFUSION = re.compile(r"confusion\[(.*) -> (.*)\]", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Whisker:
    """A change with its interval on one slice; positions are shares of the plot's width."""

    name: str
    num_examples: int
    before: float
    after: float
    change: float
    low: float
    high: float
    verdict: str
    x: float
    x_low: float
    x_high: float


@dataclass(frozen=True, kw_only=True)
class Forest:
    """The changes of one value on all slices, the whole split first. `zero` is where no change is."""

    name: str
    higher_is_better: bool | None
    zero: float
    rows: list[Whisker]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A line of the training: points in shares of the plot, from the left and from below."""

    name: str
    points: list[tuple[float, float]]
    last: float
    lowest: float
    highest: float


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Examples whose length in tokens is in [`low`, `high`); the height is a share of the plot."""

    low: int
    high: int
    count: int
    height: float


@dataclass(frozen=True, kw_only=True)
class Bars:
    """The distribution of a length."""

    name: str
    bars: list[Bar]


def write_page(report: RunReport, path: Path) -> None:
    """Writes the page, whole or not at all.

    Raises:
        UserError: The file cannot be written.
    """
    write_whole(path, render_page(report))


def render_page(report: RunReport) -> str:
    """Returns the page as HTML text."""
    evaluation = report.evaluation
    other = "baseline" if evaluation["baseline"] == "latest blessed model" else "preset"
    filters: dict[str, Callable[..., Any]] = {
        **FILTERS,
        "number": format_number,
        "signed": lambda number: format_number(number, "+"),
        "harmless": make_harmless,
        "visible": make_visible,
    }
    return render(
        _TEMPLATE,
        filters,
        report=report,
        evaluation=evaluation,
        other=other,
        overall={model: slices.get(OVERALL, {}) for model, slices in evaluation["metrics"].items()},
        change=evaluation["changes"].get(other, {}).get(OVERALL, {}),
        forests=make_forests(evaluation, other),
        curves=make_curves(report.training),
        bars=make_bars(report),
        confusion=make_confusion(evaluation["metrics"]["candidate"].get(OVERALL, {})),
        cleaning=[describe_cleaning(properties) for properties in report.cleaning],
        verdict=classify(evaluation),
        config=report.lineage.run.config,
        lineage=render_lineage(report),
    )


def classify(evaluation: dict[str, Any]) -> str:
    """`blessed`, `refused`, or `unproven`, where only evidence lacks."""
    if evaluation["blessed"]:
        return "blessed"
    return "refused" if any(check["passed"] is False for check in evaluation["checks"]) else "unproven"


def make_forests(evaluation: dict[str, Any], other: str) -> list[Forest]:
    """Returns a plot for each value that a condition is about, in the order of the conditions."""
    changes, metrics = dict(evaluation["changes"].get(other, {})), evaluation["metrics"]
    # General text is held against the preset alone.
    of_preset = evaluation["changes"].get("preset", {})
    changes |= {GENERAL: of_preset[GENERAL]} if GENERAL in of_preset else {}
    forests = []
    for name in dict.fromkeys(check["metric"] for check in evaluation["checks"]):
        slices = [
            s for s in sorted(changes, key=lambda s: (s != OVERALL, s)) if None not in changes[s].get(name, [None])
        ]
        found = {s: changes[s][name] for s in slices}
        ends = [end for numbers in found.values() for end in numbers]
        if not ends:
            continue
        low, high = min(0.0, *ends), max(0.0, *ends)
        span = (high - low) or 1.0
        higher = evaluation["directions"][name]

        def locate(value: float, low: float = low, span: float = span) -> float:
            return min(max((value - low) / span, 0.0), 1.0)

        rows = [
            Whisker(
                name=slice_name,
                num_examples=int(metrics["candidate"][slice_name]["example_count"]),
                before=metrics["preset" if slice_name == GENERAL else other].get(slice_name, {}).get(name, math.nan),
                after=metrics["candidate"][slice_name].get(name, math.nan),
                change=change,
                low=least,
                high=most,
                verdict=_judge(least, most, higher),
                x=locate(change),
                x_low=locate(least),
                x_high=locate(most),
            )
            for slice_name, (change, least, most) in found.items()
        ]
        forests.append(Forest(name=name, higher_is_better=higher, zero=locate(0.0), rows=rows))
    return forests


def make_curves(training: dict[str, Any]) -> list[Curve]:
    """Returns the losses of the training and of its evaluations, the one before it included; those of two points or more."""
    history = training.get("history", [])
    series = {
        "training loss": [(point["step"], point["loss"]) for point in history],
        "loss on the eval split": [(point["step"], point["eval_loss"]) for point in history],
    }
    if (before := training.get("eval_loss_before")) is not None and history:
        series["loss on the eval split"].insert(0, (0, before))
    series = {name: points for name, points in series.items() if len(points) > 1}
    steps = [step for points in series.values() for step, _ in points]
    losses = [loss for points in series.values() for _, loss in points]
    if not series or not all(map(math.isfinite, losses)):
        return []
    low, high = min(losses), max(losses)
    return [
        Curve(
            name=name,
            points=[
                ((step - min(steps)) / max(max(steps) - min(steps), 1), (loss - low) / ((high - low) or 1.0))
                for step, loss in points
            ],
            last=points[-1][1],
            lowest=low,
            highest=high,
        )
        for name, points in series.items()
    ]


def make_confusion(values: dict[str, float]) -> dict[str, dict[str, float]]:
    """Returns how often each label was given where each was wanted; empty where nothing was classified."""
    cells = {}
    for name, count in values.items():
        if match := _CONFUSION.fullmatch(name):
            cells[match[1], match[2]] = count
    given = sorted({label for _, label in cells})
    return {
        wanted: {label: cells.get((wanted, label), 0.0) for label in given} for wanted in sorted({w for w, _ in cells})
    }


def make_bars(report: RunReport) -> list[Bars]:
    """Returns how long prompts and responses are; empty where that was not recorded."""
    found: list[Bars] = []
    config = read_config(report.lineage.run.config)
    if not config:
        return found
    for part in ("prompt", "response"):
        counts = [count for name, count in report.lengths.items() if name.startswith(f"{part}_")]
        if any(counts):
            longest = config["text"]["max_length"]
            # A length belongs to the bin that `length * bins // longest` is; the last one has the longest too.
            edges = [math.ceil(i * longest / len(counts)) for i in range(len(counts))] + [longest + 1]
            bars = [
                Bar(low=low, high=high, count=count, height=count / max(counts))
                for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
                if low < high
            ]
            found.append(Bars(name=part, bars=bars))
    return found


def render_lineage(report: RunReport) -> str:
    """Returns the chain of the model as text."""
    console = make_console(io.StringIO(), width=_LINEAGE_WIDTH, coloured=False)
    with console.capture() as captured:
        console.print(trace_view.render(report.lineage))
    return captured.get()


def format_number(number: float | None, sign: str = "") -> str:
    """Returns four digits; a dash for what is not there."""
    if number is None or not math.isfinite(number):
        return "-"
    if number == int(number) and abs(number) < 1e15:
        return f"{int(number):{sign},}"
    return f"{number:{sign}.4g}"


def _judge(low: float, high: float, higher_is_better: bool | None) -> str:
    if higher_is_better is None or low <= 0 <= high or not math.isfinite(low):
        return "open"
    return "better" if (low > 0) == higher_is_better else "worse"
