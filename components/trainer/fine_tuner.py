"""A causal LM with the loss of fine-tuning, and its exact evaluation."""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from components.errors import UserError
from components.trainer.target_head import split_head, take_positions

if TYPE_CHECKING:
    import keras_hub

    from components.trainer.data import Step, TokenDataset


class FineTuner(keras.Model):
    """Shares layers and weights of a causal LM; takes token ids and weights instead of text.

    The CausalLM itself is not compiled: its `fit` wants text, and its loss is a mean over all positions. Here logits are
    computed at the positions of `Step.positions` alone, and the loss of a micro-batch is a *sum* over these of weight times
    negative log-likelihood in nats, in float32 under any dtype policy; what it is a mean of is decided by the weights (see
    `TokenDataset.normalize`).

    Inputs: `token_ids` and `padding_mask`, int32 (batch, sequence_length), and `positions`, int32 (K,). Output: logits
    (K, vocabulary_size).
    """

    def __init__(self, causal_lm: "keras_hub.models.CausalLM") -> None:
        states, project = split_head(causal_lm)
        positions = keras.Input((), dtype="int32", name="positions")
        logits = project(take_positions(states, positions))
        super().__init__(inputs={**causal_lm.input, "positions": positions}, outputs=logits)
        # Keras ignores a functional model's `dtype`, but `compile` looks here for mixed_float16 to scale the loss.
        self.dtype_policy = getattr(causal_lm, "backbone", causal_lm).dtype_policy

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Sum of weighted negative log-likelihoods.

        Args:
            x: unused.
            y: (K,) int32, the token that follows each position.
            y_pred: (K, vocabulary_size) logits.
            sample_weight: (K,) float32; 0 leaves a position out.
            training: unused.

        Returns:
            A float32 scalar.
        """
        del x, training
        nll = ops.sparse_categorical_crossentropy(y, ops.cast(y_pred, "float32"), from_logits=True)
        return ops.sum(nll * sample_weight)  # nll: (K,)

    def train_on_step(self, step: "Step") -> float:
        """One update of the weights, accumulated over the step's micro-batches.

        Returns:
            Mean loss per target token of the step, in nats.
        """
        losses = []
        for token_ids, padding_mask, positions, targets, sample_weight in zip(*step, strict=True):
            inputs = {"token_ids": token_ids, "padding_mask": padding_mask, "positions": positions}
            losses.append(self.train_on_batch(inputs, targets, sample_weight, return_dict=True)["loss"])
        return float(np.mean(losses))

    def evaluate_tokens(self, dataset: "TokenDataset") -> float:
        """Mean loss per target token over a whole split, in nats: sum of losses by sum of weights, not a mean of means.

        Args:
            dataset: made with `normalize=False`.

        Raises:
            UserError: the loss is not finite.
        """
        loss = weight = 0.0
        for step in dataset.iterate():
            for token_ids, padding_mask, positions, targets, sample_weight in zip(*step, strict=True):
                inputs = {"token_ids": token_ids, "padding_mask": padding_mask, "positions": positions}
                loss += float(self.test_on_batch(inputs, targets, sample_weight, return_dict=True)["loss"])
                weight += float(sample_weight.sum(dtype="float64"))
        if not np.isfinite(loss):
            raise UserError(
                f"the evaluation loss must be finite. Received: {loss}. Lower train.learning_rate, or set "
                "model.dtype to mixed_bfloat16 or float32."
            )
        return loss / weight
