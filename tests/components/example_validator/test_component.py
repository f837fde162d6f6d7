"""Anomalies are errors that carry their text."""

import pytest
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tfx.components.statistics_gen import stats_artifact_utils  # noqa: F401  Registers what reading statistics needs.
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import io_utils, json_utils

from components.errors import UserError
from components.example_validator.component import Executor


@pytest.fixture
def validate(tmp_path):
    import tensorflow_data_validation as tfdv

    def validate(values):
        statistics, schema, anomalies = (
            standard_artifacts.ExampleStatistics(),
            standard_artifacts.Schema(),
            standard_artifacts.ExampleAnomalies(),
        )
        statistics.uri, schema.uri, anomalies.uri = (str(tmp_path / n) for n in ("statistics", "schema", "anomalies"))
        statistics.split_names = artifact_utils.encode_split_names(["train", "eval"])
        for split in ("train", "eval"):
            folder = artifact_utils.get_split_uri([statistics], split)
            io_utils.fileio.makedirs(folder)
            import pandas

            frame = pandas.DataFrame({"category": values if split == "eval" else ["a", "b"]})
            proto = tfdv.generate_statistics_from_dataframe(frame)
            assert isinstance(proto, statistics_pb2.DatasetFeatureStatisticsList)
            io_utils.write_bytes_file(f"{folder}/FeatureStats.pb", proto.SerializeToString())
        domain = schema_pb2.Schema()
        feature = domain.feature.add(name="category", type=schema_pb2.BYTES)
        feature.presence.min_fraction = 1
        feature.string_domain.value.extend(["a", "b"])
        io_utils.write_pbtxt_file(f"{schema.uri}/schema.pbtxt", domain)
        Executor().Do(
            {"statistics": [statistics], "schema": [schema]},
            {"anomalies": [anomalies]},
            {"exclude_splits": json_utils.dumps([])},
        )

    return validate


def test_data_that_matches_passes(validate):
    validate(["a", "b", "a"])


def test_anomalies_stop_the_run_with_their_text(validate):
    with pytest.raises(UserError) as caught:
        validate(["a", "strange"])
    message = str(caught.value)
    assert "eval: category:" in message
    assert "strange" in message
    assert "train:" not in message
    assert "data.schema_path" in message
