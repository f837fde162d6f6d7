"""Real data sets and hostile files; skipped where they are not beside the repository."""

import json
from collections import Counter

import pytest

from components.errors import UserError
from components.text.cleaning import has_text

DOLLY = {"instruction": "instruction", "input": "context", "output": "response"}


def test_dolly_is_read_fully(ingest, shared_data):
    outcome = ingest(shared_data / "dolly-15k/dolly.jsonl.gz", columns=DOLLY, slices=["category"])
    report = outcome.check()
    assert report["rows_read"] == 15_011 == report["rows_kept"] + report["rows_quarantined"]
    assert len({example["category"] for example in outcome.all_examples}) == 8
    splits_of_prompt = {}
    for split, examples in outcome.examples.items():
        for example in examples:
            splits_of_prompt.setdefault((example["instruction"], example["input"]), set()).add(split)
    assert all(len(splits) == 1 for splits in splits_of_prompt.values())
    assert len(splits_of_prompt) < 15_011  # there are repeated prompts, so that the line above says something


@pytest.mark.parametrize(
    ("path", "columns", "rows"),
    [
        ("gpteacher-toolformer/toolformer-similarity-0.6-dataset.json", None, 2396),
        ("identity-sharegpt/dummy_conversation.json", {"messages": "conversations"}, 500),
        ("mmlu/test/high_school_biology_test.csv", {"instruction": "question", "output": "choice0"}, 310),
        ("self-instruct-seed/seed_tasks.jsonl", {"instruction": "instruction", "output": "instances.0.output"}, 175),
        ("xquad/xquad.en.jsonl", {"instruction": "question", "input": "context", "output": "answers.text.0"}, 1190),
    ],
)
def test_all_records_of_a_clean_set_are_kept(ingest, shared_data, path, columns, rows):
    report = ingest(shared_data / path, columns=columns).check()
    assert (report["rows_read"], report["rows_kept"]) == (rows, rows)


def test_an_array_and_its_own_values_are_the_same(ingest, shared_data):
    path = shared_data / "gpteacher-toolformer/toolformer-similarity-0.6-dataset.json"
    texts = Counter((row["instruction"], row["input"], row["output"]) for row in json.loads(path.read_text()))
    assert Counter((e["instruction"], e["input"], e["output"]) for e in ingest(path).all_examples) == texts


def test_tool_dialogues_are_read_or_quarantined_with_a_reason(ingest, shared_data):
    outcome = ingest(shared_data / "taskmaster4-chat/chat.jsonl", columns={"messages": "messages"})
    assert (len(outcome.all_examples), len(outcome.quarantine)) == (472, 28)
    assert {reason.partition(":")[0] for *_, reason in outcome.reasons} == {
        "a tool call has no name, or arguments that are no JSON object",
        "the conversation does not end with an assistant turn",
    }


def test_text_without_instructions_is_a_missing_column(ingest, shared_data):
    with pytest.raises(UserError, match="which no record has.*Columns there are: `text`"):
        ingest(shared_data / "c4-sample/c4-train.parquet").check()


@pytest.mark.parametrize("data_format", ["json", "jsonl", "csv", "parquet"])
def test_every_hostile_json_file_has_a_clear_outcome(ingest, shared_data, data_format):
    paths = sorted((shared_data / "json-test-suite/test_parsing").iterdir())
    assert len(paths) == 318
    outcomes = Counter()
    for path in paths:
        outcome = ingest(path, data_format)
        if not outcome.file_reports[0]["error"]:
            assert outcome.file_reports[0]["rows_read"] == len(outcome.all_examples) + len(outcome.quarantine), path
        try:
            outcome.check()
            outcomes["read"] += 1
        except UserError as error:
            assert str(error).strip() and len(str(error)) < 3000, path
            outcomes["refused"] += 1
    assert outcomes.total() == 318


def test_hostile_json_as_a_value_is_kept_or_quarantined_as_the_suite_says(ingest, shared_data, write):
    """Each document stands as an unused value in a record: `y_` must be kept, `n_` must be quarantined."""
    for path in sorted((shared_data / "json-test-suite/test_parsing").iterdir()):
        body = path.read_bytes()
        if b"\n" in body.strip():
            continue  # JSON Lines cannot hold it
        name = path.name
        line = b'{"instruction": "a", "input": "", "output": "b", "x": ' + body.strip(b"\r\n") + b"}\n"
        outcome = ingest(write("a.jsonl", line))
        assert len(outcome.all_examples) + len(outcome.quarantine) == 1, name
        # Repeated keys are legal JSON, and refused here on purpose.
        if name.startswith("y_") and "duplicated_key" not in name:
            assert outcome.all_examples, (name, outcome.reasons)
        # These close or continue the object around them, so that the whole is JSON again.
        if name.startswith("n_") and outcome.all_examples:
            assert name in CLOSED_BY_THEIR_SURROUNDINGS, name


CLOSED_BY_THEIR_SURROUNDINGS: set[str] = set()


def test_naughty_strings_come_through_unchanged(ingest, shared_data, write):
    strings = [s for s in json.loads((shared_data / "naughty-strings/blns.json").read_text()) if has_text(s)]
    assert len(strings) > 450
    rows = [{"instruction": s, "input": s, "output": s} for s in strings]
    for name, text in [
        ("a.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)),
        ("b.jsonl", "".join(json.dumps(row) + "\n" for row in rows)),
        ("a.json", json.dumps(rows, ensure_ascii=False, indent=1)),
    ]:
        outcome = ingest(write(name, text))
        assert outcome.check()["rows_quarantined"] == 0
        assert Counter(e["output"] for e in outcome.all_examples) == Counter(strings)
        assert all(e["instruction"] == e["input"] == e["output"] for e in outcome.all_examples)
