"""One pass over a split before training: how much there is, and whether it fits the model."""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from absl import logging

from components.errors import UserError
from components.text import features

_BATCH = 1024
_CHUNK_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenStatistics:
    """Counts over one split, of the examples that have a target.

    Attributes:
        num_examples: examples with at least one target.
        num_without_target: examples that are left out, because no token of theirs is a target.
        num_tokens: input positions, without padding.
        num_target_tokens: positions with a weight above 0.
        examples_per_length: number of examples by the length that they are padded to, in the order of those lengths.
        target_moments: for the same lengths, the sum of the examples' numbers of targets, and of their squares.
        padding_share: share of padded positions, had every batch been full.
    """

    num_examples: int
    num_without_target: int
    num_tokens: int
    num_target_tokens: int
    examples_per_length: tuple[int, ...]
    target_moments: tuple[tuple[float, float], ...]
    padding_share: float


def measure(
    files: Sequence[str], sequence_lengths: Sequence[int], vocabulary_size: int, split: str = "data"
) -> TokenStatistics:
    """Counts a split in bounded memory.

    Args:
        files: gzipped TFRecord files of transformed examples.
        sequence_lengths: lengths to pad to, increasing; the last is the most tokens of an example.
        vocabulary_size: token ids must be below it.
        split: its name in messages.

    Raises:
        UserError: no token is a training target, or an example does not fit.
    """
    counts = np.zeros(len(sequence_lengths), np.int64)
    moments = np.zeros((2, len(sequence_lengths)))
    num_without_target = num_tokens = num_target_tokens = 0
    for token_ids, loss_weight in _read(files):
        _check(token_ids, loss_weight, sequence_lengths[-1], vocabulary_size, split)
        targets = tf.reduce_sum(tf.cast(loss_weight[:, 1:] > 0, tf.int32), axis=1).numpy()  # (examples,)
        lengths = token_ids.row_lengths().numpy()[targets > 0] - 1  # input positions of an example
        num_without_target += int((targets == 0).sum())
        num_tokens += int(lengths.sum())
        num_target_tokens += int(targets.sum())
        bucket = np.searchsorted(sequence_lengths, lengths)  # (examples with a target,)
        counts += np.bincount(bucket, minlength=len(counts))
        for row, power in enumerate((1, 2)):
            moments[row] += np.bincount(bucket, targets[targets > 0].astype(float) ** power, minlength=len(counts))
    if not num_target_tokens:
        raise UserError(
            f"{split}: no token is a training target ({num_without_target} examples, all of weight 0). An example needs "
            "`loss_weight` above 0 on its response: check `data.columns`, and that `text.max_length` leaves room for it."
        )
    if num_without_target:
        logging.warning("%s: %d examples have no training target and are left out.", split, num_without_target)
    return TokenStatistics(
        num_examples=int(counts.sum()),
        num_without_target=num_without_target,
        num_tokens=num_tokens,
        num_target_tokens=num_target_tokens,
        examples_per_length=tuple(int(count) for count in counts),
        target_moments=tuple((float(first), float(second)) for first, second in moments.T),
        padding_share=1 - num_tokens / float(np.dot(counts, sequence_lengths)),
    )


def hash_files(files: Sequence[str]) -> str:
    """sha256 over the contents of `files`, in the order given, without their names: hex digits."""
    digest = hashlib.sha256()
    for file in files:
        with tf.io.gfile.GFile(file, "rb") as stream:
            digest.update(f"{stream.size()}\n".encode())
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()


def _read(files: Sequence[str]) -> tf.data.Dataset:
    spec = {
        features.TOKEN_IDS: tf.io.RaggedFeature(tf.int64),
        features.LOSS_WEIGHT: tf.io.RaggedFeature(tf.float32),
    }

    def parse(records: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
        examples = tf.io.parse_example(records, spec)
        return examples[features.TOKEN_IDS], examples[features.LOSS_WEIGHT]  # each (examples, n) ragged

    return tf.data.TFRecordDataset(list(files), compression_type="GZIP").batch(_BATCH).map(parse).prefetch(1)


def _check(
    token_ids: tf.RaggedTensor, loss_weight: tf.RaggedTensor, max_length: int, vocabulary_size: int, split: str
) -> None:
    lengths, ids, weights = token_ids.row_lengths().numpy(), token_ids.flat_values, loss_weight.flat_values.numpy()
    if not np.array_equal(lengths, loss_weight.row_lengths().numpy()):
        raise UserError(f"{split}: `token_ids` and `loss_weight` of an example must have the same length.")
    if lengths.max(initial=0) > max_length:
        raise UserError(
            f"{split}: an example must have at most {max_length} tokens (text.max_length). Received: {lengths.max()}."
        )
    if len(ids) and not (ids.numpy().min() >= 0 and ids.numpy().max() < vocabulary_size):
        raise UserError(
            f"{split}: token ids must lie in [0, {vocabulary_size}), the model's vocabulary. Received: "
            f"{ids.numpy().min()} to {ids.numpy().max()}. Tokenize with the tokenizer of `model.preset`."
        )
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise UserError(f"{split}: every `loss_weight` must be finite and at least 0.")


def describe(statistics: TokenStatistics, split: str) -> str:
    """One line for the log."""
    return (
        f"{split}: {statistics.num_examples} examples, {statistics.num_tokens} tokens, "
        f"{statistics.num_target_tokens} target tokens, {statistics.padding_share:.0%} padding"
    )
