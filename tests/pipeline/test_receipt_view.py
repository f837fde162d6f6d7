"""A receipt on a console and on its page."""

import io
import json

import pytest
from rich.console import Console

from pipeline import receipt_page, receipt_view
from pipeline.execution.run_display import RunDisplay
from pipeline.local_runner import show_receipt
from pipeline.receipt_report import Piece
from pipeline.receipt_store import RunReceipts

HOSTILE = "</mark><script>alert(1)</script>\x1b[2J"


def show(receipt, width=80, colours=None, **options):
    console = Console(
        file=io.StringIO(), width=width, highlight=False, color_system=colours, force_terminal=bool(colours)
    )
    console.print(receipt_view.render_for(receipt, console, **options))
    return console.file.getvalue()


def test_without_colours_signs_say_what_the_loss_counts(make_receipt):
    lines = show(make_receipt()).splitlines()
    assert all(len(line) <= 80 for line in lines)
    text = "\n".join(line.rstrip() for line in lines)
    assert "{+supervised+} the loss counts these tokens; the rest is only read" in text
    assert "  <s>Name a↵\n  colour.{+Red.![weight 0.5]</s>+}" in text
    assert "Example 0123456789abcdef, train: 4 of 9 tokens supervised, 3 cut away, breaks\ntruncated_rows" in text
    assert "\x1b" not in text
    for words in (
        ("rows", "100", "100"),
        ("supervised", "tokens", "1,234", "1,234"),
        ("share", "of", "all", "tokens", "25", "%", "25", "%"),
        ("rows", "without", "any", "3", "(3", "%)", "3", "(3", "%)"),
        ("rows", "whose", "end", "token", "is", "supervised", "97", "%", "97", "%"),
        ("truncated", "rows", "8", "(8", "%)", "0"),
        ("a", "row", "of", "train", "least", "5", "%", "25", "%", "half", "75", "%", "95", "%", "most"),
        ("supervised", "tokens", "2", "3", "8", "12", "15", "21", "1,300"),
    ):
        assert list(words) in [line.split() for line in lines], words
    assert "A length of 72 would hold 5 of these, 1,536 would hold all." in " ".join(text.split())
    assert "warn truncated_rows: at most 5 % of the rows may be truncated." in text
    assert "cleaned" not in text


def test_with_colours_a_background_says_it(make_receipt):
    text = show(make_receipt(), colours="truecolor", compact=True)
    assert "{+" not in text
    assert "30;42mRed." in text
    assert "Name a↵colour." in text


def test_what_token_cleaning_took_is_told_where_it_did(make_receipt):
    receipt = make_receipt()
    cleaned = receipt.train.model_copy(update={"response_tokens": 2000, "rows_cleaned_away": 4})
    receipt = receipt.model_copy(update={"splits": {"train": cleaned, "eval": receipt.splits["eval"]}})
    lines = [line.split() for line in show(receipt).splitlines()]
    assert ["before", "token", "cleaning", "2,000"] in lines
    assert ["rows", "cleaned", "away", "4", "(4", "%)"] in lines


@pytest.mark.parametrize(("weight", "shown"), [(0.0, 400), (1.0, 800)])
def test_of_a_long_piece_beginning_and_end_are_shown(weight, shown):
    def shorten(text):
        return receipt_view.abridge(Piece(text=text, num_tokens=9, weight=weight, special=False))

    text = "a" * 500 + "b" * 10_000 + "c" * 500
    short = shorten(text)
    assert short.startswith("a" * (shown // 2)) and short.endswith("c" * (shown // 2))
    assert f"[…{len(text) - shown:,} characters…]" in short and len(short) < shown + 40
    assert shorten("a" * shown) == "a" * shown


def test_text_of_records_commands_no_terminal_and_no_browser(make_receipt):
    assert "\x1b" not in show(make_receipt(text=HOSTILE))
    page = receipt_page.render_page(
        RunReceipts(run_id=HOSTILE, pipeline_name="p", receipts={"Receipt": make_receipt(HOSTILE)})
    )
    assert "<script" not in page and "\x1b" not in page
    assert "script-src" not in page and "default-src 'none'" in page


def test_page(make_receipt):
    receipts = {"ReferenceReceipt": make_receipt(train_split="warmup"), "Receipt": make_receipt()}
    page = receipt_page.render_page(RunReceipts(run_id="r1", pipeline_name="p", receipts=receipts))
    assert page.count("<h2>") == 2 and "<h2>ReferenceReceipt</h2>" in page
    assert page.count('<mark title="2 tokens">Red.</mark>') == 2
    assert page.count('<mark title="1 token, weight 0.5">!</mark>') == 2
    assert '<span title="4 tokens">Name a↵\ncolour.</span>' in page
    assert '<li class="warn">' in page and "breaks truncated_rows" in page
    alone = receipt_page.render_page(RunReceipts(run_id="r1", pipeline_name="p", receipts={"Receipt": make_receipt()}))
    assert "<h2>" not in alone


def test_a_run_shows_it_between_its_nodes(make_receipt, tmp_path):
    console = Console(file=io.StringIO(), width=80, highlight=False)
    display = RunDisplay(console)
    show_receipt(display, tmp_path / "nothing.json")
    (tmp_path / "damaged.json").write_text("{")
    show_receipt(display, tmp_path / "damaged.json")
    assert console.file.getvalue() == ""
    (tmp_path / "receipt.json").write_text(make_receipt().model_dump_json())
    show_receipt(display, tmp_path / "receipt.json")
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    assert lines[0].startswith("  What the loss will see") and "    <s>Name a↵colour.{+Red.![weight 0.5]</s>+}" in lines
    assert all(len(line) <= 80 for line in lines)


def test_json(make_receipt):
    told = json.loads(receipt_view.to_json("r1", "p", {"Receipt": make_receipt()}))
    assert (told["run_id"], told["pipeline"]) == ("r1", "p")
    assert told["receipts"]["Receipt"]["splits"]["train"]["supervised_tokens"] == 1234
