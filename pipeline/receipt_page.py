"""The HTML page of a run's receipts: one file without network and without scripts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline import receipt_view
from pipeline.html import render, write_whole
from pipeline.receipt_store import RunReceipts
from pipeline.tokens_view import make_harmless, make_visible_in_text

_TEMPLATE = Path(__file__).with_name("receipt_page.html.j2")
# What `receipt_parts.html.j2` needs, also inside of another page.
FILTERS: dict[str, Callable[..., Any]] = {
    "abridge": receipt_view.abridge,
    "count": lambda number: "-" if number is None else f"{number:,}",
    "figures": receipt_view.make_table,
    "flow": make_visible_in_text,
    "harmless": make_harmless,
    "quantiles": receipt_view.list_quantiles,
    "truncation": receipt_view.describe_truncation,
}


def write_page(run: RunReceipts, path: Path) -> None:
    """Writes the page, whole or not at all.

    Raises:
        UserError: The file cannot be written.
    """
    write_whole(path, render_page(run))


def render_page(run: RunReceipts) -> str:
    """Returns the page as HTML text."""
    return render(_TEMPLATE, FILTERS, run=run)
