"""The training loop: steps, evaluations, early stopping, checkpoints."""

import time
from collections.abc import Sequence
from typing import Any, Protocol

import keras
import numpy as np
from absl import logging

from components.errors import UserError
from components.trainer.checkpoint import Checkpoints
from components.trainer.data import Step, TokenDataset
from components.trainer.engine import Engine, StepResult
from components.trainer.state import TrainState

_REMEDY = "Lower train.learning_rate, set train.clip_norm, or set model.dtype to mixed_bfloat16 or float32."
# Examples that a message names.
_MAX_NAMED = 8


class Listener(Protocol):
    """Is told how the training goes; changes nothing."""

    def on_step(self, state: TrainState, result: StepResult, learning_rate: float) -> None:
        """After a step."""

    def on_evaluation(self, state: TrainState) -> None:
        """After an evaluation, also the one before the first step."""

    def close(self) -> None:
        """At the end, also after an error."""


def count_steps(dataset: TokenDataset, epochs: int, max_steps: int | None) -> int:
    """Steps of a training: whole epochs, but at most `max_steps`."""
    return min(epochs * dataset.steps_per_epoch, max_steps or 2**62)


def train(
    engine: Engine,
    train_data: TokenDataset,
    eval_data: TokenDataset,
    *,
    num_steps: int,
    eval_every_steps: int,
    checkpoint_every_steps: int,
    patience: int | None = None,
    checkpoints: Checkpoints | None = None,
    listeners: Sequence[Listener] = (),
) -> TrainState:
    """Trains and leaves the model with the weights of its best evaluation.

    Evaluates before the first step, every `eval_every_steps` and at the end. The best of the evaluations after a step
    wins, also without early stopping. If `checkpoints` holds one of this training, it goes on from there, and ends as if
    it had not been interrupted, bit for bit on one device.

    Args:
        engine: the model's trainable variables are trained.
        train_data: made with `normalize=True` and the engine's number of shards.
        eval_data: made with `normalize=False` and as many shards.
        num_steps: updates of the weights.
        eval_every_steps: steps between two evaluations.
        checkpoint_every_steps: steps between two checkpoints; there is also one at the end.
        patience: evaluations without improvement after which training ends; None: never.
        checkpoints: where to resume from and to save; None: nowhere.
        listeners: told of every step and evaluation.

    Raises:
        UserError: the loss is not finite; the message names the step and the examples.
    """
    try:
        state = checkpoints.restore(engine) if checkpoints else None
        if not engine.is_same_everywhere(state.step if state else 0):
            raise UserError(
                "all workers must resume from the same checkpoint. Received: different ones. Give them one folder that they "
                "share for the checkpoints, or empty it."
            )
        if state is None:
            state = TrainState()
            state.eval_loss_before = state.eval_loss = evaluate_tokens(engine, eval_data)
        else:
            logging.info("Resumed from the checkpoint of step %d.", state.step)
        for listener in listeners:
            listener.on_evaluation(state)
        rates = _learning_rates(engine, num_steps)
        started = time.monotonic()
        for step in train_data.iterate(state.step, state.step if state.stopped_early else num_steps):
            result = engine.train(step)
            if not _is_finite(engine, result):
                raise UserError(_explain(engine, train_data, step, state.step, result))
            state.step += 1
            state.tokens_seen += step.num_tokens
            state.target_tokens_seen += step.num_target_tokens
            state.positions_seen += step.token_ids.size
            state.seconds += time.monotonic() - started
            state.recent_losses.append(result.loss)
            for listener in listeners:
                listener.on_step(state, result, float(rates[state.step - 1]))
            is_last = state.step == num_steps
            if is_last or state.step % eval_every_steps == 0:
                _evaluate(engine, eval_data, state, patience)
                for listener in listeners:
                    listener.on_evaluation(state)
            if checkpoints and (is_last or state.stopped_early or state.step % checkpoint_every_steps == 0):
                checkpoints.save(engine, state)
            if state.stopped_early:
                break
            started = time.monotonic()
        _restore_best(engine, state)
        return state
    finally:
        for listener in listeners:
            listener.close()


