"""The training loop: steps, evaluations, early stopping, checkpoints."""

import time
from collections.abc import Sequence
from typing import Any, Protocol

import keras
import numpy as np
from absl import logging

from components.errors import UserError
from components.trainer.checkpoint import Checkpoints
from components.trainer.data import TokenDataset
from components.trainer.fine_tuner import FineTuner
from components.trainer.state import TrainState


class Listener(Protocol):
    """Is told how the training goes; changes nothing."""

    def on_step(self, state: TrainState, loss: float, learning_rate: float) -> None:
        """After a step. `loss`: mean per target token of the step's examples, before the update."""

    def on_evaluation(self, state: TrainState) -> None:
        """After an evaluation, also the one before the first step."""

    def close(self) -> None:
        """At the end, also after an error."""


def count_steps(dataset: TokenDataset, epochs: int, max_steps: int | None) -> int:
    """Steps of a training: whole epochs, but at most `max_steps`."""
    return min(epochs * dataset.steps_per_epoch, max_steps or 2**62)


def train(
    model: FineTuner,
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
    """Trains `model` and leaves it with the weights of its best evaluation.

    Evaluates before the first step, every `eval_every_steps` and at the end. The best of the evaluations after a step
    wins, also without early stopping. If `checkpoints` holds one of this training, it goes on from there, and ends as if
    it had not been interrupted, bit for bit.

    Args:
        model: compiled; its trainable variables are trained.
        train_data: made with `normalize=True`.
        eval_data: made with `normalize=False`.
        num_steps: updates of the weights.
        eval_every_steps: steps between two evaluations.
        checkpoint_every_steps: steps between two checkpoints; there is also one at the end.
        patience: evaluations without improvement after which training ends; None: never.
        checkpoints: where to resume from and to save; None: nowhere.
        listeners: told of every step and evaluation.

    Raises:
        UserError: the loss is not finite.
    """
    model.optimizer.build(model.trainable_variables)
    try:
        state = checkpoints.restore(model) if checkpoints else None
        if state is None:
            state = TrainState()
            state.eval_loss_before = state.eval_loss = model.evaluate_tokens(eval_data)
        else:
            logging.info("Resumed from the checkpoint of step %d.", state.step)
        for listener in listeners:
            listener.on_evaluation(state)
        rates = _learning_rates(model, num_steps)
        started = time.monotonic()
        for batch in train_data.iterate(state.step, state.step if state.stopped_early else num_steps):
            loss = model.train_on_step(batch)
            if not np.isfinite(loss):
                raise UserError(
                    f"the training loss must be finite. Received: {loss} at step {state.step + 1}. Lower "
                    "train.learning_rate, set train.clip_norm, or set model.dtype to mixed_bfloat16 or float32."
                )
            state.step += 1
            state.tokens_seen += batch.num_tokens
            state.target_tokens_seen += batch.num_target_tokens
            state.positions_seen += batch.token_ids.size
            state.seconds += time.monotonic() - started
            state.recent_losses.append(loss)
            for listener in listeners:
                listener.on_step(state, loss, float(rates[state.step - 1]))
            is_last = state.step == num_steps
            if is_last or state.step % eval_every_steps == 0:
                _evaluate(model, eval_data, state, patience)
                for listener in listeners:
                    listener.on_evaluation(state)
            if checkpoints and (is_last or state.stopped_early or state.step % checkpoint_every_steps == 0):
                checkpoints.save(model, state)
            if state.stopped_early:
                break
            started = time.monotonic()
        _restore_best(model, state)
        return state
    finally:
        for listener in listeners:
            listener.close()


def _evaluate(model: FineTuner, eval_data: TokenDataset, state: TrainState, patience: int | None) -> None:
    state.eval_loss = model.evaluate_tokens(eval_data)
    loss = float(np.mean(state.recent_losses))
    state.recent_losses = []
    state.history.append(
        {"step": state.step, "eval_loss": state.eval_loss, "loss": loss, "seconds": round(state.seconds, 3)}
    )
    logging.info("Step %d: loss %.4f, eval_loss %.4f.", state.step, loss, state.eval_loss)
    if state.eval_loss < state.best_loss:
        state.best_loss, state.best_step = state.eval_loss, state.step
        state.best_weights = [np.array(keras.ops.convert_to_numpy(v)) for v in model.trainable_variables]
        state.evaluations_without_improvement = 0
    else:
        state.evaluations_without_improvement += 1
        state.stopped_early = patience is not None and state.evaluations_without_improvement >= patience


def _restore_best(model: FineTuner, state: TrainState) -> None:
    if state.best_step != state.step and state.best_weights:
        logging.info("Restored the weights of step %d (eval_loss %.4f).", state.best_step, state.best_loss)
        for variable, value in zip(model.trainable_variables, state.best_weights, strict=True):
            variable.assign(value)
    state.eval_loss = state.best_loss
    if state.best_loss > state.eval_loss_before:
        logging.warning(
            "Tuning made the evaluation loss worse: %.4f before, %.4f after.", state.eval_loss_before, state.best_loss
        )


def _learning_rates(model: FineTuner, num_steps: int) -> np.ndarray:
    """Rate of every step, for reports: one call instead of one a step."""
    optimizer: Any = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # mixed_float16 wraps it
    calls = np.arange(num_steps) * (optimizer.gradient_accumulation_steps or 1)
    return keras.ops.convert_to_numpy(optimizer._learning_rate(calls))
