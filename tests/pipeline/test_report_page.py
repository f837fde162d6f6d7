"""The page of a run: positions, words, and that nothing in the data becomes markup."""

import math
from html.parser import HTMLParser

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.errors import UserError
from components.tokenizer.executor import LENGTH_BINS
from pipeline import report_page
from pipeline.lineage.graph import Artifact, Run, Trace
from pipeline.report_store import RunReport, list_data

HOSTILE = "</pre><script>alert(1)</script>"
VOID = {"meta", "line", "polyline"}


def make_check(**given):
    empty = {"metric": "exact_match", "slice_name": "overall", "rule": "r", "measured": [0.5, 0.4, 0.6]}
    return {**empty, "verdict": "better", "passed": True, **given}


def make_evaluation(**given):
    values = {"exact_match": 0.5, "perplexity": 2.0, "example_count": 40}
    change = {"exact_match": [0.25, 0.125, 0.5], "perplexity": [-1.0, -2.0, 0.5]}
    worse = {"exact_match": [-0.5, -0.75, -0.25]}
    return {
        "verdict": f"Blessed: {HOSTILE}",
        "blessed": True,
        "baseline": "preset",
        "metrics": {
            "candidate": {"overall": values, f"kind={HOSTILE}": {**values, "example_count": 20}},
            "preset": {"overall": {**values, "exact_match": 0.25}, f"kind={HOSTILE}": values},
            "baseline": {"overall": values},
        },
        "changes": {"preset": {"overall": change, f"kind={HOSTILE}": worse}},
        "intervals": {"overall": {"exact_match": [0.4, 0.6]}},
        "directions": {"exact_match": True, "perplexity": False, "example_count": None},
        "speed": {"examples_per_second": 12.5},
        "settings": {"bleu": "nrefs:1|case:mixed"},
        "checks": [make_check(), make_check(metric="perplexity", verdict=None, measured=[2.0, None, None])],
        **given,
    }


def make_report(**given):
    example = {
        "example_id": "abc", "slices": {"kind": HOSTILE}, "prompt": "x " * 500, "reference": HOSTILE, "completion": "",
        "completion_before": "no", "loss": 1.5, "loss_before": None,
    }  # fmt: skip
    model = Artifact(id=1, type="Model", uri="/m", created_at="2026-01-02T03:04:05Z", properties={})
    run = Run(id="r1", pipeline_name="p", config=f"a: {HOSTILE}\nb: 2\n")
    history = [{"step": step, "loss": 4.0 / step, "eval_loss": 3.0 / step} for step in (1, 2, 4)]
    return RunReport(
        **{
            "run_id": "r1",
            "pipeline_name": "p",
            "evaluation": make_evaluation(),
            "examples": {"lost": [], "gained": [example]},
            "training": {"history": history, "eval_loss_before": 5.0, "steps": 4},
            "counts": {"rows_kept": 97},
            "lengths": {},
            "text_changes": {},
            "cleaning": [],
            "receipts": {},
            "lineage": Trace(pushed=None, artifact=model, evaluation=None, steps=(), data=(), runs=(run,)),
            **given,
        }
    )