def evaluate_tokens(engine: Engine, dataset: TokenDataset) -> float:
    """Mean loss per target token over a whole split, in nats: sum of losses by sum of weights, not a mean of means.

    Args:
        engine: computes it.
        dataset: made with `normalize=False`.

    Raises:
        UserError: the loss is not finite.
    """
    loss = weight = 0.0
    for step in dataset.iterate():
        weight += float(step.sample_weight.sum(dtype="float64"))
        loss += engine.evaluate(step)
    if not np.isfinite(loss):
        raise UserError(f"the evaluation loss must be finite. Received: {loss}. {_REMEDY}")
    return loss / weight


def _is_finite(engine: Engine, result: StepResult) -> bool:
    # Loss scaling tries scales until the gradient is finite.
    scales = isinstance(engine.optimizer, keras.optimizers.LossScaleOptimizer)
    return bool(np.isfinite(result.loss) and (scales or np.isfinite(result.gradient_norm)))


def _explain(engine: Engine, dataset: TokenDataset, step: Step, number: int, result: StepResult) -> str:
    """Says which examples are to blame; the engine has left the weights finite, so that they can be asked one by one."""
    names = dataset.name_examples(number)
    rows = step.list_rows()
    bad = [row for row in rows if not np.isfinite(engine.evaluate(step.keep_row(row)))]
    if bad:
        whose = f"the loss of {len(bad)} of its {len(rows)} examples is not"
    else:
        bad, whose = list(rows), "each of its examples has a finite loss alone"
    listed = ", ".join(names[row] or f"row {row}" for row in bad[:_MAX_NAMED])
    more = f" and {len(bad) - _MAX_NAMED} more" if len(bad) > _MAX_NAMED else ""
    return (
        f"the training loss and its gradient must be finite. Received at step {number + 1}: loss {result.loss}, gradient norm "
        f"{result.gradient_norm}; {whose}. Examples (`example_id`): {listed}{more}. The last checkpoint is kept. {_REMEDY}"
    )


def _evaluate(engine: Engine, eval_data: TokenDataset, state: TrainState, patience: int | None) -> None:
    state.eval_loss = evaluate_tokens(engine, eval_data)
    loss = float(np.mean(state.recent_losses))
    state.recent_losses = []
    state.history.append(
        {"step": state.step, "eval_loss": state.eval_loss, "loss": loss, "seconds": round(state.seconds, 3)}
    )
    logging.info("Step %d: loss %.4f, eval_loss %.4f.", state.step, loss, state.eval_loss)
    if state.eval_loss < state.best_loss:
        state.best_loss, state.best_step = state.eval_loss, state.step
        variables = engine.tuner.trainable_variables
        state.best_weights = [np.array(keras.ops.convert_to_numpy(v)) for v in variables]
        state.evaluations_without_improvement = 0
    else:
        state.evaluations_without_improvement += 1
        state.stopped_early = patience is not None and state.evaluations_without_improvement >= patience


def _restore_best(engine: Engine, state: TrainState) -> None:
    if state.best_step != state.step and state.best_weights:
        logging.info("Restored the weights of step %d (eval_loss %.4f).", state.best_step, state.best_loss)
        for variable, value in zip(engine.tuner.trainable_variables, state.best_weights, strict=True):
            variable.assign(value)
    state.eval_loss = state.best_loss
    if state.best_loss > state.eval_loss_before:
        logging.warning(
            "Tuning made the evaluation loss worse: %.4f before, %.4f after.", state.eval_loss_before, state.best_loss
        )


def _learning_rates(engine: Engine, num_steps: int) -> np.ndarray:
    """Rate of every step, for reports: one call instead of one a step."""
    optimizer: Any = getattr(engine.optimizer, "inner_optimizer", engine.optimizer)  # loss scaling wraps it
    return keras.ops.convert_to_numpy(optimizer._learning_rate(np.arange(num_steps)))
