import numpy as np
import pytest

from components.cleaning_report import summary as summary_module
from components.cleaning_report.report import make_report
from components.cleaning_report.summary import OTHERS, list_tokens, merge, summarize
from components.cleaning_report.tokens import CleanedExample


class Texts:
    """Names tokens by their ids."""

    def __call__(self, token_ids):
        return [f"t{i}" for i in token_ids]

    def one(self, token_id):
        return f"t{token_id}"


def make_example(name, token_ids, influence, kept, kind="a"):
    return CleanedExample(
        example_id=name,
        prompt=f"prompt of {name}",
        slices={"kind": kind},
        token_ids=np.array(token_ids, np.int64),
        influence=np.array(influence, np.float32),
        is_kept=np.array(kept, bool),
    )


EXAMPLES = [
    make_example("x", [5, 6, 7], [2.0, 0.5, -1.0], [1, 1, 0]),
    make_example("y", [5, 5], [0.5, -30.0], [0, 0], kind="b"),
    make_example("z", [7], [4.01], [1]),
    make_example("empty", [], [], [], kind="b"),
]


def test_figures_by_eye():
    report = make_report(summarize(EXAMPLES), Texts())
    assert report["num_examples"] == 4
    assert report["num_examples_without_target"] == 2
    assert (report["num_response_tokens"], report["num_kept_tokens"]) == (6, 3)
    assert report["kept_share"] == 0.5
    assert report["threshold"] == 0.5
    assert report["num_tied_at_threshold"] == 2  # one kept, one dropped
    assert (report["influence"]["min"], report["influence"]["max"]) == (-30.0, pytest.approx(4.01))
    assert report["influence"]["mean"] == pytest.approx((2 + 0.5 - 1 + 0.5 - 30 + 4.01) / 6)
    bins = {b["low"]: (b["kept"], b["dropped"]) for b in report["influence"]["bins"]}
    # Beyond 25 nats the last bin counts.
    assert bins == {-25.0: (0, 1), -1.0: (0, 1), 0.5: (1, 1), 2.0: (1, 0), 4.0: (1, 0)}
    assert report["slices"]["kind"] == {
        "a": {"examples": 2, "response_tokens": 4, "kept_tokens": 3},
        "b": {"examples": 2, "response_tokens": 2, "kept_tokens": 0},
    }
    assert report["tokens"]["dropped"] == [
        {"token_id": 5, "text": "t5", "dropped": 2, "kept": 1},
        {"token_id": 7, "text": "t7", "dropped": 1, "kept": 1},
    ]
    shown = {e["example_id"]: e for e in report["examples"]}
    assert shown["x"]["tokens"][1] == {"text": "t6", "influence": 0.5, "kept": True}
    assert shown["x"]["prompt"] == "prompt of x"


def test_a_cut_for_each_example_has_no_common_threshold():
    examples = [make_example("x", [1, 2], [1.0, 2.0], [0, 1]), make_example("y", [1, 2], [3.0, 4.0], [0, 1])]
    assert make_report(summarize(examples), Texts())["threshold"] is None


def test_parts_merge_to_the_whole_in_any_order():
    rng = np.random.default_rng(0)
    examples = [
        make_example(f"id{i}", rng.integers(0, 9, 4), rng.integers(-3, 3, 4), rng.random(4) < 0.5, kind=str(i % 3))
        for i in range(200)
    ]
    whole = make_report(summarize(examples), Texts())
    assert len(whole["examples"]) == summary_module.NUM_EXAMPLES
    parts = [summarize(examples[i : i + 17]) for i in range(0, 200, 17)]
    assert make_report(merge(parts), Texts()) == whole
    assert make_report(merge([merge(parts[5:]), merge(parts[:5][::-1])]), Texts()) == whole


def test_nothing_is_a_report_too():
    report = make_report(merge([]), Texts())
    assert (report["num_response_tokens"], report["kept_share"], report["threshold"]) == (0, 0, None)
    assert report["influence"]["min"] is None


def test_the_number_of_slice_values_is_bounded(monkeypatch):
    monkeypatch.setattr(summary_module, "_MAX_SLICE_VALUES", 3)
    parts = [summarize([make_example(f"id{i}", [1], [0.0], [1], kind=f"kind {i}")]) for i in range(10)]
    values = merge(parts).slices["kind"]
    assert set(values) == {"kind 0", "kind 1", "kind 2", OTHERS}
    assert values[OTHERS].tolist() == [7, 7, 0]


def test_tokens_are_ranked_by_the_count_asked_for():
    tokens = {1: np.array([5, 0]), 2: np.array([1, 3]), 3: np.array([1, 3])}
    assert list_tokens(tokens, 1, 10) == [(2, 1, 3), (3, 1, 3)]
    assert list_tokens(tokens, 0, 1) == [(1, 5, 0)]
