"""Shows token cleaning: how a token's text and influence are shown anywhere, the terminal's view, JSON for programs."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from components import harmless
from pipeline.tokens_report import Example, Report
from pipeline.tokens_store import Cleaning

NUM_LEVELS = 4  # shades of each of the two colours
# Outliers would leave nearly every token pale.
_TAIL = 0.02
_NUM_FREQUENT = 6
_SIGNS = {" ": "␣", "\n": "↵", "\t": "⇥"}
# Here each kind of blank tells something, too.
_HIDDEN = harmless.HIDDEN | {"Zs"}
# Text colours have a contrast of 4.5 to black and to white, fills bring their own text colour: any theme shows them.
_LOW_FILL, _LOW, _HIGH, _HIGH_FILL = "#ffffff on #a85400", "#b56200", "#1a78c0", "#ffffff on #1b66a5"
_STYLES = dict(zip(range(-4, 5), [_LOW_FILL] * 2 + [_LOW] * 2 + [""] + [_HIGH] * 2 + [_HIGH_FILL] * 2, strict=True))
_DROPPED_MARK = "~"


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Colours of influence: one colour from `low` to `centre`, paler towards it, another one from there to `high`."""

    low: float
    centre: float
    high: float

    def get_level(self, influence: float | None) -> int | None:
        """Returns the shade, from -`NUM_LEVELS` to `NUM_LEVELS`; None without an influence."""
        if influence is None:
            return None
        offset = influence - self.centre
        part = offset / (self.high - self.centre if offset > 0 else self.centre - self.low)
        return round(max(-1.0, min(1.0, part)) * NUM_LEVELS)

    def get_influence(self, level: float) -> float:
        """Returns the influence in the middle of a shade; halves lie between two."""
        span = self.high - self.centre if level > 0 else self.centre - self.low
        return self.centre + span * level / NUM_LEVELS


def make_scale(report: Report) -> Scale | None:
    """Returns the scale of a round, around its cut where there is one; None if no token has an influence."""
    if not report.has_influence:
        return None
    distribution = report.influence
    centre = report.threshold
    if centre is None:
        centre = distribution.quantile(1 - report.keep)
    return Scale(
        low=min(distribution.quantile(_TAIL), centre - distribution.bin_width),
        centre=centre,
        high=max(distribution.quantile(1 - _TAIL), centre + distribution.bin_width),
    )


def make_visible(text: str) -> str:
    """Returns a token's text by itself, with a sign for everything in it that shows nothing."""
    return _replace(text, _SIGNS) or "◌"


def make_visible_in_text(text: str) -> str:
    """Returns a token's text among others: spaces between words stay, line ends get a sign and break the line."""
    spaces = "␣" if text.isspace() else " "
    return _replace(text, _SIGNS | {" ": spaces, "\n": "↵\n"}) or "◌"


def make_harmless(text: str) -> str:
    """Returns longer text without characters that command a terminal, reorder what stands around them, or look like a blank."""
    return harmless.make_harmless(text, _HIDDEN)


def _replace(text: str, signs: dict[str, str]) -> str:
    return "".join(signs.get(char) or harmless.show_character(char, _HIDDEN) for char in text)


def format_influence(value: float | None, digits: int = 4) -> str:
    """Returns an influence as text, with a true minus sign."""
    return "none" if value is None else f"{value:.{digits}g}".replace("-", "\u2212")


def to_json(cleaning: Cleaning, found: list[tuple[Report, Example]] | None = None) -> str:
    """Returns the reports as JSON text; with `found`, only its rounds and examples."""
    reports = [report.model_dump(mode="json") for report in cleaning.reports]
    if found is not None:
        reports = [report.model_dump(mode="json") | {"examples": [example.model_dump()]} for report, example in found]
    content = {"run_id": cleaning.run_id, "pipeline": cleaning.pipeline_name, "reports": reports}
    return harmless.dump_json(content)


def render(cleaning: Cleaning, found: list[tuple[Report, Example]], coloured: bool = True) -> RenderableType:
    """Returns the summary of a run's token cleaning, and an example.

    Args:
        cleaning: The run's reports.
        found: The example, with the report of each round to show it of.
        coloured: False if the output shows no colours: the legend then names none.
    """
    parts: list[RenderableType] = [
        Text.assemble(
            "Token cleaning of run ",
            (make_harmless(cleaning.run_id), "bold"),
            f", pipeline {make_harmless(cleaning.pipeline_name)}",
        ),
        Text(),
        _make_facts(cleaning),
    ]
    if len(cleaning.reports) > 1:
        parts += [Text(), _make_rounds_table(cleaning)]
    for report, example in found:
        parts += [Text(), *_make_example(report, example, coloured, several=len(cleaning.reports) > 1)]
    return Group(*parts)


