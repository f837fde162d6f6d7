import json
import math

import pytest

from components.provenance import describe_code, describe_hardware
from components.trainer.record import RECORD_NAME, get_scalars, make_record, write_record
from components.trainer.state import TrainState


@pytest.fixture
def record():
    state = TrainState(step=6, eval_loss_before=4.0, best_loss=3.0, best_step=4, tokens_seen=90, positions_seen=120)
    state.seconds = 2.0
    return make_record(state, num_steps=8, steps_per_epoch=4, method={"name": "lora", "rank": 8}, seed=3)


def test_numbers_by_eye(record):
    expected = {"steps": 6, "planned_steps": 8, "epochs": 1.5, "padding_share": 0.25, "tokens_per_second": 45.0}
    assert expected.items() <= record.items()
    assert (record["eval_loss_before"], record["eval_loss_after"], record["best_step"]) == (4.0, 3.0, 4)
    assert record["versions"]["keras"] and record["device"]


def test_code_and_machine_are_those_of_the_process_that_trains(record):
    """They become properties of the model, from the record, whatever machine has read it."""
    expected = describe_code() | {"hardware": describe_hardware()}
    assert expected.items() <= get_scalars(record).items() and all(expected.values())


def test_written_whole_and_read_back(record, tmp_path):
    path = write_record(record, tmp_path / "model")
    assert path.name == RECORD_NAME
    assert json.loads(path.read_text()) == record
    with pytest.raises(ValueError):
        write_record(record | {"eval_loss_after": math.nan}, tmp_path / "model")
    assert json.loads(path.read_text()) == record
    assert [p.name for p in path.parent.iterdir()] == [RECORD_NAME]


def test_scalars_are_what_metadata_can_hold(record):
    scalars = get_scalars(record)
    assert scalars["method"] == "lora"
    assert scalars["stopped_early"] == 0
    assert {type(value) for value in scalars.values()} <= {int, float, str}
    assert not {"history", "versions", "resumed_from_step"} & set(scalars)
