import dataclasses
import math

import numpy as np
import pytest
from keras import ops

from components.errors import UserError
from components.trainer import fit
from components.trainer.checkpoint import Checkpoints
from components.trainer.fit import count_steps, evaluate_tokens, train


class CrashError(Exception):
    pass


class CrashAfter:
    """A listener that fails like a machine: in the middle, after the given step."""

    def __init__(self, step):
        self.step, self.closed = step, False

    def on_step(self, state, result, learning_rate):
        if state.step == self.step:
            raise CrashError

    def on_evaluation(self, state):
        pass

    def close(self):
        self.closed = True


def run(engine, datasets, section, num_steps, **kwargs):
    every = {key: section[key] for key in ("eval_every_steps", "checkpoint_every_steps")}
    return train(engine, *datasets, num_steps=num_steps, **(every | kwargs))


def values(engine):
    return [ops.convert_to_numpy(v) for v in [*engine.tuner.variables, *engine.optimizer.variables]]


# The checkpoint that is resumed from is of step 3: after an evaluation, or before the first one.
@pytest.mark.parametrize(("accumulation_steps", "eval_every_steps"), [(1, 2), (2, 2), (1, 4)])
def test_interrupted_is_uninterrupted_bit_for_bit(
    make_toy_engine, make_datasets, train_section, tmp_path, accumulation_steps, eval_every_steps
):
    changes = {"gradient_accumulation_steps": accumulation_steps, "eval_every_steps": eval_every_steps}
    section = train_section | changes | {"schedule": "cosine"}
    datasets = make_datasets(accumulation_steps)
    num_steps = datasets[0].steps_per_epoch + 2  # into the second epoch
    whole = make_toy_engine(section, num_steps)
    expected = run(whole, datasets, section, num_steps)

    crash = CrashAfter(5)
    interrupted = make_toy_engine(section, num_steps)
    with pytest.raises(CrashError):
        run(interrupted, datasets, section, num_steps, checkpoints=Checkpoints(tmp_path, "f" * 64), listeners=[crash])
    assert crash.closed

    resumed = make_toy_engine(section, num_steps)
    state = run(resumed, datasets, section, num_steps, checkpoints=Checkpoints(tmp_path, "f" * 64))

    assert state.resumed_from_step == 3
    for mine, theirs in zip(values(resumed), values(whole), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for key in ("step", "best_loss", "best_step", "eval_loss_before", "tokens_seen", "target_tokens_seen"):
        assert getattr(state, key) == getattr(expected, key), key
    losses = [[(row["step"], row["loss"], row["eval_loss"]) for row in s.history] for s in (state, expected)]
    assert losses[0] == losses[1]


def test_the_same_run_twice_gives_the_same_loss_and_learns(make_toy_engine, make_datasets, train_section):
    states = []
    section = train_section | {"learning_rate": 0.1}
    for _ in range(2):
        states.append(run(make_toy_engine(section, 12), make_datasets(), section, 12))
    assert states[0].best_loss == states[1].best_loss < states[0].eval_loss_before - 0.5
    assert [row["step"] for row in states[0].history] == [2, 4, 6, 8, 10, 12]


def test_early_stopping_restores_the_best_weights(make_toy_engine, make_datasets, train_section, monkeypatch, tmp_path):
    engine = make_toy_engine(train_section, 20)
    losses = iter([5.0, 4.0, 3.0, 3.5, 3.2, 1.0])
    at_best = []

    def fake_evaluation(engine, dataset):
        loss = next(losses)
        if loss == 3.0:
            at_best.extend(ops.convert_to_numpy(v) for v in engine.tuner.trainable_variables)
        return loss

    monkeypatch.setattr(fit, "evaluate_tokens", fake_evaluation)
    checkpoints = Checkpoints(tmp_path, "e" * 64)
    state = run(engine, make_datasets(), train_section, 20, patience=2, checkpoints=checkpoints)
    assert (state.step, state.best_step, state.best_loss, state.stopped_early) == (8, 4, 3.0, True)
    for variable, best in zip(engine.tuner.trainable_variables, at_best, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), best)

    # What fails after training (an export) is repeated without training again.
    again = make_toy_engine(train_section, 20)
    state = run(again, make_datasets(), train_section, 20, patience=2, checkpoints=checkpoints)
    assert (state.step, state.resumed_from_step, state.best_loss) == (8, 8, 3.0)
    for variable, best in zip(again.tuner.trainable_variables, at_best, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), best)


