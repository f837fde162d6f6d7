"""Executor of InstructionExampleGen: data files to raw examples, through Beam."""

import heapq
import json
from collections.abc import Iterator, Mapping
from typing import Any

import apache_beam as beam
from absl import logging
from tfx import types
from tfx.components.example_gen import write_split
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs

from components.errors import UserError
from components.example_gen import report as reports
from components.example_gen.driver import read_fingerprint, read_paths
from components.example_gen.files import DataFile, combine_hashes, describe_links, list_files, split_path
from components.example_gen.ingest import REPORT, IngestFile
from components.example_gen.item import QUARANTINE
from components.example_gen.records import Columns
from components.example_gen.settings import read_custom_config
from components.example_gen.split import SPLITS

REPORT_FILE = "ingest_report.json"
_SHOWN_BAD_RECORDS = 5
_COPY_BYTES = 1 << 20
_SHOWN_CHARACTERS = 300  # of names of columns
_SHOWN_FILES = 3


class Executor(base_beam_executor.BaseBeamExecutor):
    """Reads, checks, maps and splits the records of the data files."""

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the `examples` artifact.

        Below its URI: `Split-<name>/data_tfrecord-*.gz`, `quarantine/quarantine-*.jsonl` where records are bad, and
        `ingest_report.json`. Its custom properties: `rows_read`, `rows_kept`, `rows_quarantined` (int), `rows_by_split` (JSON
        text), `data_path`, `columns_dropped`, `rows_left_out`, `links_out` and
        `files_left_out` if there are any, `data_sha256`, `payload_format` and `file_format` (text).

        Raises:
            UserError: If files are missing, broken, or were changed meanwhile, columns are missing, too many records are bad, or a split is empty.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        data_config = read_custom_config(exec_properties)["data"]
        columns, shares = Columns.from_config(data_config), data_config["splits"]
        paths = read_paths(exec_properties)
        data_path = ", ".join(paths)
        left_out: list[str] = []
        files = [
            file for path in paths for file in list_files(*split_path(path), data_config["format"], left_out.extend)
        ]
        examples = artifact_utils.get_single_instance(output_dict[standard_component_specs.EXAMPLES_KEY])

        written = self._run_beam(files, columns, shares, examples.uri)
        file_reports = written.pop(REPORT)
        reports.check_files(file_reports)
        reports.check_unchanged(file_reports, read_fingerprint(exec_properties), data_path)
        reports.check_columns(file_reports, columns, data_path)
        report = reports.make_report(file_reports, written)
        report["columns_dropped"] = reports.list_dropped_columns(file_reports, columns)
        with fileio.open(f"{examples.uri}/{REPORT_FILE}", "w") as stream:
            stream.write(json.dumps(report, indent=2))
        _check_bad_records(report, data_config, examples.uri)
        reports.check_rows(report, shares, data_path, columns.section)
        _set_properties(examples, report, data_path)
        for name, found in (("links_out", describe_links(files)), ("files_left_out", left_out)):
            if found:
                more = f" and {len(found) - _SHOWN_FILES:,} more" if len(found) > _SHOWN_FILES else ""
                _set_text(examples, name, ", ".join(found[:_SHOWN_FILES]) + more)
        logging.info("InstructionExampleGen: %s", report)

    def _run_beam(
        self, files: list[DataFile], columns: Columns, shares: Mapping[str, float], uri: str
    ) -> dict[str, Any]:
        """Runs the Beam pipeline; returns the number of elements by writer, and under `REPORT` the files' reports.

        Files are spread over the workers, the records of one are read in order. They are not reshuffled: that keeps the
        order of the file in the examples, and runners that shuffle in memory would hold all records there.
        """
        facts = f"{uri}/.ingest"
        with self._make_beam_pipeline() as pipeline:
            outputs = (
                pipeline
                | "Files" >> beam.Create(files)
                | "Spread" >> beam.Reshuffle()
                | "Ingest" >> beam.ParDo(IngestFile(columns, shares)).with_outputs(*SPLITS, QUARANTINE, REPORT)
            )
            for name in SPLITS:
                prefix = f"{uri}/Split-{name}/{write_split.DEFAULT_TF_RECORD_FILE_NAME}"
                _ = outputs[name] | f"Write[{name}]" >> beam.io.WriteToTFRecord(prefix, file_name_suffix=".gz")
            _ = outputs[QUARANTINE] | "WriteQuarantine" >> beam.io.WriteToText(
                f"{uri}/{QUARANTINE}/quarantine", file_name_suffix=".jsonl", skip_if_empty=True
            )
            # Counted behind the reader, so that a row that gets lost between them is noticed.
            tags = [
                outputs[name] | f"Tag[{name}]" >> beam.Map(lambda _, name=name: name) for name in (*SPLITS, QUARANTINE)
            ]
            counts = tags | beam.Flatten() | beam.combiners.Count.PerElement() | "CountsToJson" >> beam.Map(json.dumps)
            _ = (
                (outputs[REPORT], counts)
                | "Facts" >> beam.Flatten()
                | "WriteFacts" >> beam.io.WriteToText(f"{facts}/fact")
            )
        lines = list(_read_json_lines(f"{facts}/*"))
        result: dict[str, Any] = dict(line for line in lines if isinstance(line, list))
        result[REPORT] = [line for line in lines if isinstance(line, dict)]
        fileio.rmtree(facts)
        return result


