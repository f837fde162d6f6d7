from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from components.splits import ReadSplit, copy_split, read_json, write_json


@pytest.mark.parametrize("num_examples", [0, 1, 500])
def test_a_split_of_several_files_is_read_whole(write_artifact, num_examples):
    artifact = write_artifact({"train": [{"token_ids": [i]} for i in range(num_examples)], "eval": []})
    folder = Path(artifact.uri) / "Split-train"
    (folder / "more.gz").write_bytes((folder / "examples.gz").read_bytes())
    with beam.Pipeline() as pipeline:
        count = pipeline | ReadSplit(artifact, "train") | beam.combiners.Count.Globally()
        assert_that(count, equal_to([2 * num_examples]))


def test_a_split_without_files_is_empty(write_artifact):
    artifact = write_artifact({"train": []})
    (Path(artifact.uri) / "Split-train" / "examples.gz").unlink()
    with beam.Pipeline() as pipeline:
        assert_that(pipeline | ReadSplit(artifact, "train"), equal_to([]))


def test_copying_and_json(write_artifact, empty_artifact, read_artifact):
    source, target = write_artifact({"eval": [{"token_ids": [1, 2]}]}), empty_artifact("copy")
    target.split_names = source.split_names
    copy_split(source, "eval", target)
    assert read_artifact(target, "eval") == [{"token_ids": [1, 2]}]
    write_json(f"{target.uri}/figures.json", {"a": 1})
    assert read_json(f"{target.uri}/figures.json") == {"a": 1}
