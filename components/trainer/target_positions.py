"""Which positions of a batch are training targets, in arrays of a few static sizes."""

import math

import tensorflow as tf

# So many standard deviations above the mean is the budget: hardly a batch has more targets.
_SPREAD = 4.0
_MULTIPLE = 16


def make_budget(num_examples: int, target_sum: float, target_square_sum: float, num_rows: int, length: int) -> int:
    """Returns how many target positions a batch of one length is given room for.

    One size a length keeps the number of compiled shapes small. The rare batch with more targets gets room for all of its
    positions instead (see `select_targets`), so that no target is ever left out.

    Args:
        num_examples: examples of that length.
        target_sum: sum of their numbers of targets.
        target_square_sum: sum of the squares of these.
        num_rows: rows of a batch.
        length: columns of a batch.
    """
    everything = num_rows * length
    if not num_examples:
        return everything
    mean = target_sum / num_examples
    deviation = math.sqrt(max(target_square_sum / num_examples - mean**2, 0.0))
    budget = mean * num_rows + _SPREAD * deviation * math.sqrt(num_rows)
    budget = math.ceil(budget / _MULTIPLE) * _MULTIPLE
    # Where little would be saved, one shape less is worth more.
    return budget if budget <= 0.9 * everything else everything


def select_targets(targets: tf.Tensor, weight: tf.Tensor, budget: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Picks the positions with a weight, and fills up with positions of weight 0.

    Args:
        targets: int32 (A, positions), the token that follows each position.
        weight: float32 (A, positions).
        budget: int32, the room per row.

    Returns:
        Positions int32, their targets int32 and weights float32, each (A, K), in increasing order of the targets' positions.
        K is `budget`, or all positions if a row has more targets than that.
    """
    is_target = tf.cast(weight > 0, tf.int32)
    most = tf.reduce_max(tf.reduce_sum(is_target, axis=1))
    room = tf.where(most <= budget, budget, tf.shape(weight)[1])
    positions = tf.argsort(is_target, axis=1, direction="DESCENDING", stable=True)[:, :room]
    return positions, tf.gather(targets, positions, batch_dims=1), tf.gather(weight, positions, batch_dims=1)
