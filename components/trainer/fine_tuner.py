"""A causal LM with the loss of fine-tuning, and its exact evaluation."""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from components.errors import UserError

if TYPE_CHECKING:
    import keras_hub

    from components.trainer.data import Step, TokenDataset


class FineTuner(keras.Model):
    """Shares layers and weights of a causal LM; takes token ids and weights instead of text.

    The CausalLM itself is not compiled: its `fit` wants text, and its loss is a mean over all positions. Here the loss
    of a micro-batch is a *sum* over positions of weight times negative log-likelihood in nats, in float32 under any
    dtype policy; what it is a mean of is decided by the weights (see `TokenDataset.normalize`).
    """

    def __init__(self, causal_lm: "keras_hub.models.CausalLM") -> None:
        super().__init__(inputs=causal_lm.input, outputs=causal_lm.output)
        # Keras ignores a functional model's `dtype`, but `compile` looks here for mixed_float16 to scale the loss.
        self.dtype_policy = getattr(causal_lm, "backbone", causal_lm).dtype_policy

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Sum of weighted negative log-likelihoods.

        Args:
            x: unused.
            y: (batch, sequence_length) int32, the token that follows each position.
            y_pred: (batch, sequence_length, vocabulary_size) logits.
            sample_weight: (batch, sequence_length) float32; 0 leaves a position out.
            training: unused.

        Returns:
            A float32 scalar.
        """
        del x, training
        nll = ops.sparse_categorical_crossentropy(y, ops.cast(y_pred, "float32"), from_logits=True)
        return ops.sum(nll * sample_weight)  # nll: (batch, sequence_length)

    def train_on_step(self, step: "Step") -> float:
        """One update of the weights, accumulated over the step's micro-batches.

        Returns:
            Mean loss per target token of the step, in nats.
        """
        losses = []
        for token_ids, padding_mask, targets, sample_weight in zip(*step, strict=True):  # each (micro_batch, length)
            inputs = {"token_ids": token_ids, "padding_mask": padding_mask}
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
            for token_ids, padding_mask, targets, sample_weight in zip(*step, strict=True):
                inputs = {"token_ids": token_ids, "padding_mask": padding_mask}
                loss += float(self.test_on_batch(inputs, targets, sample_weight, return_dict=True)["loss"])
                weight += float(sample_weight.sum(dtype="float64"))
        if not np.isfinite(loss):
            raise UserError(
                f"the evaluation loss must be finite. Received: {loss}. Lower train.learning_rate, or set "
                "model.dtype to mixed_bfloat16 or float32."
            )
        return loss / weight
