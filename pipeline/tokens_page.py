"""The HTML page of token cleaning: one file without network, for any browser, also without scripts."""

import base64
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline import tokens_view
from pipeline.html import render, write_whole
from pipeline.tokens_report import Report, SliceCounts
from pipeline.tokens_store import Cleaning

_TEMPLATE = Path(__file__).with_name("tokens_page.html.j2")
_MAX_BARS = 60
_TAIL = 0.005  # of the tokens at either end; they share a bar, else outliers would press all others together
_OVERFLOW_GAP = 0.6  # of a bar
_NUM_TICKS = {"x": 7, "y": 4}
_MAX_SLICES = 40
# A smaller difference to the overall share never fills half of the width.
_MIN_REACH = 0.05


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar of the histogram. `x` and `width` are shares of the plot's width; outer bars are open to one side."""

    low: float
    high: float
    kept: int
    dropped: int
    x: float
    width: float


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """What the histogram draws; positions are shares of the plot's width and height, from the left and from below."""

    bars: list[Bar]
    peak: int
    cut: float | None
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]


@dataclass(frozen=True, kw_only=True)
class SliceRow:
    """A slice with its kept share, and the distance of that to the overall share in parts of the column's reach."""

    value: str
    counts: SliceCounts
    share: float | None
    offset: float


@dataclass(frozen=True, kw_only=True)
class SliceColumn:
    """The largest slices of a column, highest kept share first."""

    name: str
    rows: list[SliceRow]
    num_more: int
    reach: float


def write_page(cleaning: Cleaning, path: Path) -> None:
    """Writes the page, whole or not at all.

    Raises:
        UserError: The file cannot be written.
    """
    write_whole(path, render_page(cleaning))


def render_page(cleaning: Cleaning) -> str:
    """Returns the page as HTML text."""
    return render(
        _TEMPLATE,
        {
            "count": lambda number: f"{number:,}",
            "flow": tokens_view.make_visible_in_text,
            "harmless": tokens_view.make_harmless,
            "influence": tokens_view.format_influence,
            "percent": lambda share, digits=1: f"{share:.{digits}%}",
            "sha256": lambda text: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode(),
            "visible": tokens_view.make_visible,
        },
        cleaning=cleaning,
        infinity=math.inf,
        levels=range(-tokens_view.NUM_LEVELS, tokens_view.NUM_LEVELS + 1),
        make_histogram=make_histogram,
        make_scale=tokens_view.make_scale,
        make_slices=make_slices,
    )


def make_histogram(report: Report) -> Histogram | None:
    """Returns the histogram of a round's influence; None if no token has one."""
    if not report.has_influence:
        return None
    distribution = report.influence
    width, origin = distribution.bin_width, distribution.bins[0].low
    first = math.floor((distribution.quantile(_TAIL) - origin) / width)
    last = max(first, math.ceil((distribution.quantile(1 - _TAIL) - origin) / width) - 1)
    merged = math.ceil((last - first + 1) / (_MAX_BARS - 2))
    num_inner = math.ceil((last - first + 1) / merged)
    counts = [[0, 0] for _ in range(num_inner + 2)]
    for part in distribution.bins:
        index = (round((part.low - origin) / width) - first) // merged
        bar = counts[max(-1, min(num_inner, index)) + 1]
        bar[0] += part.kept
        bar[1] += part.dropped

    low, step = origin + first * width, merged * width
    has_low, has_high = any(counts[0]), any(counts[-1])
    start = 1 + _OVERFLOW_GAP if has_low else 0.0
    total = start + num_inner + (1 + _OVERFLOW_GAP if has_high else 0)
    positions = [0.0, *(start + index for index in range(num_inner)), total - 1]
    edges = [-math.inf, *(low + index * step for index in range(num_inner + 1)), math.inf]
    bars = [
        Bar(low=edges[i], high=edges[i + 1], kept=kept, dropped=dropped, x=positions[i] / total, width=1 / total)
        for i, (kept, dropped) in enumerate(counts)
        if kept or dropped
    ]

    cut = report.threshold

    def locate(influence: float) -> float:
        return (start + (influence - low) / step) / total

    peak = max(bar.kept + bar.dropped for bar in bars)
    return Histogram(
        bars=bars,
        peak=peak,
        cut=max(0.0, min(1.0, locate(cut))) if cut is not None else None,
        x_ticks=[
            (locate(tick), tokens_view.format_influence(tick))
            for tick in _list_ticks(low, low + num_inner * step, _NUM_TICKS["x"])
        ],
        y_ticks=[
            (tick / peak, f"{tick:,.0f}")
            for tick in _list_ticks(0, peak, _NUM_TICKS["y"])
            if tick >= 1 and tick.is_integer()
        ],
    )


def make_slices(report: Report) -> Iterator[SliceColumn]:
    """Yields each slice column with its slices' kept shares."""
    for name, slices in report.slices.items():
        largest = sorted(slices.items(), key=lambda item: (-item[1].response_tokens, item[0]))[:_MAX_SLICES]
        shares = {v: c.kept_tokens / c.response_tokens if c.response_tokens else None for v, c in largest}
        reach = max([_MIN_REACH, *(abs(share - report.kept_share) for share in shares.values() if share is not None)])
        rows = [
            SliceRow(
                value=value,
                counts=counts,
                share=(share := shares[value]),
                offset=0.0 if share is None else (share - report.kept_share) / reach,
            )
            for value, counts in largest
        ]
        rows.sort(key=lambda row: -1.0 if row.share is None else row.share, reverse=True)
        yield SliceColumn(name=name, rows=rows, num_more=len(slices) - len(rows), reach=reach)


def _list_ticks(low: float, high: float, at_most: int) -> list[float]:
    """Lists round numbers from `low` to `high`."""
    rough = (high - low) / at_most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [index * step for index in range(math.ceil(low / step), math.floor(high / step) + 1)]
