"""The summed loss of chosen rows under an output layer, without ever holding all logits.

Logits are the largest array of a training step by far: a vocabulary of 50,257 has 65 numbers for each of the 768 of a hidden
state. Here a loop computes them chunk by chunk, and takes of each chunk its loss *and* its gradients, which a
cross-entropy behind a matrix product has in closed form:

    d loss / d logits = weight * (softmax(logits) - one_hot(target))

so that nothing of a chunk outlives it, and nothing is computed twice. The idea of taking gradients in the forward pass is
that of Liger Kernel (Hsu et al., arXiv 2410.10989). Rows behind the last target are never reached: the result is exact
whatever room a batch has, and costs what its targets cost.
"""

from typing import Any, NamedTuple

from keras import ops

# Logits held at once: 32 MiB of float32. Fewer cost more passes over the gradient of a trained kernel.
LOGITS_PER_CHUNK = 2**23
# Chunks of one size are at most such a part of the rows, as the last one is computed whole, with few targets in it or many.
_MIN_CHUNKS = 8


class Projection(NamedTuple):
    """An output layer: `logits = cap(rows @ transpose(kernel))`.

    Attributes:
        kernel: (vocabulary_size, width), or (width, vocabulary_size) if `is_transposed`.
        is_transposed: see `kernel`.
        is_trained: whether the kernel needs a gradient.
        soft_cap: c of `c * tanh(logits / c)`, or None.
        dtype: of the matrix product.
    """

    kernel: Any
    is_transposed: bool
    is_trained: bool
    soft_cap: float | None
    dtype: str


