import logging

import numpy as np
import pytest
from keras import ops

from components.errors import UserError
from components.trainer.checkpoint import Checkpoints, make_fingerprint, remove_checkpoints
from components.trainer.state import TrainState


@pytest.fixture
def engine(make_toy_engine, train_section):
    return make_toy_engine(train_section, 10)


def save(engine, checkpoints, step):
    variables = engine.tuner.trainable_variables
    for variable in variables:
        variable.assign(ops.full_like(variable, step))
    checkpoints.save(engine, TrainState(step=step, best_weights=[np.ones(v.shape) for v in variables]))


def test_only_what_changes_is_saved(engine, tmp_path):
    checkpoints = Checkpoints(tmp_path, "a" * 64)
    save(engine, checkpoints, 1)
    (path,) = checkpoints.directory.iterdir()
    num_trainable = sum(int(np.prod(v.shape)) for v in engine.tuner.trainable_variables)
    with np.load(path) as archive:
        stored = sum(archive[name].size for name in archive.files if name != "header")
        generators = [name for name in archive.files if name.startswith("generator/")]
    # trainable, two moments, best; the optimizer's count; the generator of the dropout layer
    assert 4 * num_trainable <= stored < 4 * num_trainable + 50
    assert generators


def test_the_newest_wins_old_ones_go_and_a_damaged_one_falls_back(engine, tmp_path, caplog):
    checkpoints = Checkpoints(tmp_path, "a" * 64)
    for step in (1, 2, 3):
        save(engine, checkpoints, step)
    assert sorted(p.name for p in checkpoints.directory.iterdir()) == ["step_00000002.npz", "step_00000003.npz"]
    assert checkpoints.restore(engine).step == 3

    newest = checkpoints.directory / "step_00000003.npz"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    newest.write_bytes(content)
    with caplog.at_level(logging.WARNING, logger="absl"):
        state = checkpoints.restore(engine)
    assert (state.step, state.resumed_from_step) == (2, 2)
    assert "step_00000003.npz is damaged" in caplog.text
    assert float(ops.mean(engine.tuner.trainable_variables[0])) == 2.0
    newest.write_bytes(content[: len(content) // 3])
    assert checkpoints.restore(engine).step == 2
    # What is damaged is none of those that are kept.
    save(engine, checkpoints, 1)
    assert sorted(p.name for p in checkpoints.directory.glob("*.npz")) == ["step_00000001.npz", "step_00000002.npz"]


def test_who_does_not_write_moves_nothing(engine, tmp_path):
    save(engine, Checkpoints(tmp_path, "a" * 64), 1)
    reader = Checkpoints(tmp_path, "a" * 64, writes=False)
    (path,) = reader.directory.iterdir()
    path.write_bytes(b"damaged")
    assert reader.restore(engine) is None
    assert list(reader.directory.iterdir()) == [path]


def test_one_run_at_a_time_has_the_checkpoints_of_a_training(engine, tmp_path):
    first, second, other = (Checkpoints(tmp_path, name * 64) for name in "aab")
    with first.claimed():
        with (
            pytest.raises(UserError, match=rf"one at a time may train.*{first.directory}\. Wait until it has ended"),
            second.claimed(),
        ):
            pass
        with other.claimed(), Checkpoints(tmp_path, "a" * 64, writes=False).claimed():
            save(engine, first, 1)
        remove_checkpoints(str(first.directory))
        assert first.restore(engine).step == 1
    with second.claimed():
        assert second.restore(engine).step == 1
    remove_checkpoints(str(first.directory))
    remove_checkpoints(str(first.directory))
    assert not first.directory.exists()


def test_a_write_that_was_cut_off_is_not_seen(engine, tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, "a" * 64)
    save(engine, checkpoints, 1)

    def cut_off(stream, **arrays):
        stream.write(b"PK")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", cut_off)
    with pytest.raises(KeyboardInterrupt):
        save(engine, checkpoints, 2)
    assert checkpoints.restore(engine).step == 1


def test_a_checkpoint_of_another_training_is_not_used(engine, tmp_path):
    ours, theirs = Checkpoints(tmp_path, "a" * 64), Checkpoints(tmp_path, "b" * 64)
    save(engine, theirs, 5)
    assert ours.restore(engine) is None
    ours.directory.mkdir()
    (theirs.directory / "step_00000005.npz").rename(ours.directory / "step_00000005.npz")
    assert ours.restore(engine) is None


def test_only_one_of_several_workers_writes(engine, tmp_path):
    writer, reader = Checkpoints(tmp_path, "a" * 64), Checkpoints(tmp_path, "a" * 64, writes=False)
    save(engine, reader, 1)
    assert not reader.directory.exists()
    save(engine, writer, 2)
    assert reader.restore(engine).step == 2


def test_the_fingerprint_tells_configurations_apart():
    base = {"train": {"seed": 1, "batch_size": 2}, "data": ["x"]}
    assert make_fingerprint(base) == make_fingerprint({"data": ["x"], "train": {"batch_size": 2, "seed": 1}})
    assert make_fingerprint(base) != make_fingerprint(base | {"data": ["y"]})
