"""How the samplers choose tokens in TensorFlow."""

import abc

import keras_hub
import tensorflow as tf

from components.errors import UserError
from components.trainer.samplers import Beam, Greedy, Sampler, TopK, TopP


class Chooser(abc.ABC):
    """Chooses the next token of each sequence."""

    def draw(self, token_ids: tf.Tensor, lengths: tf.Tensor, count: tf.Tensor | int) -> tf.Tensor:
        """Draws for all steps what chance decides.

        Args:
            token_ids: int32 (batch, length), prompts padded on the right.
            lengths: int32 (batch,), tokens of each prompt.
            count: of steps.

        Returns:
            Uniform numbers, float32 (batch, count); (batch, 0) where nothing is left to chance.
        """
        return tf.zeros([tf.shape(token_ids)[0], 0])

    @abc.abstractmethod
    def __call__(self, logits: tf.Tensor, draws: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
        """Returns the tokens, int32 (batch,).

        Args:
            logits: float32 (batch, vocabulary).
            draws: from `draw`.
            place: int32 (batch,), which of the draws to use; what is outside counts as 0.
        """


class _Greedy(Chooser):
    def __call__(self, logits: tf.Tensor, draws: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
        return tf.argmax(logits, axis=-1, output_type=tf.int32)


class _Random(Chooser):
    """A draw from the most probable tokens, by the inverse of their cumulative distribution."""

    def __init__(self, sampler: TopK | TopP, seed: tf.Tensor | int):
        self._sampler = sampler
        self._seed = seed

    def draw(self, token_ids: tf.Tensor, lengths: tf.Tensor, count: tf.Tensor | int) -> tf.Tensor:
        """See `Chooser`. A prompt gets its numbers whatever the others are."""
        prompts = tf.RaggedTensor.from_tensor(token_ids, lengths=lengths)
        texts = tf.strings.reduce_join(tf.strings.as_string(prompts), axis=-1, separator=" ")
        seeds = tf.strings.to_hash_bucket_fast(texts, 2**31 - 1)  # int64 (batch,)
        return tf.map_fn(
            lambda seed: tf.random.stateless_uniform([count], tf.stack([seed, tf.cast(self._seed, tf.int64)])),
            seeds,
            fn_output_signature=tf.TensorSpec([None], tf.float32),
        )

    def __call__(self, logits: tf.Tensor, draws: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
        sampler = self._sampler
        size = logits.shape[-1]
        count = min(sampler.k, size) if isinstance(sampler, TopK) else size
        logits, token_ids = tf.math.top_k(logits / sampler.temperature, count)
        probabilities = tf.nn.softmax(logits)
        if isinstance(sampler, TopP):
            before = tf.cumsum(probabilities, axis=-1, exclusive=True)
            probabilities = tf.where(before < sampler.p, probabilities, 0.0)
        reached = tf.cumsum(probabilities, axis=-1)
        place = tf.clip_by_value(place, 0, tf.shape(draws)[1] - 1)
        target = tf.gather(draws, place, batch_dims=1)[:, None] * reached[:, -1:]
        # A token of probability 0 is never reached: the sum before it is the whole.
        chosen = tf.math.count_nonzero(reached <= target, axis=-1, dtype=tf.int32)
        last = tf.math.count_nonzero(probabilities > 0, axis=-1, dtype=tf.int32) - 1
        return tf.gather(token_ids, tf.minimum(chosen, last), batch_dims=1)


def make_chooser(sampler: Sampler, seed: tf.Tensor | int) -> Chooser:
    """Returns what chooses as `sampler` says.

    Args:
        sampler: any but `Beam`, which chooses among sequences.
        seed: of the draws.
    """
    return _Random(sampler, seed) if isinstance(sampler, TopK | TopP) else _Greedy()


def make_keras_hub_sampler(sampler: Sampler) -> keras_hub.samplers.Sampler:
    """Returns KerasHub's sampler for models and methods that only KerasHub can decode.

    Raises:
        UserError: KerasHub's draws would depend on the other prompts of a batch.
    """
    if isinstance(sampler, Beam):
        return keras_hub.samplers.BeamSampler(num_beams=sampler.beams)
    if isinstance(sampler, Greedy):
        return keras_hub.samplers.GreedySampler()
    raise UserError(
        "this model's architecture can be decoded by the samplers greedy and beam. Received: "
        f"{type(sampler).__name__}. Set generation.sampler to one of the two."
    )
