import json
from pathlib import Path

import pytest
from google.protobuf import text_format

from data.sample import generate, tasks

FOLDER = Path(generate.__file__).parent


@pytest.fixture(scope="module")
def schema():
    schema_pb2 = pytest.importorskip("tensorflow_metadata.proto.v0.schema_pb2")
    return text_format.Parse((FOLDER / "schema.pbtxt").read_text(encoding="utf-8"), schema_pb2.Schema())


def test_schema_names_the_features_of_a_raw_example(schema) -> None:
    assert sorted(feature.name for feature in schema.feature) == [
        "category",
        "example_id",
        "input",
        "instruction",
        "output",
        "source",
    ]


def test_every_feature_is_one_text_that_is_always_there(schema) -> None:
    for feature in schema.feature:
        assert feature.type == 1, feature.name  # BYTES
        assert feature.presence.min_fraction == 1.0
        assert [dim.size for dim in feature.shape.dim] == [1]


def test_domain_lists_the_categories_of_the_sample(schema) -> None:
    (domain,) = schema.string_domain
    rows = [json.loads(line) for line in (FOLDER / "instructions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert list(domain.value) == sorted({row["category"] for row in rows}) == list(tasks.TASKS)
    (category,) = [feature for feature in schema.feature if feature.name == "category"]
    assert category.domain == domain.name
    assert category.distribution_constraints.min_domain_mass == 1.0


def test_tfdv_finds_no_anomaly_in_the_sample_and_one_in_an_unknown_category(schema) -> None:
    pytest.importorskip("tfx")  # before TFDV: it fills in a module that this TFDV misses
    tfdv = pytest.importorskip("tensorflow_data_validation")
    import pandas as pd

    rows = [json.loads(line) for line in (FOLDER / "instructions.jsonl").read_text(encoding="utf-8").splitlines()[:500]]
    frame = pd.DataFrame(rows).assign(source="sample", example_id=[f"{index:08x}" for index in range(len(rows))])
    assert not tfdv.validate_statistics(tfdv.generate_statistics_from_dataframe(frame, n_jobs=1), schema).anomaly_info
    frame.loc[3, "category"] = "no such category"
    anomalies = tfdv.validate_statistics(tfdv.generate_statistics_from_dataframe(frame, n_jobs=1), schema).anomaly_info
    assert list(anomalies) == ["category"]