def test_weights_that_are_not_finite_end_the_run(make_toy_engine, make_datasets, train_section):
    engine = make_toy_engine(train_section, 4)
    variable = engine.tuner.trainable_variables[0]
    variable.assign(ops.full_like(variable, math.nan))
    with pytest.raises(UserError, match=r"evaluation loss must be finite\. Received: nan"):
        run(engine, make_datasets(), train_section, 4)


def test_an_example_that_ends_the_run_is_named(make_toy_engine, make_datasets, train_section, tmp_path, write_examples):
    """Token 63 occurs in one example alone, and its embedding is no number."""
    from components.trainer.data import make_dataset

    settings = {"bucket_boundaries": [], "max_length": 8, "vocabulary_size": 64, "batch_size": 4}
    examples = [([i, i + 1, i + 2], [0, 1, 1]) for i in range(12)]
    examples[9] = ([1, 63, 2], [0, 1, 1])
    data = make_dataset([write_examples(examples, "odd")], normalize=True, **settings)
    _, eval_data = make_datasets()
    engine = make_toy_engine(train_section, 4)
    (embedding,) = [v for v in engine.tuner.non_trainable_weights if v.shape[0] == 64]
    embedding.assign(ops.slice_update(embedding.value, (63, 0), np.full((1, 16), math.nan, "float32")))
    checkpoints = Checkpoints(tmp_path, "a" * 64)
    section = train_section | {"eval_every_steps": 9, "checkpoint_every_steps": 1}
    with pytest.raises(
        UserError, match=r"at step 3: loss nan.* 1 of its 4 examples is not.*: odd-9\. The last"
    ) as raised:
        run(engine, (data, eval_data), section, 3, checkpoints=checkpoints)
    assert "train.learning_rate" in str(raised.value)
    assert checkpoints.restore(make_toy_engine(train_section, 4)).step == 2
    assert all(np.isfinite(v).all() for v in map(ops.convert_to_numpy, engine.tuner.trainable_variables))


def test_workers_that_would_resume_from_different_steps_are_refused(make_toy_engine, make_datasets, train_section):
    engine = make_toy_engine(train_section, 4)
    engine.is_same_everywhere = lambda number: False
    with pytest.raises(UserError, match="all workers must resume from the same checkpoint"):
        run(engine, make_datasets(), train_section, 4)


def test_steps_are_epochs_but_at_most_max_steps(make_datasets):
    data, _ = make_datasets()
    assert count_steps(data, 3, None) == 3 * data.steps_per_epoch
    assert count_steps(data, 3, 4) == 4


def test_more_micro_batches_for_long_examples_change_no_number(make_toy_engine, make_datasets, train_section):
    losses, parts = {}, {}
    for tokens in (None, 48):
        train_data, eval_data = (dataclasses.replace(data, micro_batch_tokens=tokens) for data in make_datasets())
        engine = make_toy_engine(train_section, 5, dropout=0.0)
        losses[tokens] = [evaluate_tokens(engine, eval_data)]
        steps = list(train_data.iterate(0, 5))
        losses[tokens] += [engine.train(step).loss for step in steps]
        losses[tokens] += [evaluate_tokens(engine, eval_data)]
        parts[tokens] = {step.token_ids.shape[-1]: len(step.token_ids) for step in [*steps, *eval_data.iterate()]}
    assert set(parts[None].values()) == {1}
    assert len(set(parts[48].values())) > 1
    assert losses[48] == pytest.approx(losses[None], rel=1e-5)
    assert losses[48][-1] < losses[48][0]
