"""Transformed examples as training steps: shifted, bucketed by length, padded, weighted, in a resumable order."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from components.datasets import without_autotuning
from components.errors import UserError
from components.text import features
from components.trainer.compilation import count_cores
from components.trainer.lengths import count_positions, plan_lengths
from components.trainer.statistics import TokenStatistics, measure

# Records held in memory for shuffling: at most about 12 bytes a token, so 100 MB at 512 tokens a record.
SHUFFLE_BUFFER = 16384


class Step(NamedTuple):
    """The examples of one update of the weights: A micro-batches (gradient accumulation), each of R shards (replicas).

    Inputs are (A, R, rows, sequence_length), padded on the right. What concerns the loss is given for the K = rows *
    sequence_length positions of each shard, those with a weight first.

    Attributes:
        token_ids: int32, what the model reads; padding holds `pad_token_id`.
        padding_mask: int32, 1 on tokens, 0 on padding. Rows that only fill up the batch keep a 1 in their first column:
            attention over no position at all is not defined.
        positions: int32 (A, R, K), flat in a shard: `row * sequence_length + column`.
        targets: int32 (A, R, K), the token that follows each of these positions.
        sample_weight: float32 (A, R, K), weight of each of these positions in the loss.
    """

    token_ids: np.ndarray
    padding_mask: np.ndarray
    positions: np.ndarray
    targets: np.ndarray
    sample_weight: np.ndarray

    @property
    def num_tokens(self) -> int:
        """Positions that hold a token of an example."""
        # Every example has a target, see `measure`; rows that fill up have none.
        return int(self.padding_mask.reshape(-1, self.token_ids.shape[-1])[self.list_rows()].sum())

    @property
    def num_target_tokens(self) -> int:
        """Positions that count in the loss."""
        return int(np.count_nonzero(self.sample_weight))

    def list_rows(self) -> np.ndarray:
        """Numbers of the rows that hold an example, in (A * R * rows)."""
        return np.unique(self._find_row_of_positions()[self.sample_weight > 0])

    def keep_row(self, number: int) -> "Step":
        """The same step with all weights but those of one row at 0, and its targets first."""
        weight = np.where(self._find_row_of_positions() == number, self.sample_weight, 0)
        order = np.argsort(weight <= 0, axis=-1, kind="stable")
        arrays = (np.take_along_axis(array, order, axis=-1) for array in (self.positions, self.targets, weight))
        return Step(self.token_ids, self.padding_mask, *arrays)

    def _find_row_of_positions(self) -> np.ndarray:
        """(A, R, K): which of the A * R * rows rows a position lies in."""
        num_shards, (rows, length) = self.token_ids.shape[0] * self.token_ids.shape[1], self.token_ids.shape[2:]
        first = np.arange(num_shards).reshape(*self.token_ids.shape[:2], 1) * rows
        return first + self.positions // length


def make_blank_step(num_micro_batches: int, rows: int, length: int) -> Step:
    """A step for one replica without any token, of the shapes and dtypes of others."""
    inputs = np.zeros((num_micro_batches, 1, rows, length), np.int32)
    positions = np.zeros((num_micro_batches, 1, rows * length), np.int32)
    return Step(inputs, inputs, positions, positions, np.zeros(positions.shape, np.float32))


def shift(token_ids: Any, loss_weight: Any) -> tuple[Any, Any, Any]:
    """Turns one example of n tokens into n - 1 predictions: position t is trained to predict token t + 1.

    This is the only place where inputs and targets are aligned.

    Args:
        token_ids: (n,) tokens of prompt and response.
        loss_weight: (n,) weight of each token *as a target*.

    Returns:
        Inputs, targets, and weights of the targets, each (n - 1,).
    """
    return token_ids[:-1], token_ids[1:], loss_weight[1:]


def expand_patterns(patterns: Sequence[str]) -> list[str]:
    """Files that match glob patterns, sorted, so that their order does not depend on the file system.

    Raises:
        UserError: a pattern matches no file.
    """
    files = []
    for pattern in patterns:
        found = sorted(tf.io.gfile.glob(pattern))
        if not found:
            raise UserError(f"no file matches {pattern}. Run the components before the Trainer, or check its inputs.")
        files += found
    return files


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenDataset:
    """A split as a sequence of `Step`s of static shapes, the same sequence on every run.

    Attributes:
        files: gzipped TFRecord files of `token_ids` int64[n] and `loss_weight` float32[n].
        batch_size: examples of one step.
        accumulation_steps: micro-batches that a step is cut into, at least.
        num_shards: parts that a micro-batch is cut into, one a replica; their product divides `batch_size`.
        micro_batch_tokens: positions of one shard of a micro-batch, at most; a step of long examples is cut into more
            micro-batches, down to one row each. None: any number.
        sequence_lengths: lengths that steps are padded to, increasing; so many shapes are compiled at most.
        pad_token_id: token on padding; it never counts.
        shuffle: whether each epoch comes in an order of its own, given by `seed` and its number.
        normalize: whether weights are scaled so that the summed loss of a step is the mean loss per target token *of the
            whole step*: `w / sum(w)`. A mean of the micro-batches' or replicas' means would give a token among few targets
            more weight than one among many.
        statistics: counts over the split.
        seed: of the shuffling.
    """

    files: tuple[str, ...]
    batch_size: int
    accumulation_steps: int
    num_shards: int
    sequence_lengths: tuple[int, ...]
    pad_token_id: int
    shuffle: bool
    normalize: bool
    statistics: TokenStatistics
    seed: int = 0
    micro_batch_tokens: int | None = None

    @functools.cached_property
    def steps_per_epoch(self) -> int:
        """Steps of one pass; each length's last step is filled up with rows of weight 0."""
        return sum(-(-count // self.batch_size) for count in self._examples_per_length())

    @property
    def padding_share(self) -> float:
        """Share of an epoch's positions that hold no token: padding, and rows that fill up a batch."""
        counts = self.statistics.examples_by_length
        return 1 - self.statistics.num_tokens / count_positions(counts, self.batch_size, self.sequence_lengths)

    def count_micro_batches(self, length: int) -> int:
        """Micro-batches of a step that is padded to `length`."""
        rows = self.batch_size // self.num_shards
        limit = float("inf") if self.micro_batch_tokens is None else self.micro_batch_tokens
        cuts = [n for n in range(self.accumulation_steps, rows + 1) if rows % n == 0]
        return next((n for n in cuts if rows // n * length <= limit), rows)

    @property
    def largest_shape(self) -> tuple[int, int, int]:
        """Micro-batches, rows and length of a replica's part of the step that has the largest micro-batches."""
        rows = self.batch_size // self.num_shards
        cuts = {length: self.count_micro_batches(length) for length in self.sequence_lengths}
        shapes = [(cuts[length], rows // cuts[length], length) for length in self.sequence_lengths]
        return max(shapes, key=lambda shape: (shape[1] * shape[2], shape[2]))

    def plan_lengths(self, max_lengths: int, cost_of_length: float) -> "TokenDataset":
        """The same split padded to other lengths: see `lengths.plan_lengths`."""
        counts, longest = self.statistics.examples_by_length, self.sequence_lengths[-1]
        lengths = plan_lengths(counts, self.batch_size, longest, max_lengths, cost_of_length)
        return dataclasses.replace(self, sequence_lengths=lengths)

    def describe(self) -> str:
        """One line for the log."""
        counts = self.statistics
        return (
            f"{Path(self.files[0]).parent.name}: {counts.num_examples} examples, {counts.num_tokens} tokens, "
            f"{counts.num_target_tokens} target tokens, {self.padding_share:.1%} padding in {len(self.sequence_lengths)} "
            f"lengths ({', '.join(map(str, self.sequence_lengths))})"
        )

    def _examples_per_length(self) -> list[int]:
        """Number of examples by the length that they are padded to."""
        counts = np.asarray(self.statistics.examples_by_length)
        ends = np.searchsorted(self.sequence_lengths, np.arange(len(counts)))
        return np.bincount(ends, counts).astype(int).tolist()

    def iterate(self, first: int = 0, last: int | None = None) -> Iterator[Step]:
        """Yields steps `first` to `last` (exclusive) of the endless sequence of epochs.

        Args:
            first: how many steps are already done.
            last: where to end; None is the end of the epoch that `first` is in.
        """
        epoch, skip = divmod(first, self.steps_per_epoch)
        remaining = (self.steps_per_epoch - skip if last is None else last - first) if first != last else 0
        while remaining > 0:
            steps = self._epoch(epoch).skip(skip).take(remaining).prefetch(2)
            for step in without_autotuning(steps).as_numpy_iterator():
                yield Step(*step)
                remaining -= 1
            epoch, skip = epoch + 1, 0

    def name_examples(self, number: int) -> list[str]:
        """`example_id` of the examples of step `number` (0 is the first), by row; for messages."""
        epoch, skip = divmod(number, self.steps_per_epoch)
        (batch,) = without_autotuning(self._read_batches(epoch).skip(skip).take(1)).as_numpy_iterator()
        return [example_id.decode() for example_id in batch[-1]]

    def _epoch(self, epoch: int) -> tf.data.Dataset:
        return self._read_batches(epoch).map(self._finish, num_parallel_calls=count_cores())

    def _read_batches(self, epoch: int) -> tf.data.Dataset:
        """Batches of examples of one padded length: inputs, mask, targets, weights, example ids."""
        files = list(self.files)
        if self.shuffle:
            epoch_seed = int(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0] & 0x7FFFFFFF)
            np.random.default_rng(epoch_seed).shuffle(files)
        records = tf.data.TFRecordDataset(files, compression_type="GZIP")
        if self.shuffle:
            records = records.shuffle(SHUFFLE_BUFFER, seed=epoch_seed, reshuffle_each_iteration=False)
        examples = records.map(_parse, num_parallel_calls=count_cores()).map(_align)
        examples = examples.filter(lambda inputs, mask, targets, weight, example_id: tf.reduce_any(weight > 0))
        # The bucket of TensorFlow excludes its boundary, and it pads to one less than it.
        return examples.bucket_by_sequence_length(
            element_length_func=lambda inputs, mask, targets, weight, example_id: tf.size(inputs),
            bucket_boundaries=[length + 1 for length in self.sequence_lengths],
            bucket_batch_sizes=[self.batch_size] * (len(self.sequence_lengths) + 1),
            padding_values=(self.pad_token_id, 0, self.pad_token_id, 0.0, ""),
            pad_to_bucket_boundary=True,
        )

    def _finish(self, inputs: Any, mask: Any, targets: Any, weight: Any, example_id: Any) -> tuple[Any, ...]:
        """Fills a batch up to `batch_size` rows, weights it, cuts it into shards, and picks the targets."""
        del example_id
        num_missing = self.batch_size - tf.shape(inputs)[0]
        rows = [[0, num_missing], [0, 0]]
        inputs = tf.pad(inputs, rows, constant_values=self.pad_token_id)
        targets = tf.pad(targets, rows, constant_values=self.pad_token_id)
        mask = tf.pad(mask, rows)
        is_filling = tf.reduce_max(mask, axis=1, keepdims=True) == 0  # (batch_size, 1)
        mask = tf.where(is_filling & (tf.range(tf.shape(mask)[1]) == 0), 1, mask)
        weight = tf.pad(weight, rows)
        if self.normalize:
            weight = weight / tf.reduce_sum(weight)
        length = tf.shape(inputs)[1]
        cuts = tf.constant([self.count_micro_batches(length) for length in self.sequence_lengths])
        parts = [cuts[tf.searchsorted(tf.constant(self.sequence_lengths), length[None])[0]], self.num_shards]
        shape = [*parts, self.batch_size // (parts[0] * self.num_shards), length]
        targets, weight = (tf.reshape(array, [*parts, shape[2] * length]) for array in (targets, weight))
        return tf.reshape(inputs, shape), tf.reshape(mask, shape), *_put_targets_first(targets, weight)


def read_examples(patterns: Sequence[str], num_examples: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The first examples of a split with a target: token ids int32 (n,) and loss weights float32 (n,), unpadded."""
    examples = tf.data.TFRecordDataset(expand_patterns(patterns), compression_type="GZIP").map(_parse)
    examples = examples.filter(lambda token_ids, weight, example_id: tf.reduce_any(weight[1:] > 0))
    return [example[:2] for example in without_autotuning(examples.take(num_examples)).as_numpy_iterator()]


def _put_targets_first(targets: tf.Tensor, weight: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns flat positions, targets and weights, each (A, R, K), in their order but for those with a weight coming first."""
    positions = tf.argsort(tf.cast(weight > 0, tf.int32), axis=2, direction="DESCENDING", stable=True)
    return positions, tf.gather(targets, positions, batch_dims=2), tf.gather(weight, positions, batch_dims=2)


def _parse(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    spec = {
        features.TOKEN_IDS: tf.io.RaggedFeature(tf.int64),
        features.LOSS_WEIGHT: tf.io.RaggedFeature(tf.float32),
        features.EXAMPLE_ID: tf.io.FixedLenFeature([], tf.string, default_value=""),
    }
    example = tf.io.parse_single_example(record, spec)
    token_ids = tf.cast(example[features.TOKEN_IDS], tf.int32)
    return token_ids, example[features.LOSS_WEIGHT], example[features.EXAMPLE_ID]  # (n,), (n,), ()


def _align(token_ids: tf.Tensor, loss_weight: tf.Tensor, example_id: tf.Tensor) -> tuple[tf.Tensor, ...]:
    inputs, targets, weight = shift(token_ids, loss_weight)
    return inputs, tf.ones_like(inputs), targets, weight, example_id  # (n - 1,) but for the id; the ones are the mask


def make_dataset(
    patterns: Sequence[str],
    *,
    batch_size: int,
    bucket_boundaries: Sequence[int] | None,
    max_length: int,
    vocabulary_size: int,
    max_lengths: int = 32,
    pad_token_id: int = 0,
    accumulation_steps: int = 1,
    num_shards: int = 1,
    shuffle: bool = False,
    normalize: bool = False,
    seed: int = 0,
    micro_batch_tokens: int | None = None,
) -> TokenDataset:
    """Counts and checks a split, and makes it a `TokenDataset`.

    Args:
        patterns: glob patterns of gzipped TFRecord files.
        batch_size: examples of one step; a multiple of `accumulation_steps * num_shards`.
        bucket_boundaries: lengths in tokens to pad to; those below `max_length` are used, and `max_length` itself. None:
            the lengths that waste least.
        max_length: most tokens of an example.
        max_lengths: most different lengths, if they are chosen here.
        vocabulary_size: token ids must be below it.
        pad_token_id: token on padding.
        accumulation_steps: micro-batches of one step, at least.
        num_shards: parts of a micro-batch, one a replica.
        shuffle: whether each epoch has its own order.
        normalize: whether a step's loss is the mean per target token (training), or weights stay as they are (evaluation).
        seed: of the shuffling.
        micro_batch_tokens: see `TokenDataset`.

    Raises:
        UserError: no file; no token is a training target; an example does not fit the model; the batch cannot be divided.
    """
    if batch_size % (accumulation_steps * num_shards):
        raise UserError(
            "train.batch_size must be a multiple of gradient_accumulation_steps times the replicas that share a batch. "
            f"Received: {batch_size} for {accumulation_steps} x {num_shards}. "
            f"Set train.batch_size to {_round_up(batch_size, accumulation_steps * num_shards)}."
        )
    files = expand_patterns(patterns)
    where = ", ".join(sorted({str(Path(pattern).parent.name) for pattern in patterns}))
    statistics = measure(files, max_length, vocabulary_size, where)
    if bucket_boundaries is None:
        lengths = plan_lengths(statistics.examples_by_length, batch_size, max_length, max_lengths)
    else:
        lengths = tuple(sorted({length for length in bucket_boundaries if length < max_length} | {max_length}))
    return TokenDataset(
        files=tuple(files),
        batch_size=batch_size,
        accumulation_steps=accumulation_steps,
        num_shards=num_shards,
        sequence_lengths=lengths,
        pad_token_id=pad_token_id,
        shuffle=shuffle,
        normalize=normalize,
        statistics=statistics,
        seed=seed,
        micro_batch_tokens=micro_batch_tokens,
    )


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
