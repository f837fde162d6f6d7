"""A causal LM with the loss of fine-tuning, and its exact evaluation."""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from components.errors import UserError
from components.trainer.target_head import split_head, take_positions
from components.trainer.target_loss import sum_losses

if TYPE_CHECKING:
    import keras_hub

    from components.trainer.data import Step, TokenDataset


class FineTuner(keras.Model):
    """Shares layers and weights of a causal LM; takes token ids and weights instead of text.

    The CausalLM itself is not compiled: its `fit` wants text, and its loss is a mean over all positions. Here the output layer
    is computed at targets alone, in chunks (see `target_loss`), and the loss of a micro-batch is a *sum* over these of weight
    times negative log-likelihood in nats, in float32 under any dtype policy; what it is a mean of is decided by the weights
    (see `TokenDataset.normalize`).

    Inputs: `token_ids` and `padding_mask`, int32 (batch, sequence_length). Output: hidden states (batch, sequence_length,
    width), or logits if the output layer cannot be cut off.
    """

    def __init__(self, causal_lm: "keras_hub.models.CausalLM") -> None:
        head = split_head(causal_lm)
        super().__init__(inputs=causal_lm.input, outputs=head.states)
        self._head = head
        # Keras ignores a functional model's `dtype`, but `compile` looks here for mixed_float16 to scale the loss.
        self.dtype_policy = getattr(causal_lm, "backbone", causal_lm).dtype_policy

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Sum of weighted negative log-likelihoods.

        Args:
            x: unused.
            y: `positions`, int32 (K,), flat; and `targets`, int32 (K,), the token that follows each position.
            y_pred: the model's output.
            sample_weight: float32 (K,); 0 leaves a position out. Positions with a weight come first.
            training: whether the loss is differentiated afterwards.

        Returns:
            A float32 scalar.
        """
        del x
        rows, projection = take_positions(y_pred, y["positions"]), self._head.get_projection()
        if projection is not None:
            static_shapes = self.jit_compile or keras.backend.backend() != "tensorflow"
            return sum_losses(
                rows, y["targets"], sample_weight, projection, with_gradient=training, static_shapes=static_shapes
            )
        logits = ops.cast(self._head.project(rows), "float32")  # (K, vocabulary_size)
        nll = ops.sparse_categorical_crossentropy(y["targets"], logits, from_logits=True)
        return ops.sum(nll * sample_weight)  # nll: (K,)

    def compute_logits(self, step: "Step", micro_batch: int = 0) -> Any:
        """Logits (K, vocabulary_size) at the positions of a micro-batch; for comparisons, not for training."""
        inputs = {"token_ids": step.token_ids[micro_batch], "padding_mask": step.padding_mask[micro_batch]}
        return self._head.project(take_positions(self(inputs, training=False), step.positions[micro_batch]))

    def train_on_step(self, step: "Step") -> float:
        """One update of the weights, accumulated over the step's micro-batches.

        Returns:
            Mean loss per target token of the step, in nats.
        """
        losses = []
        for batch in step.split():
            losses.append(self.train_on_batch(*batch, return_dict=True)["loss"])
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
            weight += float(step.sample_weight.sum(dtype="float64"))
            for batch in step.split():
                loss += float(self.test_on_batch(*batch, return_dict=True)["loss"])
        if not np.isfinite(loss):
            raise UserError(
                f"the evaluation loss must be finite. Received: {loss}. Lower train.learning_rate, or set "
                "model.dtype to mixed_bfloat16 or float32."
            )
        return loss / weight
