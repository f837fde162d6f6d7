"""Shows a receipt on a console: figures, broken rules, rows with their mask; and as JSON for programs."""

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from components.harmless import dump_json
from components.receipt.rules import describe_fits, format_percent
from pipeline.receipt_report import Example, Figures, Piece, Quantiles, Receipt
from pipeline.tokens_view import make_harmless, make_visible_in_text

# Both colours are the theme's own: terminals with sixteen of them show it too.
_SUPERVISED = "black on green"
_LEVELS = {"error": "red", "warn": "yellow"}
# Characters of one piece of a row that are shown; the middle of a longer one is left out.
_SHOWN_CONTEXT, _SHOWN_SUPERVISED = 400, 800
_QUANTILES = {"min": "least", "p5": "5 %", "p25": "25 %", "median": "half", "p75": "75 %", "p95": "95 %", "max": "most"}


def to_json(run_id: str, pipeline_name: str, receipts: dict[str, Receipt]) -> str:
    """Returns the receipts of a run by node as JSON text."""
    content = {"run_id": run_id, "pipeline": pipeline_name}
    whole = content | {"receipts": {node: receipt.model_dump(mode="json") for node, receipt in receipts.items()}}
    return dump_json(whole)


def render(receipt: Receipt, *, coloured: bool = True, compact: bool = False) -> RenderableType:
    """Returns the receipt of one training.

    Args:
        receipt: The receipt.
        coloured: False if the output shows no colours: what the loss counts is then marked by signs.
        compact: Line ends inside of rows do not break the line.
    """
    parts: list[RenderableType] = [_make_figures(receipt), Text(), _make_quantiles(receipt)]
    for violation in receipt.violations:
        name = Text.assemble((f"{violation.level} {violation.rule}: ", _LEVELS[violation.level]), violation.message)
        parts += [Text(), name]
    parts += [Text(), _make_legend(coloured)]
    for example in receipt.examples:
        parts += [_make_title(example), Padding(_make_row(example, coloured, compact), (0, 0, 0, 2), expand=False)]
    return Group(*parts)


def render_for(receipt: Receipt, console: Console, *, compact: bool = False) -> RenderableType:
    """Returns the receipt as a console can show it; see `render`."""
    return render(receipt, coloured=console.color_system is not None and not console.no_color, compact=compact)


def make_table(receipt: Receipt) -> dict[str, list[str]]:
    """Returns the figures as text: by name, a value for each split; "" where a split has none of it."""
    columns = [_describe_figures(figures) for figures in receipt.splits.values()]
    table = {name: [column[name] for column in columns] for name in columns[0]}
    return {name: values for name, values in table.items() if any(values)}


def _describe_figures(figures: Figures) -> dict[str, str]:
    """Returns the value of each line of the table; "" for one that does not concern the split."""
    rows = figures.rows
    is_cleaned = figures.response_tokens != figures.supervised_tokens
    is_weighted = abs(figures.weight_sum - figures.supervised_tokens) > 0.5
    return {
        "rows": f"{rows:,}",
        "supervised tokens": f"{figures.supervised_tokens:,}",
        "share of all tokens": _format_share(figures.supervised_tokens, figures.tokens),
        "before token cleaning": f"{figures.response_tokens:,}" if is_cleaned else "",
        "rows cleaned away": _count(figures.rows_cleaned_away, rows) if is_cleaned else "",
        "sum of their weights": f"{figures.weight_sum:,.1f}" if is_weighted else "",
        "rows without any": _count(figures.rows_without_supervised_token, rows),
        "rows whose end token is supervised": _format_share(figures.rows_with_supervised_end_token, rows),
        "truncated rows": _count(figures.truncated.rows, rows),
        "rows with a doubled start token": _count(figures.rows_with_doubled_start_token, rows),
        "rows with special tokens in their text": _count(figures.rows_with_special_ids_in_text, rows),
    }


