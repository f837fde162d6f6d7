"""What an ingestion did, and whether the data are good enough to go on. Pure functions over the files' reports."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from components.errors import UserError
from components.example_gen.files import combine_hashes, make_fingerprint
from components.example_gen.item import QUARANTINE
from components.example_gen.records import Columns, missing_columns_text
from components.example_gen.split import SPLITS, prompts_needed

_SHOWN = 5  # bad records, or broken files, that an error shows


def make_report(file_reports: Sequence[Mapping[str, Any]], written: Mapping[str, int]) -> dict[str, Any]:
    """Adds the files' reports up.

    Args:
        file_reports: One a file, as `IngestFile` makes them.
        written: Number of elements that reached each writer: each split's, and the quarantine's.

    Raises:
        RuntimeError: If rows are lost: read is not kept + quarantined + left out (`data.where`). That is a defect, not a matter of the data.
    """
    files = sorted(file_reports, key=lambda report: report["path"])
    reasons: Counter[str] = Counter()
    for report in files:
        reasons.update(report["quarantine_reasons"])
    rows_by_split = {name: written.get(name, 0) for name in SPLITS}
    result = {
        "rows_read": sum(report["rows_read"] for report in files),
        "rows_kept": sum(rows_by_split.values()),
        "rows_quarantined": written.get(QUARANTINE, 0),
        "rows_left_out": sum(report["rows_left_out"] for report in files),
        "rows_by_split": rows_by_split,
        "blank_lines": sum(report["blank_lines"] for report in files),
        "quarantine_reasons": dict(sorted(reasons.items())),
        "files": [{key: report[key] for key in ("path", "sha256", "bytes", "rows_read")} for report in files],
    }
    if result["rows_read"] != result["rows_kept"] + result["rows_quarantined"] + result["rows_left_out"]:
        raise RuntimeError(f"rows are lost: read must be kept + quarantined + left out. Received: {result}")
    return result


def check_unchanged(file_reports: Sequence[Mapping[str, Any]], expected: str, data_path: str) -> None:
    """Checks that what was read is what was there when it was decided to read it: the cache knows the examples by that.

    Args:
        file_reports: One a file, as `IngestFile` makes them.
        expected: See `make_fingerprint`.
        data_path: Of the run.

    Raises:
        UserError: If it is not.
    """
    found = make_fingerprint(combine_hashes(file_reports), [report["path"] for report in file_reports])
    if found != expected:
        raise UserError(
            f"data.path: the files of {data_path} must not be written to while they are read. Received: fingerprint {expected[:12]} when the "
            f"node began, {found[:12]} when they were read. Wait until they are complete, and run again."
        )


def check_files(file_reports: Iterable[Mapping[str, Any]]) -> None:
    """Raises the problems of whole files, those of several files together."""
    broken = sorted((report["path"], report["error"]) for report in file_reports if report["error"])
    if not broken:
        return
    lines = [f"{path}: {error}" for path, error in broken[:_SHOWN]]
    if len(broken) > _SHOWN:
        lines.append(f"and {len(broken) - _SHOWN} files more")
    raise UserError("\n".join(lines))


def check_columns(file_reports: Sequence[Mapping[str, Any]], columns: Columns, data_path: str) -> None:
    """Raises if no record of all files has an optional column: a misspelt name must not pass for empty values."""
    found = {name for report in file_reports for name in report["columns_found"]}
    missing = {option: column for option, column in columns.optional.items() if column not in found}
    there = sorted({name for report in file_reports for name in report["columns"]})
    if not missing or not there:
        return
    text = missing_columns_text(missing, there)
    if f"{columns.section}.columns.input" in missing:
        text += " If the records have no such column, leave `input` out: `columns: {instruction: ..., output: ...}`."
    raise UserError(f"{data_path}: {text}")


def list_dropped_columns(file_reports: Iterable[Mapping[str, Any]], columns: Columns) -> list[str]:
    """Returns the columns that records have and the configuration does not name, and keys inside of others, sorted."""
    there = {name for report in file_reports for name in report["columns"]}
    inside = {name for report in file_reports for name in report["keys_unused"]}
    named = {*columns.required.values(), *columns.optional.values()}
    # Of a dotted name, only the first part is a column.
    return sorted((there - named - {name.partition(".")[0] for name in named}) | inside)


def is_above_limit(report: Mapping[str, Any], max_bad_fraction: float) -> bool:
    """Tells whether too many records are bad."""
    # Divided, not multiplied: 29 of 100 is not above 0.29, though 0.29 * 100 is below 29.
    return report["rows_read"] > 0 and report["rows_quarantined"] / report["rows_read"] > max_bad_fraction


def bad_records_text(
    report: Mapping[str, Any],
    bad_records: Sequence[Mapping[str, Any]],
    max_bad_fraction: float,
    quarantine_path: str,
    section: str = "data",
) -> str:
    """Says that too many records are bad.

    Args:
        report: From `make_report`.
        bad_records: The first of them, in file order, as in the quarantine.
        max_bad_fraction: The limit.
        quarantine_path: Where all of them lie; "" if that was not asked for.
        section: Of the configuration that names the data.
    """
    bad, read = report["rows_quarantined"], report["rows_read"]
    lines = [
        f"{section}.max_bad_fraction: at most {100 * max_bad_fraction:.4g}% of the records may be bad. "
        f"Received: {bad} of {read} ({100 * bad / read:.4g}%)."
    ]
    reasons = sorted(report["quarantine_reasons"].items(), key=lambda entry: (-entry[1], entry[0]))
    lines.append("Reasons: " + "; ".join(f"{reason}: {count}" for reason, count in reasons[:10]) + ".")
    lines.append("First bad records:" if bad > len(bad_records) else "Bad records:")
    for record in bad_records:
        place = f"line {record['line']}" if record["line"] is not None else f"record {record['record']}"
        lines.append(f"  {record['file']}, {place}: {record['reason']}: {record['preview']}")
    if quarantine_path:
        lines.append(f"All of them, with reasons: {quarantine_path}")
    lines.append(f"Fix them in the file, or raise `{section}.max_bad_fraction` to go on without them.")
    return "\n".join(lines)


def check_rows(report: Mapping[str, Any], shares: Mapping[str, float], data_path: str, section: str = "data") -> None:
    """Raises if there is nothing to train on, or nothing in one of the splits."""
    if not report["rows_read"]:
        raise UserError(f"{data_path}: must hold at least one record; it is empty. Check `{section}.path`.")
    if not report["rows_kept"]:
        left_out = {"left out by data.where": report["rows_left_out"]} if report["rows_left_out"] else {}
        reasons = "; ".join(f"{reason}: {n}" for reason, n in (report["quarantine_reasons"] | left_out).items())
        raise UserError(
            f"{data_path}: at least one record must be usable; none of {report['rows_read']} is. {reasons}."
        )
    for name in SPLITS:
        if shares[name] and not report["rows_by_split"][name]:
            rows = ", ".join(f"{split} {count}" for split, count in report["rows_by_split"].items())
            raise UserError(
                f"{data_path}: each split must hold records; `{name}` holds none. Records: {rows}. Records are split by their "
                f"prompt, and a share of {shares[name]:g} needs about {prompts_needed(shares[name])} different prompts to be "
                "sure to get one. Add records, or raise its share in `data.splits`."
            )
