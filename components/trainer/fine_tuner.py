"""A causal LM with the loss of fine-tuning."""

from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from components.trainer.target_head import split_head, take_positions
from components.trainer.target_loss import sum_losses

if TYPE_CHECKING:
    import keras_hub

    from components.trainer.data import Step


class FineTuner(keras.Model):
    """Shares layers and weights of a causal LM; takes token ids and weights instead of text.

    The CausalLM itself is not compiled: its `fit` wants text, and its loss is a mean over all positions. Here the output layer
    is computed at targets alone, in chunks (see `target_loss`), and the loss is a *sum* over these of weight times negative
    log-likelihood in nats, in float32 under any dtype policy; what it is a mean of is decided by the weights (see
    `TokenDataset.normalize`). An `Engine` trains it.

    Inputs: `token_ids` and `padding_mask`, int32 (batch, sequence_length). Output: hidden states (batch, sequence_length,
    width), or logits if the output layer cannot be cut off.
    """

    def __init__(self, causal_lm: "keras_hub.models.CausalLM") -> None:
        head = split_head(causal_lm)
        super().__init__(inputs=causal_lm.input, outputs=head.states)
        self._head = head
        # Keras ignores a functional model's `dtype`; the optimizer looks here for mixed_float16 to scale the loss.
        self.dtype_policy = getattr(causal_lm, "backbone", causal_lm).dtype_policy

    def sum_losses(
        self, inputs: dict[str, Any], loss_inputs: tuple[Any, Any, Any], *, training: bool, static_shapes: bool
    ) -> Any:
        """Sum of weighted negative log-likelihoods.

        Args:
            inputs: `token_ids` and `padding_mask`, int32 (batch, sequence_length); the batch is G groups of as many rows.
            loss_inputs: `positions` int32 (G, K), flat in a group; `targets` int32 (G, K), the token that follows each; and
                `sample_weight` float32 (G, K), 0 leaves a position out. In a group, positions with a weight come first.
            training: whether dropout is on and the loss is differentiated afterwards.
            static_shapes: see `target_loss.sum_losses`.

        Returns:
            A float32 scalar.
        """
        positions, targets, sample_weight = loss_inputs
        rows = take_positions(self(inputs, training=training), positions)  # (G, K, width)
        projection = self._head.get_projection()
        if projection is not None:
            return sum_losses(
                rows, targets, sample_weight, projection, with_gradient=training, static_shapes=static_shapes
            )
        logits = ops.cast(self._head.project(rows), "float32")  # (G, K, vocabulary_size)
        nll = ops.sparse_categorical_crossentropy(targets, logits, from_logits=True)
        return ops.sum(ops.where(sample_weight > 0, nll, 0.0) * sample_weight)  # nll: (G, K)

    def compute_logits(self, step: "Step") -> Any:
        """Logits (R, K, vocabulary_size) at the positions of a step's first micro-batch; for comparisons, not for training."""
        shape = (-1, step.token_ids.shape[-1])
        inputs = {"token_ids": step.token_ids[0].reshape(shape), "padding_mask": step.padding_mask[0].reshape(shape)}
        return self._head.project(take_positions(self(inputs, training=False), step.positions[0]))
