import logging

import numpy as np
import pytest
from keras import ops

from components.trainer.checkpoint import Checkpoints, make_fingerprint
from components.trainer.state import TrainState


@pytest.fixture
def model(make_toy_model, train_section):
    return make_toy_model(train_section, 10)


def save(model, checkpoints, step):
    for variable in model.trainable_variables:
        variable.assign(ops.full_like(variable, step))
    checkpoints.save(model, TrainState(step=step, best_weights=[np.ones(v.shape) for v in model.trainable_variables]))


def test_only_what_changes_is_saved(model, tmp_path):
    checkpoints = Checkpoints(tmp_path, "a" * 64)
    save(model, checkpoints, 1)
    (path,) = checkpoints.directory.iterdir()
    num_trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    with np.load(path) as archive:
        stored = sum(archive[name].size for name in archive.files if name != "header")
        generators = [name for name in archive.files if name.startswith("generator/")]
    # trainable, two moments, best; the optimizer's count; the generator of the dropout layer
    assert 4 * num_trainable <= stored < 4 * num_trainable + 50
    assert generators


def test_the_newest_wins_old_ones_go_and_a_damaged_one_falls_back(model, tmp_path, caplog):
    checkpoints = Checkpoints(tmp_path, "a" * 64)
    for step in (1, 2, 3):
        save(model, checkpoints, step)
    assert sorted(p.name for p in checkpoints.directory.iterdir()) == ["step_00000002.npz", "step_00000003.npz"]
    assert checkpoints.restore(model).step == 3

    newest = checkpoints.directory / "step_00000003.npz"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    newest.write_bytes(content)
    with caplog.at_level(logging.WARNING, logger="absl"):
        state = checkpoints.restore(model)
    assert (state.step, state.resumed_from_step) == (2, 2)
    assert "step_00000003.npz is damaged" in caplog.text
    assert float(ops.mean(model.trainable_variables[0])) == 2.0
    newest.write_bytes(content[: len(content) // 3])
    assert checkpoints.restore(model).step == 2


def test_a_write_that_was_cut_off_is_not_seen(model, tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, "a" * 64)
    save(model, checkpoints, 1)

    def cut_off(stream, **arrays):
        stream.write(b"PK")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", cut_off)
    with pytest.raises(KeyboardInterrupt):
        save(model, checkpoints, 2)
    assert checkpoints.restore(model).step == 1


def test_a_checkpoint_of_another_training_is_not_used(model, tmp_path):
    ours, theirs = Checkpoints(tmp_path, "a" * 64), Checkpoints(tmp_path, "b" * 64)
    save(model, theirs, 5)
    assert ours.restore(model) is None
    ours.directory.mkdir()
    (theirs.directory / "step_00000005.npz").rename(ours.directory / "step_00000005.npz")
    assert ours.restore(model) is None
    ours.delete()
    assert not ours.directory.exists()


def test_the_fingerprint_tells_configurations_apart():
    base = {"train": {"seed": 1, "batch_size": 2}, "data": ["x"]}
    assert make_fingerprint(base) == make_fingerprint({"data": ["x"], "train": {"batch_size": 2, "seed": 1}})
    assert make_fingerprint(base) != make_fingerprint(base | {"data": ["y"]})