class Reader(HTMLParser):
    """Collects tags and text, and fails on a tag that is closed out of order."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def read(page):
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def test_what_the_data_hold_stays_text():
    page = read(report_page.render_page(make_report()))
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count(HOSTILE) >= 4
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv"))
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert not any("src" in attrs or "href" in attrs for _, attrs in page.tags)


def test_what_is_told():
    text = " ".join(read(report_page.render_page(make_report())).text.split())
    for part in (
        "rows kept97",
        "evaluated a second12.5",
        "exact_match",
        "0.4 … 0.6",
        "+0.25",
        "nrefs:1|case:mixed",
        "(empty)",
        "loss a token - → 1.5",
    ):
        assert part.replace(" ", "") in text.replace(" ", ""), part
    assert "Latest blessed model" not in text
    compared = make_evaluation(baseline="latest blessed model", changes={"baseline": {}})
    assert "Latest blessed model" in read(report_page.render_page(make_report(evaluation=compared))).text


def test_a_page_of_little():
    evaluation = make_evaluation(changes={}, checks=[])
    page = read(report_page.render_page(make_report(evaluation=evaluation, training={}, counts={})))
    assert "polyline" not in {tag for tag, _ in page.tags}


@pytest.mark.parametrize(
    ("blessed", "passed", "verdict"),
    [(True, [True, None], "blessed"), (False, [True, False], "refused"), (False, [True, None], "unproven")],
)
def test_verdicts(blessed, passed, verdict):
    checks = [make_check(passed=value) for value in passed]
    assert report_page.classify({"blessed": blessed, "checks": checks}) == verdict


def test_positions_of_changes():
    exact, perplexity = report_page.make_forests(make_evaluation(), "preset")
    overall, of_kind = exact.rows
    # From -0.75 to 0.5.
    assert exact.zero == pytest.approx(0.6)
    assert (overall.x, overall.x_low, overall.x_high) == pytest.approx((0.8, 0.7, 1.0))
    assert (of_kind.x, of_kind.x_low, of_kind.x_high) == pytest.approx((0.2, 0.0, 0.4))
    assert (overall.verdict, of_kind.verdict) == ("better", "worse")
    assert (overall.before, overall.after, of_kind.num_examples) == (0.25, 0.5, 20)
    # Lower is better, and the interval holds zero.
    assert [row.verdict for row in perplexity.rows] == ["open"]


def test_curves():
    training, evaluation = report_page.make_curves(
        {"history": [{"step": 10, "loss": 4.0, "eval_loss": 2.0}, {"step": 30, "loss": 1.0, "eval_loss": 3.0}]}
    )
    assert training.points == [(0.0, 1.0), (1.0, 0.0)]
    assert evaluation.points == [(0.0, pytest.approx(1 / 3)), (1.0, pytest.approx(2 / 3))]
    assert evaluation.last == 3.0
    one = {"history": [{"step": 10, "loss": 1.0, "eval_loss": 1.0}]}
    assert report_page.make_curves(one) == []
    (evaluation,) = report_page.make_curves(one | {"eval_loss_before": 3.0})
    assert evaluation.points == [(0.0, 1.0), (1.0, 0.0)]
    assert report_page.make_curves({"eval_loss_before": 3.0}) == []
    assert report_page.make_curves({"history": [{"step": 1, "loss": math.nan, "eval_loss": 1.0}] * 2}) == []


def test_confusion():
    values = {"accuracy": 0.5, "confusion[a -> b]": 2.0, "confusion[a -> a]": 3.0, "confusion[b -> (no label)]": 1.0}
    assert report_page.make_confusion(values) == {
        "a": {"(no label)": 0.0, "a": 3.0, "b": 2.0},
        "b": {"(no label)": 1.0, "a": 0.0, "b": 0.0},
    }
    assert report_page.make_confusion({"accuracy": 0.5}) == {}
    evaluation = make_evaluation()
    evaluation["metrics"]["candidate"]["overall"] |= values
    assert "Confusion" in read(report_page.render_page(make_report(evaluation=evaluation))).text


@pytest.mark.parametrize(
    ("number", "shown"), [(None, "-"), (math.nan, "-"), (math.inf, "-"), (12345.0, "12,345"), (0.123456, "0.1235")]
)
def test_numbers(number, shown):
    assert report_page.format_number(number) == shown


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="must be a file in a folder that you can write to"):
        report_page.write_page(make_report(), tmp_path / "file" / "page.html")


@pytest.mark.parametrize(
    ("low", "high", "higher", "verdict"),
    [
        (0.1, 0.2, True, "better"),
        (-0.2, -0.1, True, "worse"),
        (0.1, 0.2, False, "worse"),
        (-0.2, -0.1, False, "better"),
        (-0.1, 0.1, False, "open"),
        (0.1, 0.2, None, "open"),
    ],
)
def test_a_change_is_better_in_its_own_direction(low, high, higher, verdict):
    changes = {"preset": {"overall": {"exact_match": [(low + high) / 2, low, high]}}}
    evaluation = make_evaluation(changes=changes, directions={"exact_match": higher, "perplexity": False})
    ((row,),) = (forest.rows for forest in report_page.make_forests(evaluation, "preset"))
    assert row.verdict == verdict


def test_lengths_are_bars():
    run = Run(id="r1", pipeline_name="p", config="text: {max_length: 64}\n")
    model = Artifact(id=1, type="Model", uri="/m", created_at="2026-01-02T03:04:05Z", properties={})
    lineage = Trace(pushed=None, artifact=model, evaluation=None, steps=(), data=(), runs=(run,))
    lengths = {"prompt_0": 1, "prompt_1": 4, "response_0": 0, "response_1": 0}
    report = make_report(lengths=lengths, lineage=lineage)
    (bars,) = report_page.make_bars(report)
    assert [(bar.low, bar.high, bar.count, bar.height) for bar in bars.bars] == [(0, 32, 1, 0.25), (32, 65, 4, 1.0)]
    titles = [attrs["title"] for _, attrs in read(report_page.render_page(report)).tags if "title" in attrs]
    assert {"0 to 31 tokens: 1", "32 to 64 tokens: 4"} <= set(titles)


@pytest.mark.parametrize("longest", [16, 64, 100, 250, 256])
def test_a_bar_counts_the_lengths_that_its_label_says(longest):
    run = Run(id="r1", pipeline_name="p", config=f"text: {{max_length: {longest}}}\n")
    model = Artifact(id=1, type="Model", uri="/m", created_at="2026-01-02T03:04:05Z", properties={})
    lineage = Trace(pushed=None, artifact=model, evaluation=None, steps=(), data=(), runs=(run,))
    report = make_report(lengths={f"prompt_{i}": 1 for i in range(LENGTH_BINS)}, lineage=lineage)
    (bars,) = report_page.make_bars(report)
    for length in range(longest + 1):
        place = min(length * LENGTH_BINS // longest, LENGTH_BINS - 1)  # as the Tokenizer counts
        assert bars.bars[place].low <= length < bars.bars[place].high


def test_only_the_runs_own_data_are_counted():
    """Token cleaning scores a part of the examples, and says of how many."""
    nodes = ("ExampleGen", "GeneralExampleGen", "Tokenizer", "GeneralTokenizer", "TokenScorer", "Transform")
    artifacts = [mlmd.Artifact(type="Examples", uri=f"/r/artifacts/p/{node}/examples/3") for node in nodes]
    artifacts.append(mlmd.Artifact(type="Model", uri="/r/artifacts/p/Tokenizer/model/3"))
    artifacts.append(mlmd.Artifact(type="Examples", uri="/r"))
    assert [artifact.uri.split("/")[4] for artifact in list_data(artifacts)] == ["ExampleGen", "Tokenizer"]


def test_general_text_is_compared_with_the_preset_alone():
    evaluation = make_evaluation(baseline="latest blessed model")
    values = {"perplexity": 3.0, "example_count": 35}
    for model, number in (("candidate", 3.5), ("preset", 3.0)):
        evaluation["metrics"][model]["general"] = {**values, "perplexity": number}
    evaluation["changes"]["baseline"] = evaluation["changes"]["preset"]
    evaluation["changes"]["preset"] = {"general": {"perplexity": [0.5, 0.25, 0.75]}}
    forest = next(f for f in report_page.make_forests(evaluation, "baseline") if f.name == "perplexity")
    row = next(row for row in forest.rows if row.name == "general")
    assert (row.before, row.after, row.verdict, row.num_examples) == (3.0, 3.5, "worse", 35)
    text = read(report_page.render_page(make_report(evaluation=evaluation))).text
    assert "General text: 35 examples" in text


def test_the_receipts_stand_before_the_training(make_receipt):
    receipts = {"ReferenceReceipt": make_receipt(train_split="warmup"), "Receipt": make_receipt(text=HOSTILE)}
    page = read(report_page.render_page(make_report(receipts=receipts)))
    assert "What the loss saw" in page.text
    assert "ReferenceReceipt: 1,234 supervised tokens in 100 rows" in page.text
    assert [tag for tag, _ in page.tags].count("mark") == 2 * (1 + 3)
    assert "script" not in {tag for tag, _ in page.tags} and HOSTILE in page.text
    assert "What the loss saw" not in read(report_page.render_page(make_report())).text


def test_what_cleaning_of_text_has_changed_is_shown():
    changes = {
        "line ends of other systems": {"examples": 1234, "shown": [["a\r\nb", "a\nb"], ["<b>\r", "<b>\n"]]},
        "control characters": {"examples": 1, "shown": [["x\x1b[2J", "x[2J"]]},
    }
    page = read(report_page.render_page(make_report(text_changes=changes)))
    assert "Cleaning of text" in page.text
    assert "a<U+000D>↵b" in page.text
    assert "<b>↵" in page.text
    assert "x<U+001B>[2J" in page.text
    assert "1,234" in page.text or "1234" in page.text
    assert "Cleaning of text" not in read(report_page.render_page(make_report())).text


def test_token_cleaning_is_told_round_by_round():
    rounds = [
        {"round": 1, "kept_share": 0.6, "num_response_tokens": 1000, "strategy": "fixed", "threshold": 0.25},
        {"round": 2, "kept_share": 0.5, "num_response_tokens": 10, "strategy": "random"},
    ]
    text = read(report_page.render_page(make_report(cleaning=rounds))).text
    assert "round 1: kept 60.00% of 1,000 response tokens, cut at 0.25 nats" in text
    assert "round 2: kept 50.00% of 10 response tokens" in text


def test_no_character_of_the_data_reorders_or_commands():
    evil = "\u202e\x1b]0;t\x07\x00"
    checks = [make_check(metric=f"precision[{evil}]", slice_name=evil, rule=evil)]
    evaluation = make_evaluation(checks=checks, settings={f"judge{evil}": evil}, verdict=f"Blessed: {evil}")
    evaluation["metrics"]["candidate"][f"kind={evil}"] = evaluation["metrics"]["candidate"]["overall"]
    page = report_page.render_page(make_report(evaluation=evaluation))
    assert not {"\u202e", "\x1b", "\x07", "\x00"} & set(page)
    assert page.count("U+202E") >= 5