def _check_bad_records(report: Mapping[str, Any], data_config: Mapping[str, Any], uri: str) -> None:
    limit = data_config["max_bad_fraction"]
    if not reports.is_above_limit(report, limit):
        return
    pattern = f"{uri}/{QUARANTINE}/*"
    bad = _read_json_lines(pattern)
    first = heapq.nsmallest(_SHOWN_BAD_RECORDS, bad, key=lambda record: (record["file"], record["record"]))
    copy = ""
    if folder := data_config.get("quarantine_dir"):
        # TFX deletes the outputs of a failed node, and the quarantine with them.
        copy = f"{folder.rstrip('/')}/quarantine-{combine_hashes(report['files'])[:12]}.jsonl"
        fileio.makedirs(folder)
        with fileio.open(copy, "wb") as target:
            for path in sorted(fileio.glob(pattern)):
                with fileio.open(path, "rb") as source:
                    while data := source.read(_COPY_BYTES):
                        target.write(data)
    section = data_config.get("section", "data")
    raise UserError(reports.bad_records_text(report, first, limit, copy, section))


def _set_properties(examples: types.Artifact, report: Mapping[str, Any], data_path: str) -> None:
    examples.split_names = artifact_utils.encode_split_names(list(SPLITS))
    examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)
    examples_utils.set_file_format(examples, write_split.to_file_format_str(example_gen_pb2.FORMAT_TFRECORDS_GZIP))
    for name in ("rows_read", "rows_kept", "rows_quarantined"):
        examples.set_int_custom_property(name, report[name])
    examples.set_string_custom_property("rows_by_split", json.dumps(report["rows_by_split"]))
    if report["rows_left_out"]:
        examples.set_int_custom_property("rows_left_out", report["rows_left_out"])
    if dropped := report["columns_dropped"]:
        _set_text(examples, "columns_dropped", ", ".join(dropped)[:_SHOWN_CHARACTERS])
    examples.set_string_custom_property("data_path", data_path)
    examples.set_string_custom_property("data_sha256", combine_hashes(report["files"]))


def _set_text(artifact: types.Artifact, name: str, text: str) -> None:
    """Sets a property to names of strangers, in which half a surrogate pair may stand."""
    artifact.set_string_custom_property(name, text.encode("utf-8", "backslashreplace").decode())


def _read_json_lines(pattern: str) -> Iterator[Any]:
    for path in sorted(fileio.glob(pattern)):
        with fileio.open(path, "r") as stream:
            for line in stream:
                yield json.loads(line)