def sum_losses(
    rows: Any, targets: Any, weight: Any, projection: Projection, *, with_gradient: bool, static_shapes: bool = True
) -> Any:
    """Sum over rows of weight times negative log-likelihood, in nats.

    Rows come in G groups, so that a batch that is sharded over devices stays where it is: each chunk takes as many rows of
    every group.

    Args:
        rows: (G, rows, width) hidden states; in each group, those with a weight come first.
        targets: int32 (G, rows).
        weight: float32 (G, rows), at least 0.
        projection: the output layer.
        with_gradient: whether gradients are asked for afterwards.
        static_shapes: whether chunks must have one size, as XLA wants it; else the targets are cut evenly.

    Returns:
        A float32 scalar, differentiable by `rows` and, if it is trained, by the kernel.
    """
    num_groups, num_rows, width = rows.shape[0], ops.shape(rows)[1], rows.shape[2]
    vocabulary_size = projection.kernel.shape[1 if projection.is_transposed else 0]
    limit = max(LOGITS_PER_CHUNK // vocabulary_size, 1)
    num_targets = ops.max(ops.sum(ops.cast(weight > 0, "int32"), axis=1))
    if static_shapes:
        chunk = min(limit, -(-num_rows // _MIN_CHUNKS))
    else:
        chunk = _divide_up(num_targets, ops.maximum(_divide_up(num_targets, limit), 1))
        chunk = ops.maximum(chunk, 1)
    num_chunks = _divide_up(num_targets, chunk)
    # The last chunk may reach beyond the last row.
    rows = ops.pad(rows, [[0, 0], [0, chunk], [0, 0]])
    targets, weight = (ops.pad(array, [[0, 0], [0, chunk]]) for array in (targets, weight))

    def compute(rows: Any, kernel: Any, *, with_gradient: bool) -> tuple[Any, Any, Any]:
        kernel_cast = ops.cast(kernel, projection.dtype)
        # Weights are far below 1; as float16 their products would vanish.
        scale = ops.maximum(ops.max(weight), 1e-30)
        needs_kernel = with_gradient and projection.is_trained
        row_gradient = ops.zeros_like(rows, dtype="float32") if with_gradient else ops.zeros((), "float32")
        # One sum a group: devices that have a group each need not wait for each other in every round.
        kernel_gradient = ops.zeros((num_groups, *kernel.shape) if needs_kernel else (), "float32")

        def step(i: Any, loss: Any, row_gradient: Any, kernel_gradient: Any) -> tuple[Any, ...]:
            start = i * chunk
            part = ops.cast(ops.slice(rows, (0, start, 0), (num_groups, chunk, width)), projection.dtype)
            part = ops.reshape(part, (-1, width))
            part_targets, part_weight = (
                ops.reshape(ops.slice(array, (0, start), (num_groups, chunk)), (-1,)) for array in (targets, weight)
            )
            # Transposed here and not before the loop: TensorFlow then makes it a flag of the product instead of a copy.
            inward, outward = kernel_cast, ops.transpose(kernel_cast)
            if projection.is_transposed:
                inward, outward = outward, inward
            logits = ops.cast(ops.matmul(part, outward), "float32")  # (num_groups * chunk, vocabulary_size)
            if projection.soft_cap is not None:
                ratio = ops.tanh(logits / projection.soft_cap)
                logits = projection.soft_cap * ratio
            log_sum = ops.logsumexp(logits, axis=1)
            at_target = ops.squeeze(ops.take_along_axis(logits, part_targets[:, None], axis=1), 1)
            # A row without a weight must not count even if it is not finite.
            loss = loss + ops.sum(ops.where(part_weight > 0, log_sum - at_target, 0.0) * part_weight)
            finished = loss
            if with_gradient:
                slope = ops.exp(logits - log_sum[:, None]) - ops.one_hot(part_targets, vocabulary_size, dtype="float32")
                if projection.soft_cap is not None:
                    slope = slope * (1.0 - ops.square(ratio))
                slope = ops.cast(slope, projection.dtype)
                of_rows = ops.cast(ops.matmul(slope, inward), "float32") * part_weight[:, None]
                of_rows = ops.reshape(of_rows, (num_groups, -1, width))
                row_gradient = ops.slice_update(row_gradient, (0, start, 0), of_rows)
                finished = finished + of_rows[0, 0, 0]
                if needs_kernel:
                    weighed = part * ops.cast(part_weight / scale, projection.dtype)[:, None]
                    pair = (weighed, slope) if projection.is_transposed else (slope, weighed)
                    of_kernel = ops.cast(_multiply_by_group(*pair, num_groups), "float32")
                    kernel_gradient = kernel_gradient + of_kernel * scale
                    finished = finished + of_kernel[0, 0, 0]
            # TensorFlow runs up to ten rounds of a loop at once, with all of their logits, where only sums tie them together.
            # So the number of the next round depends on this one's results; if they are no numbers, there is nothing to add.
            i = ops.where(ops.isnan(finished), num_chunks, i + 1)
            return i, loss, row_gradient, kernel_gradient

        start_values = (ops.zeros((), "int32"), ops.zeros((), "float32"), row_gradient, kernel_gradient)
        _, loss, row_gradient, kernel_gradient = ops.while_loop(lambda i, *_: i < num_chunks, step, start_values)
        return loss, row_gradient, ops.sum(kernel_gradient, axis=0) if needs_kernel else kernel_gradient

    if not with_gradient:
        return compute(rows, projection.kernel, with_gradient=False)[0]

    @ops.custom_gradient
    def differentiable(rows: Any, kernel: Any) -> Any:
        loss, row_gradient, kernel_gradient = compute(rows, kernel, with_gradient=True)

        def gradient(*args: Any, upstream: Any = None) -> tuple[Any, Any]:
            outer = args[0] if upstream is None else upstream
            by_kernel = ops.cast(outer * kernel_gradient, kernel.dtype)
            return ops.cast(outer * row_gradient, rows.dtype), (
                by_kernel if projection.is_trained else ops.zeros_like(kernel)
            )

        return loss, gradient

    return differentiable(rows, projection.kernel)


def _multiply_by_group(left: Any, right: Any, num_groups: int) -> Any:
    """(G, m, n): transpose(left) @ right in each group; left (G * rows, m), right (G * rows, n)."""
    if num_groups == 1:  # a plain product, which every library does best
        return ops.matmul(ops.transpose(left), right)[None]
    left, right = (ops.reshape(array, (num_groups, -1, array.shape[-1])) for array in (left, right))
    return ops.einsum("gcm,gcn->gmn", left, right)


def _divide_up(number: Any, by: Any) -> Any:
    return (number + by - 1) // by
