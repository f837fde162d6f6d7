"""The driver as Vertex AI calls it: JSON in, JSON out."""

import json

import pytest

from components.content import hash_file
from components.errors import UserError
from components.example_gen import vertex_driver
from components.example_gen.component import InstructionExampleGen
from components.example_gen.files import make_fingerprint


@pytest.fixture
def drive(tmp_path, data_config):
    """`drive(path) -> the parameter values that the driver answers`."""

    def call(path):
        component = InstructionExampleGen(str(path), data_config())
        properties = {key: value for key, value in component.exec_properties.items() if value is not None}
        kinds = {key: "NUMBER_INTEGER" if isinstance(value, int) else "STRING" for key, value in properties.items()}
        output = tmp_path / "out" / "answer.json"
        artifact = {
            "name": "examples",
            "type": {"instanceSchema": "title: tfx.Examples\ntype: object\n"},
            "uri": str(tmp_path / "examples"),
        }
        given = {
            "inputs": {"parameterValues": properties},
            "outputs": {"artifacts": {"examples": {"artifacts": [artifact]}}, "outputFile": str(output)},
        }
        spec = {"parameters": {key: {"parameterType": kind} for key, kind in kinds.items()}}
        vertex_driver.main(
            [
                *("--json_serialized_invocation_args", json.dumps(given)),
                *("--json_serialized_inputs_spec_args", json.dumps(spec)),
                *("--runner", "DirectRunner"),  # options of Beam follow
            ]
        )
        return json.loads(output.read_text())["parameterValues"]

    return call


def test_the_answer_knows_the_data_by_their_content(drive, write, tmp_path):
    path = write("2026-11-30/a.jsonl", "{}")
    first = drive(f"{tmp_path}/{{YYYY}}-{{MM}}-{{DD}}/a.jsonl")
    assert first["span"] == 20787  # days since 1970
    assert json.loads(first["input_config"])["splits"][0]["pattern"] == str(path)
    assert first["input_fingerprint"] == make_fingerprint(hash_file(str(path)), ["a.jsonl"])
    write("2026-11-30/a.jsonl", "[]")  # as long as before, perhaps in the same second
    assert drive(path)["input_fingerprint"] != first["input_fingerprint"]
    with pytest.raises(UserError, match="no such file"):
        drive(tmp_path / "none.jsonl")