def list_quantiles(receipt: Receipt) -> Iterator[tuple[str, Quantiles]]:
    """Yields the distributions over the rows that are trained on."""
    figures = receipt.train
    yield "supervised tokens", figures.supervised_tokens_a_row
    if (figures.spans_a_row.max or 0) > 1:
        yield "supervised spans", figures.spans_a_row
    yield "all tokens", figures.tokens_a_row
    if figures.truncated.rows:
        yield "truncated, before", figures.truncated.full_length


def describe_truncation(figures: Figures, max_length: int) -> str:
    """Returns what truncation took, and which length would hold how many of the rows that it concerns; "" if none."""
    truncated = figures.truncated
    if not truncated.rows:
        return ""
    return (
        f"At text.max_length {max_length:,}, {truncated.rows:,} rows lose {truncated.prompt_tokens_cut:,} tokens of prompts and "
        f"{truncated.response_tokens_cut:,} of responses. A length of "
        f"{describe_fits([(fit.length, fit.rows) for fit in truncated.fits], truncated.rows)}."
    )


def abridge(piece: Piece) -> str:
    """Returns a piece's text; of a long one beginning and end."""
    limit = _SHOWN_SUPERVISED if piece.weight > 0 else _SHOWN_CONTEXT
    text = piece.text
    if len(text) <= limit + 40:
        return text
    left = len(text) - limit
    return f"{text[: limit // 2]} […{left:,} characters…] {text[-limit // 2 :]}"


def _make_figures(receipt: Receipt) -> Table:
    table = Table(box=None, padding=(0, 2), pad_edge=False)
    table.add_column("What the loss will see", min_width=38)
    for split in receipt.splits:
        table.add_column(make_harmless(split), justify="right")
    for name, values in make_table(receipt).items():
        table.add_row(name, *values)
    return table


def _make_quantiles(receipt: Receipt) -> RenderableType:
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column(f"a row of {make_harmless(receipt.train_split)}", min_width=18)
    for title in _QUANTILES.values():
        table.add_column(title, justify="right", min_width=6)
    for name, quantiles in list_quantiles(receipt):
        values = (getattr(quantiles, key) for key in _QUANTILES)
        table.add_row(name, *("-" if value is None else f"{value:,}" for value in values))
    truncation = describe_truncation(receipt.train, receipt.text["max_length"])
    return Group(table, *([Text(truncation)] if truncation else []))


def _make_legend(coloured: bool) -> Text:
    sample = Text(" supervised ", _SUPERVISED) if coloured else Text("{+supervised+}")
    return Text.assemble(sample, " the loss counts these tokens; the rest is only read")


def _make_title(example: Example) -> Text:
    title = Text.assemble(("Example ", "bold"), (make_harmless(example.example_id)[:16], "bold"))
    title.append(f", {example.split}: {example.num_supervised:,} of {example.num_tokens:,} tokens supervised")
    if any(example.tokens_cut):
        title.append(f", {sum(example.tokens_cut):,} cut away")
    return title.append(f", breaks {example.rule}" if example.rule else "")


def _make_row(example: Example, coloured: bool, compact: bool) -> Text:
    row = Text(overflow="fold")
    is_open = False  # whether a sign is to be closed
    for piece in example.pieces:
        text = make_visible_in_text(abridge(piece))
        text = text.replace("↵\n", "↵") if compact else text
        special = " underline" if piece.special else ""
        is_supervised = piece.weight > 0
        if is_supervised != is_open and not coloured:
            row.append("{+" if is_supervised else "+}")
            is_open = is_supervised
        row.append(text, f"{_SUPERVISED if is_supervised else 'dim'}{special}")
        if piece.weight not in (0, 1):
            row.append(f"[weight {piece.weight:.3g}]", "dim")
    return row.append("+}" if is_open else "")


def _count(rows: int, of: int) -> str:
    return f"{rows:,} ({_format_share(rows, of)})" if rows else "0"


def _format_share(part: int, of: int) -> str:
    return format_percent(part / of) if of else "-"
