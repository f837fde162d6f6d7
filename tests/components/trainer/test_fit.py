import math

import numpy as np
import pytest
from keras import ops

from components.errors import UserError
from components.trainer.checkpoint import Checkpoints
from components.trainer.fine_tuner import FineTuner
from components.trainer.fit import count_steps, train


class CrashError(Exception):
    pass


class CrashAfter:
    """A listener that fails like a machine: in the middle, after the given step."""

    def __init__(self, step):
        self.step, self.closed = step, False

    def on_step(self, state, loss, learning_rate):
        if state.step == self.step:
            raise CrashError

    def on_evaluation(self, state):
        pass

    def close(self):
        self.closed = True


def run(model, datasets, section, num_steps, **kwargs):
    every = {key: section[key] for key in ("eval_every_steps", "checkpoint_every_steps")}
    return train(model, *datasets, num_steps=num_steps, **(every | kwargs))


def values(model):
    return [ops.convert_to_numpy(v) for v in [*model.variables, *model.optimizer.variables]]


# The checkpoint that is resumed from is of step 3: after an evaluation, or before the first one.
@pytest.mark.parametrize(("accumulation_steps", "eval_every_steps"), [(1, 2), (2, 2), (1, 4)])
def test_interrupted_is_uninterrupted_bit_for_bit(
    make_toy_model, make_datasets, train_section, tmp_path, accumulation_steps, eval_every_steps
):
    changes = {"gradient_accumulation_steps": accumulation_steps, "eval_every_steps": eval_every_steps}
    section = train_section | changes | {"schedule": "cosine"}
    datasets = make_datasets(accumulation_steps)
    num_steps = datasets[0].steps_per_epoch + 2  # into the second epoch
    whole = make_toy_model(section, num_steps)
    expected = run(whole, datasets, section, num_steps)

    crash = CrashAfter(5)
    interrupted = make_toy_model(section, num_steps)
    with pytest.raises(CrashError):
        run(interrupted, datasets, section, num_steps, checkpoints=Checkpoints(tmp_path, "f" * 64), listeners=[crash])
    assert crash.closed

    resumed = make_toy_model(section, num_steps)
    state = run(resumed, datasets, section, num_steps, checkpoints=Checkpoints(tmp_path, "f" * 64))

    assert state.resumed_from_step == 3
    for mine, theirs in zip(values(resumed), values(whole), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for key in ("step", "best_loss", "best_step", "eval_loss_before", "tokens_seen", "target_tokens_seen"):
        assert getattr(state, key) == getattr(expected, key), key
    losses = [[(row["step"], row["loss"], row["eval_loss"]) for row in s.history] for s in (state, expected)]
    assert losses[0] == losses[1]


def test_the_same_run_twice_gives_the_same_loss_and_learns(make_toy_model, make_datasets, train_section):
    states = []
    section = train_section | {"learning_rate": 0.1}
    for _ in range(2):
        states.append(run(make_toy_model(section, 12), make_datasets(), section, 12))
    assert states[0].best_loss == states[1].best_loss < states[0].eval_loss_before - 0.5
    assert [row["step"] for row in states[0].history] == [2, 4, 6, 8, 10, 12]


def test_early_stopping_restores_the_best_weights(make_toy_model, make_datasets, train_section, monkeypatch, tmp_path):
    model = make_toy_model(train_section, 20)
    losses = iter([5.0, 4.0, 3.0, 3.5, 3.2, 1.0])
    at_best = []

    def fake_evaluation(self, dataset):
        loss = next(losses)
        if loss == 3.0:
            at_best.extend(ops.convert_to_numpy(v) for v in self.trainable_variables)
        return loss

    monkeypatch.setattr(FineTuner, "evaluate_tokens", fake_evaluation)
    checkpoints = Checkpoints(tmp_path, "e" * 64)
    state = run(model, make_datasets(), train_section, 20, patience=2, checkpoints=checkpoints)
    assert (state.step, state.best_step, state.best_loss, state.stopped_early) == (8, 4, 3.0, True)
    for variable, best in zip(model.trainable_variables, at_best, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), best)

    # What fails after training (an export) is repeated without training again.
    again = make_toy_model(train_section, 20)
    state = run(again, make_datasets(), train_section, 20, patience=2, checkpoints=checkpoints)
    assert (state.step, state.resumed_from_step, state.best_loss) == (8, 8, 3.0)
    for variable, best in zip(again.trainable_variables, at_best, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), best)


def test_a_loss_that_is_not_finite_ends_the_run(make_toy_model, make_datasets, train_section):
    model = make_toy_model(train_section, 4)
    model.trainable_variables[0].assign(ops.full_like(model.trainable_variables[0], math.nan))
    with pytest.raises(UserError, match=r"must be finite\. Received: nan"):
        run(model, make_datasets(), train_section, 4)


def test_steps_are_epochs_but_at_most_max_steps(make_datasets):
    data, _ = make_datasets()
    assert count_steps(data, 3, None) == 3 * data.steps_per_epoch
    assert count_steps(data, 3, 4) == 4
