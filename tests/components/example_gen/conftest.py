"""Runs one file through the component's own code: without Beam where that is enough, else through the executor."""

import gzip
import json
from collections import defaultdict
from pathlib import Path

import pytest
from tensorflow.core.example import example_pb2

from components.example_gen import report as reports
from components.example_gen.files import DataFile, detect_format
from components.example_gen.ingest import REPORT, IngestFile
from components.example_gen.records import Columns

SHARED_DATA = Path(__file__).parents[3].parent / "shared/data"
SHARES = {"train": 0.8, "eval": 0.1, "test": 0.1}
DEFAULT_COLUMNS = {"instruction": "instruction", "input": "input", "output": "output"}
BEAM_ARGS = ["--runner=DirectRunner", "--prism_location=/nonexistent", "--sdk_container_image=none"]


def decode(serialized: bytes) -> dict[str, str]:
    features = example_pb2.Example.FromString(serialized).features.feature
    assert all(len(feature.bytes_list.value) == 1 for feature in features.values())
    return {name: feature.bytes_list.value[0].decode() for name, feature in features.items()}


class Outcome:
    """What became of a file: `examples` by split, `quarantine` lines, `report`."""

    def __init__(self, path, data_format="auto", columns=None, slices=(), carried=(), shares=SHARES):
        self.path = str(path)
        self.columns = Columns(**(columns or DEFAULT_COLUMNS), slices=tuple(slices), carried=tuple(carried))
        file = DataFile(str(path), detect_format(str(path)) if data_format == "auto" else data_format)
        outputs = defaultdict(list)
        for output in IngestFile(self.columns, shares).process(file):
            outputs[output.tag].append(output.value)
        self.file_reports = [json.loads(line) for line in outputs.pop(REPORT)]
        self.quarantine = [json.loads(line) for line in outputs["quarantine"]]
        self.examples = {name: [decode(e) for e in outputs[name]] for name in SHARES}
        self.written = {name: len(values) for name, values in outputs.items()}

    @property
    def all_examples(self):
        return [example for split in self.examples.values() for example in split]

    @property
    def reasons(self):
        return [(line["line"], line["record"], line["reason"]) for line in self.quarantine]

    def check(self, max_bad_fraction=0.01):
        """Goes on as the executor does; returns the report."""
        path = self.path
        reports.check_files(self.file_reports)
        reports.check_columns(self.file_reports, self.columns, path)
        report = reports.make_report(self.file_reports, self.written)
        if reports.is_above_limit(report, max_bad_fraction):
            raise reports.UserError(reports.bad_records_text(report, self.quarantine[:5], max_bad_fraction, ""))
        if not report["rows_read"]:
            reports.check_rows(report, SHARES, path)
        return report


@pytest.fixture
def ingest():
    """`ingest(path, data_format, columns, slices) -> Outcome`."""
    return Outcome


@pytest.fixture
def write(tmp_path):
    """`write(name, text or bytes) -> path`; a name that ends in `.gz` is compressed."""

    def write_file(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write_file


@pytest.fixture
def shared_data():
    """The folder of real data sets, which is not part of the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no ../shared/data beside the repository")
    return SHARED_DATA


@pytest.fixture
def data_config():
    """`data_config(**changes)`: the `data` section of a run as a dict."""

    def make(**changes):
        defaults = {"format": "auto", "columns": DEFAULT_COLUMNS, "slice_columns": [], "splits": SHARES}
        return {**defaults, "max_bad_fraction": 0.01, **changes}

    return make


@pytest.fixture
def execute(tmp_path):
    """`execute(path, data_config, meanwhile) -> Examples artifact`, by the driver, `meanwhile()`, the executor and Beam."""
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.types import standard_artifacts

    from components.example_gen.component import InstructionExampleGen
    from components.example_gen.driver import resolve_exec_properties
    from components.example_gen.executor import Executor

    def run(path, config, meanwhile=lambda: None):
        component = InstructionExampleGen(str(path), config)
        examples = standard_artifacts.Examples()
        examples.uri = str(tmp_path / "examples")
        context = BaseBeamExecutor.Context(beam_pipeline_args=list(BEAM_ARGS))
        properties = resolve_exec_properties(component.exec_properties)
        meanwhile()
        Executor(context).Do({}, {"examples": [examples]}, properties)
        return examples

    return run
