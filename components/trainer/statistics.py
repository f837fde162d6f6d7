"""One pass over a split before training: how much there is, and whether it fits the model."""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from absl import logging

from components.datasets import without_autotuning
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
        examples_by_length: number of examples of 0, 1, 2, ... input positions.
    """

    num_examples: int
    num_without_target: int
    num_tokens: int
    num_target_tokens: int
    examples_by_length: tuple[int, ...]


def measure(files: Sequence[str], max_length: int, vocabulary_size: int, split: str = "data") -> TokenStatistics:
    """Counts a split in bounded memory.

    Args:
        files: gzipped TFRecord files of transformed examples.
        max_length: most tokens of an example.
        vocabulary_size: token ids must be below it.
        split: its name in messages.

    Raises:
        UserError: no token is a training target, or an example does not fit.
    """
    counts = np.zeros(max_length, np.int64)
    num_without_target = num_tokens = num_target_tokens = 0
    for token_ids, loss_weight in _read(files):
        _check(token_ids, loss_weight, max_length, vocabulary_size, split)
        targets = tf.reduce_sum(tf.cast(loss_weight[:, 1:] > 0, tf.int32), axis=1).numpy()  # (examples,)
        lengths = token_ids.row_lengths().numpy()[targets > 0] - 1  # input positions of an example
        num_without_target += int((targets == 0).sum())
        num_tokens += int(lengths.sum())
        num_target_tokens += int(targets.sum())
        counts += np.bincount(lengths, minlength=max_length)
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
        examples_by_length=tuple(int(count) for count in counts),
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

    records = tf.data.TFRecordDataset(list(files), compression_type="GZIP")
    return without_autotuning(records.batch(_BATCH).map(parse).prefetch(1))


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
