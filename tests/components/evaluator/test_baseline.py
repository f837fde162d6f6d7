"""Which model a candidate is compared with."""

import pytest
from tfx.types import standard_artifacts

from components.evaluator.baseline import LatestOtherBlessedModel


def model(artifact_id, folder):
    artifact = standard_artifacts.Model()
    artifact.uri = str(folder / str(artifact_id))
    artifact.id = artifact_id
    return artifact


def blessing(artifact_id, model_id, blessed=1):
    artifact = standard_artifacts.ModelBlessing()
    artifact.id = artifact_id
    artifact.set_int_custom_property("current_model_id", model_id)
    artifact.set_int_custom_property("blessed", blessed)
    return artifact


@pytest.mark.parametrize(
    ("candidate", "blessings", "baseline"),
    [
        (1, [], None),
        (1, [(10, 1, 1)], None),  # a repeated run: never itself
        (2, [(10, 1, 1)], 1),
        (3, [(10, 1, 1), (11, 2, 1)], 2),
        (3, [(11, 2, 1), (10, 1, 1)], 2),
        (3, [(10, 2, 1), (11, 1, 1)], 1),  # the one blessed last, whenever it was trained
        (3, [(10, 1, 1), (11, 2, 0)], 1),  # refused ones do not count
        (1, [(10, 1, 1), (11, 2, 1)], 2),  # back to an earlier configuration: against what is blessed now
        (3, [(10, 9, 1)], None),  # of another pipeline
        (3, [(10, 1, 1), (11, 4, 1)], 1),  # the files of model 4 are gone
    ],
)
def test_latest_other_blessed_model(tmp_path, candidate, blessings, baseline):
    for artifact_id in (1, 2, 3):
        (tmp_path / str(artifact_id)).mkdir()
    result = LatestOtherBlessedModel().resolve_artifacts(
        None,
        {
            "candidate": [model(candidate, tmp_path)],
            "model": [model(i, tmp_path) for i in (1, 2, 3, 4)],
            "model_blessing": [blessing(*b) for b in blessings],
        },
    )
    assert [m.id for m in result["model"]] == ([] if baseline is None else [baseline])
    assert len(result["model_blessing"]) == len(result["model"])