def _make_facts(cleaning: Cleaning) -> Table:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for title, text in _list_facts(cleaning):
        facts.add_row(title, Text(text))
    return facts


def _list_facts(cleaning: Cleaning) -> Iterator[tuple[str, str]]:
    report = cleaning.reports[-1]
    yield "Strategy", make_harmless(f"{report.strategy}, scope {report.scope}, keep {report.keep:.4g}")
    if len(cleaning.reports) == 1:
        yield "Kept", f"{_count_kept(report)}, {report.kept_share:.2%}"
        yield "Cut", _describe_cut(report)
        yield "Examples", f"{report.num_examples:,}, {report.num_examples_without_target:,} of them without a target"
        yield "Base", make_harmless(report.base)
        yield "Reference", make_harmless(report.reference) or "none"
    where = f" in round {report.round}" if len(cleaning.reports) > 1 else ""
    dropped = [f"{make_visible(token.text)} {token.dropped:,}" for token in report.tokens.dropped[:_NUM_FREQUENT]]
    yield f"Most dropped{where}", "   ".join(dropped) or "none"
    kept = [f"{make_visible(token.text)} {token.kept:,}" for token in report.tokens.kept[:_NUM_FREQUENT]]
    yield f"Most kept{where}", "   ".join(kept) or "none"


def _count_kept(report: Report) -> str:
    return f"{report.num_kept_tokens:,} of {report.num_response_tokens:,} response tokens"


def _describe_cut(report: Report) -> str:
    if not report.has_influence:
        return "none, drawn at random"
    if report.threshold is None:
        return "each sample has its own" if report.scope == "sample" else "none"
    return f"influence {format_influence(report.threshold)} nats, tied at it: {report.num_tied_at_threshold or 0:,}"


def _make_rounds_table(cleaning: Cleaning) -> Table:
    table = Table(box=None, padding=(0, 2), pad_edge=False)
    table.add_column("round", justify="right")
    for title in ("examples", "response tokens", "kept", "share", "cut"):
        table.add_column(title, justify="right")
    table.add_column("reference", overflow="fold")
    for report in cleaning.reports:
        table.add_row(
            str(report.round),
            f"{report.num_examples:,}",
            f"{report.num_response_tokens:,}",
            f"{report.num_kept_tokens:,}",
            f"{report.kept_share:.2%}",
            format_influence(report.threshold if report.has_influence else None),
            Text(make_harmless(report.reference) or "none"),
        )
    table.add_row(
        "all",
        f"{cleaning.num_examples:,}",
        f"{cleaning.num_response_tokens:,}",
        f"{cleaning.num_kept_tokens:,}",
        f"{cleaning.kept_share:.2%}",
        style="bold",
    )
    return table


def _make_example(report: Report, example: Example, coloured: bool, several: bool) -> Iterator[RenderableType]:
    kept = sum(token.kept for token in example.tokens)
    slices = "".join(f", {make_harmless(column)} {make_harmless(value)}" for column, value in example.slices.items())
    yield Text.assemble(
        ("Example ", "bold"),
        (make_harmless(example.example_id), "bold"),
        f"{f', round {report.round}' if several else ''}{slices}: {kept:,} of {len(example.tokens):,} tokens kept",
    )
    yield Padding(
        Text(make_harmless(example.prompt).rstrip(), style="dim", overflow="fold"), (0, 0, 1, 2), expand=False
    )
    scale = make_scale(report)
    response = Text(overflow="fold")
    was_dropped = False
    for token in example.tokens:
        if was_dropped == token.kept:
            response.append(_DROPPED_MARK, "dim")
        style = _STYLES[(scale.get_level(token.influence) or 0) if scale else 0]
        response.append(make_visible_in_text(token.text), style if token.kept else f"strike {style}")
        was_dropped = not token.kept
    response.append(_DROPPED_MARK if was_dropped else "", "dim")
    yield Padding(response, (0, 0, 1, 2), expand=False)
    yield _make_legend(scale if coloured else None)


def _make_legend(scale: Scale | None) -> Text:
    legend = Text.assemble((_DROPPED_MARK, "dim"), ("dropped", "strike"), (_DROPPED_MARK, "dim"))
    legend.append("  the model reads it, but does not learn it")
    if scale:
        bounds = [format_influence(scale.get_influence(level), 2) for level in (-2.5, -0.5, 0.5, 2.5)]
        legend.append("\ninfluence in nats:  ")
        legend.append(f" below {bounds[0]} ", _LOW_FILL)
        legend.append(f"  below {bounds[1]}", _LOW)
        legend.append("  between  ")
        legend.append(f"above {bounds[2]}  ", _HIGH)
        legend.append(f" above {bounds[3]} ", _HIGH_FILL)
    return legend
