import pytest

from components.errors import UserError
from components.example_gen import report as reports
from components.example_gen.files import combine_hashes, make_fingerprint
from components.example_gen.records import Columns

FILE = {
    "path": "d/a.jsonl",
    "sha256": "aa",
    "bytes": 9,
    "rows_read": 10,
    "rows_left_out": 0,
    "blank_lines": 1,
    "error": "",
}
FILE |= {
    "quarantine_reasons": {"not JSON": 2},
    "columns": ["q", "a", "kind"],
    "columns_found": ["q", "a"],
    "keys_unused": [],
}
WRITTEN = {"train": 6, "eval": 1, "test": 1, "quarantine": 2}
SHARES = {"train": 0.8, "eval": 0.1, "test": 0.1}


def test_files_are_added_up():
    report = reports.make_report([{**FILE, "path": "d/b.jsonl"}, FILE], {name: 2 * n for name, n in WRITTEN.items()})
    assert (report["rows_read"], report["rows_kept"], report["rows_quarantined"], report["blank_lines"]) == (
        20,
        16,
        4,
        2,
    )
    assert report["rows_by_split"] == {"train": 12, "eval": 2, "test": 2}
    assert report["quarantine_reasons"] == {"not JSON": 4}
    assert [file["path"] for file in report["files"]] == ["d/a.jsonl", "d/b.jsonl"]


@pytest.mark.parametrize("written", [{**WRITTEN, "train": 5}, {**WRITTEN, "quarantine": 3}, {}])
def test_a_row_that_gets_lost_is_noticed(written):
    with pytest.raises(RuntimeError, match="rows are lost"):
        reports.make_report([FILE], written)


def test_files_that_were_written_to_meanwhile_are_an_error():
    expected = make_fingerprint(combine_hashes([FILE]), ["e/a.jsonl"])
    reports.check_unchanged([FILE], expected, "d/a.jsonl")
    found = make_fingerprint("bb", ["a.jsonl"])
    message = (
        r"files of d/a\.jsonl must not be written to while they are read\. "
        rf"Received: fingerprint {expected[:12]} when.*, {found[:12]} when"
    )
    with pytest.raises(UserError, match=message):
        reports.check_unchanged([FILE | {"sha256": "bb"}], expected, "d/a.jsonl")


def test_data_sha256_of_several_files_does_not_depend_on_their_order_or_folder():
    files = [{"path": "d/a", "sha256": "1"}, {"path": "d/b", "sha256": "2"}]
    assert combine_hashes(files[:1]) == "1"
    assert combine_hashes(files) == combine_hashes([{"path": "e/b", "sha256": "2"}, {"path": "e/a", "sha256": "1"}])
    assert combine_hashes(files) != combine_hashes([{"path": "d/a", "sha256": "2"}, {"path": "d/b", "sha256": "1"}])


def test_columns_that_nothing_names_are_listed():
    columns = Columns(instruction="q", output="a.text", slices=("kind",))
    files = [FILE | {"columns": ["q", "a", "kind"]}, FILE | {"columns": ["q", "system", "a", "also"]}]
    assert reports.list_dropped_columns(files[:1], columns) == []
    assert reports.list_dropped_columns(files, columns) == ["also", "system"]


def test_problems_of_several_files_come_together():
    with pytest.raises(UserError) as error:
        reports.check_files([{"path": f"f{i}", "error": "broken" if i % 2 else ""} for i in range(20)])
    lines = str(error.value).splitlines()
    assert (lines[0], lines[-1]) == ("f1: broken", "and 5 files more")


def test_an_optional_column_that_no_record_has_is_an_error():
    reports.check_columns(
        [FILE, {**FILE, "columns_found": ["kind"]}], Columns(instruction="q", output="a", slices=("kind",)), "d"
    )
    with pytest.raises(UserError, match=r"data\.columns\.input is `kinds`.*Did you mean `kind`.*leave `input` out"):
        reports.check_columns([FILE], Columns(instruction="q", output="a", input="kinds"), "d")
    with pytest.raises(UserError, match=r"data\.slice_columns\[1\] is `x`"):
        reports.check_columns([FILE], Columns(instruction="q", output="a", slices=("q", "x")), "d")


def test_the_section_that_names_the_data_is_named():
    columns = Columns.from_config(
        {"columns": {"instruction": "q", "output": "a", "input": "x"}, "section": "evaluation.general"}
    )
    assert list(columns.required) == ["evaluation.general.columns.instruction", "evaluation.general.columns.output"]
    found = {**FILE, "columns": ["q", "a"], "columns_found": ["q", "a"]}
    with pytest.raises(
        UserError,
        match=r"evaluation\.general\.columns\.input is `x`, .*Set `evaluation\.general\.columns\.input` to these",
    ):
        reports.check_columns([found], columns, "d")
    report = {"rows_quarantined": 1, "rows_read": 2, "quarantine_reasons": {"x": 1}}
    text = reports.bad_records_text(report, [], 0.01, "", "evaluation.general")
    assert text.startswith("evaluation.general.max_bad_fraction: ") and "raise `evaluation.general.max_bad" in text
    assert "data.max_bad" not in text


def test_the_limit_itself_is_allowed():
    report = {"rows_read": 100, "rows_quarantined": 1}
    assert not reports.is_above_limit(report, 0.01)
    assert reports.is_above_limit({**report, "rows_quarantined": 2}, 0.01)
    assert reports.is_above_limit(report, 0.0)
    assert not reports.is_above_limit({**report, "rows_quarantined": 29}, 0.29)
    assert not reports.is_above_limit({"rows_read": 0, "rows_quarantined": 0}, 0.0)


def test_bad_records_are_shown_with_rule_place_and_way_out():
    bad = [{"file": "d/a.jsonl", "line": 3, "record": 2, "reason": "not JSON: x", "preview": "{"}]
    bad.append({"file": "d/b.parquet", "line": None, "record": 7, "reason": "`q` is missing", "preview": "{}"})
    report = {"rows_read": 9, "rows_quarantined": 3, "quarantine_reasons": {"a": 1, "b": 2}}
    text = reports.bad_records_text(report, bad, 0.01, "/q/quarantine-x.jsonl")
    assert text.splitlines() == [
        "data.max_bad_fraction: at most 1% of the records may be bad. Received: 3 of 9 (33.33%).",
        "Reasons: b: 2; a: 1.",
        "First bad records:",
        "  d/a.jsonl, line 3: not JSON: x: {",
        "  d/b.parquet, record 7: `q` is missing: {}",
        "All of them, with reasons: /q/quarantine-x.jsonl",
        "Fix them in the file, or raise `data.max_bad_fraction` to go on without them.",
    ]


def test_no_record_and_an_empty_split_are_errors():
    reports.check_rows(reports.make_report([FILE], WRITTEN), SHARES, "d")
    with pytest.raises(UserError, match="it is empty"):
        reports.check_rows(reports.make_report([], {}), SHARES, "d")
    with pytest.raises(UserError, match="none of 10 is. not JSON: 2"):
        reports.check_rows(reports.make_report([FILE], {"quarantine": 10}), SHARES, "d")
    with pytest.raises(UserError, match=r"`eval` holds none. Records: train 8, eval 0, .* about 44 different prompts"):
        reports.check_rows(reports.make_report([FILE], {"train": 8, "quarantine": 2}), SHARES, "d")
