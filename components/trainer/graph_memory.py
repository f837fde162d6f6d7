"""How much memory a TensorFlow graph needs: sizes of the tensors that live at once, in the order in which it was built.

A graph that serves all shapes has unknown dimensions. Its operations are built once more here, without being computed, on inputs of
the shapes that are asked for: TensorFlow's own inference then says what all others become. A function that is called
many times with the same shapes, as that of a transformer block is, is looked at once.
"""

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

# Outputs are their first input under another name, or nothing.
_ALIASES = (
    "Identity",
    "IdentityN",
    "Reshape",
    "ReadVariableOp",
    "StopGradient",
    "PreventGradient",
    "Squeeze",
    "ExpandDims",
    "Placeholder",
    "Const",
    "NoOp",
)
# Their outputs cannot take the place of an input.
_NEEDS_INPUTS = (
    "MatMul",
    "BatchMatMulV2",
    "Einsum",
    "Transpose",
    "ConcatV2",
    "Pad",
    "PadV2",
    "GatherV2",
    "ResourceGather",
    "Tile",
    "Slice",
    "StridedSlice",
    "StridedSliceGrad",
    "UnsortedSegmentSum",
)
# They are computed as soon as their input is there, and do not keep it.
_SHAPES = ("Shape", "ShapeN", "Size", "Rank")
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_LOOPS = ("While", "StatelessWhile")
# Numbers that may be sizes are carried into functions and out of them.
_MAX_SIZES = 16


def estimate_peak(graph: Any, unknown: int, shapes: Sequence[Sequence[int]] = ()) -> int:
    """Bytes that the tensors of a graph need at once, at most.

    Inputs and variables are there already and do not count. Operations that nothing needs are left out, as TensorFlow
    leaves them out.

    Args:
        graph: a `FuncGraph`.
        unknown: bytes of a tensor of rank 2 or more whose size is decided while it is computed.
        shapes: of the first inputs; the others have their own.
    """
    inputs = [tensor.shape for tensor in graph.inputs]
    inputs[: len(shapes)] = [tf.TensorShape(shape) for shape in shapes]
    return _Estimator(unknown).estimate(graph, inputs, [None] * len(inputs), frozenset(range(len(graph.outputs)))).peak


def count_operations(graph: Any) -> int:
    """Operations of a graph, and of its functions as often as they are called: what TensorFlow keeps once it has inlined them."""
    return _count(graph, frozenset(range(len(graph.outputs))), _Used(), {})


def _count(graph: Any, wanted: frozenset[int], used: "_Used", known: dict[Any, int]) -> int:
    key = graph, wanted
    if key not in known:
        operations, tensors, _ = used.find(graph, wanted)
        known[key] = len(operations) + sum(
            _count(inner, _list_wanted(operation, tensors), used, known)
            for operation in operations
            for inner in _list_functions(operation)
        )
    return known[key]


@dataclasses.dataclass(frozen=True)
class _Need:
    """What a function needs.

    Attributes:
        peak: bytes at once.
        sizes: bytes of each output that is a tensor of its own.
        sources: for each output, the number of the input that it is under another name; None: it is its own.
        shapes: of the outputs.
        values: of outputs that are a few numbers known before anything is computed.
    """

    peak: int
    sizes: list[int]
    sources: list[int | None]
    shapes: list[Any]
    values: list[Any]


class _Estimator:
    def __init__(self, unknown: int) -> None:
        self._unknown = unknown
        self._used = _Used()
        self._known: dict[Any, _Need] = {}

    def estimate(self, graph: Any, shapes: Sequence[Any], values: Sequence[Any], wanted: frozenset[int]) -> _Need:
        """What a graph needs on inputs of these shapes (of inputs that are sizes, the values) for the outputs that are wanted."""
        key = graph, str(shapes), str(values), wanted
        if key not in self._known:
            self._known[key] = self._estimate(graph, shapes, values, wanted)
        return self._known[key]

    def _estimate(self, graph: Any, shapes: Sequence[Any], values: Sequence[Any], wanted: frozenset[int]) -> _Need:
        operations, read, held = self._used.find(graph, wanted)
        inferred, needs = self._infer(graph, operations, read, shapes, values)
        root: dict[Any, Any] = {}  # of a tensor: the one whose memory it is in
        last_use: dict[Any, int] = {}
        for number, operation in enumerate(operations):
            inputs = [root.get(tensor.ref()) for tensor in operation.inputs]  # None: what makes it is not needed
            for index, tensor in enumerate(operation.outputs):
                source = _find_alias(operation, index, needs.get(operation), inferred)
                root[tensor.ref()] = tensor.ref() if source is None else inputs[source]
            for tensor, used in zip(operation.inputs, inputs, strict=True):
                if tensor.ref() in held[operation]:
                    last_use[used] = number
        outputs = [tensor for i, tensor in enumerate(graph.outputs) if i in wanted]
        pinned = {root[tensor.ref()] for tensor in outputs}
        ending = collections.defaultdict(list)
        for used, number in last_use.items():
            if used not in pinned:
                ending[number].append(used)

        live: dict[Any, int] = {}
        total = peak = 0
        for number, operation in enumerate(operations):
            free = [] if operation.type in _NEEDS_INPUTS else [r for r in ending[number] if r in live]
            own = 0
            if operation.type not in _ALIASES:
                for index, tensor in enumerate(operation.outputs):
                    if root[tensor.ref()] != tensor.ref():
                        continue
                    need = needs.get(operation) if operation.type in _CALLS else None
                    size = need.sizes[index] if need else self._get_size(tensor.dtype, inferred[tensor.ref()].shape)
                    taken = next((r for r in free if live[r] >= size), None)
                    if taken is not None and need is None:
                        free.remove(taken)
                        total -= live.pop(taken)
                    live[tensor.ref()] = size
                    total += size
                    own += size
            inner = needs[operation].peak if operation in needs else 0
            # What a called function returns, it has counted too.
            peak = max(peak, total + max(inner - (own if operation.type in _CALLS else 0), 0))
            for used in ending[number]:
                total -= live.pop(used, 0)
            for tensor in operation.outputs:  # that nothing reads
                if root[tensor.ref()] == tensor.ref() and tensor.ref() not in last_use and tensor.ref() not in pinned:
                    total -= live.pop(tensor.ref(), 0)
        places = {tensor.ref(): number for number, tensor in enumerate(graph.inputs)}
        seen: set[Any] = set()
        sizes, sources = [], []
        for number, tensor in enumerate(graph.outputs):
            own_root = root.get(tensor.ref()) if number in wanted else None
            sources.append(places.get(own_root))
            sizes.append(0 if own_root in seen else live.get(own_root, 0))
            seen.add(own_root)
        found = [
            inferred[tensor.ref()] if number in wanted else _Tensor(None) for number, tensor in enumerate(graph.outputs)
        ]
        return _Need(
            peak, sizes, sources, [tensor.shape for tensor in found], [_evaluate(tensor.copy) for tensor in found]
        )

    def _infer(
        self, graph: Any, operations: Sequence[Any], read: Any, shapes: Sequence[Any], values: Sequence[Any]
    ) -> tuple[dict[Any, "_Tensor"], dict[Any, _Need]]:
        """All tensors with their inferred shapes, and what the functions need."""
        inferred: dict[Any, _Tensor] = {}
        needs: dict[Any, _Need] = {}
        given = {tensor.ref(): pair for tensor, *pair in zip(graph.inputs, shapes, values, strict=True)}
        with tf.Graph().as_default() as new:
            for operation in operations:
                inputs = [inferred.get(tensor.ref()) or _Tensor(tensor.shape) for tensor in operation.inputs]
                is_call = operation.type in _CALLS
                if is_call or operation.type in _LOOPS:
                    inner = _list_functions(operation)[-1]
                    known = [_evaluate(tensor.copy) for tensor in inputs]  # of what a loop changes, at its start
                    wanted = _list_wanted(operation, read)
                    needs[operation] = self.estimate(inner, [tensor.shape for tensor in inputs], known, wanted)
                if all(map(_is_plain, operation.outputs)) or not _can_be_copied(operation):
                    for index, tensor in enumerate(operation.outputs):
                        shape, value = given.get(tensor.ref(), (tensor.shape, None))
                        if is_call:
                            shape, value = needs[operation].shapes[index], needs[operation].values[index]
                        elif operation.type in _LOOPS:
                            shape = inputs[index].shape
                        inferred[tensor.ref()] = _Tensor(
                            shape, None if value is None else tf.constant(value, tensor.dtype)
                        )
                    continue
                attributes = {key: value for key, value in operation.node_def.attr.items() if not key.startswith("_")}
                built = new._create_op_internal(
                    operation.type,
                    [tensor.get_copy(old.dtype) for old, tensor in zip(operation.inputs, inputs, strict=True)],
                    [tensor.dtype for tensor in operation.outputs],
                    attrs=attributes,
                    op_def=operation.op_def,
                    compute_device=False,
                )
                for old, tensor in zip(operation.outputs, built.outputs, strict=True):
                    inferred[old.ref()] = _Tensor(tensor.shape, tensor)
        return inferred, needs

    def _get_size(self, dtype: Any, shape: Any) -> int:
        if dtype.name in ("resource", "variant", "string"):
            return 0
        if shape.num_elements() is None:
            return self._unknown if shape.rank is None or shape.rank > 1 else 0
        return shape.num_elements() * dtype.size


class _Used:
    """Which operations and tensors outputs depend on; those of functions count if what the function is wanted for needs them."""

    def __init__(self) -> None:
        self._inputs: dict[Any, tuple[set[int], set[int]]] = {}

    def find(self, graph: Any, wanted: frozenset[int]) -> tuple[list[Any], dict[Any, set[Any]], dict[Any, set[Any]]]:
        """The operations in their order, and of each the inputs that it reads, and those that have to be kept until then.

        Inputs of the graph are there always.
        """
        kept = {tensor.op for tensor in graph.inputs} | set(graph.control_outputs)
        tensors = {tensor.ref() for number, tensor in enumerate(graph.outputs) if number in wanted}
        values = set(tensors)  # of which more than the shape is needed
        read: dict[Any, set[Any]] = {}
        held: dict[Any, set[Any]] = {}
        for operation in reversed(graph.get_operations()):
            outputs = {tensor.ref() for tensor in operation.outputs}
            if operation in kept or outputs & tensors:
                read[operation] = held[operation] = {tensor.ref() for tensor in operation.inputs}
                if operation.type in _CALLS:
                    inner = _list_functions(operation)[0]
                    of_call = frozenset(i for i, tensor in enumerate(operation.outputs) if tensor.ref() in tensors)
                    read[operation], held[operation] = (
                        {operation.inputs[number].ref() for number in numbers}
                        for numbers in self._find_inputs(inner, of_call)
                    )
                elif operation.type in _SHAPES or (operation.type in _ALIASES and not outputs & values):
                    held[operation] = set()
                tensors |= read[operation]
                values |= held[operation]
                kept |= set(operation.control_inputs)
        read["all"], held["all"] = tensors, values
        return [operation for operation in graph.get_operations() if operation in read], read, held

    def _find_inputs(self, graph: Any, wanted: frozenset[int]) -> tuple[set[int], set[int]]:
        """Numbers of the inputs that are read, and of those that have to be kept."""
        key = graph, wanted
        if key not in self._inputs:
            _, read, held = self.find(graph, wanted)
            read_inputs, held_inputs = (
                {i for i, tensor in enumerate(graph.inputs) if tensor.ref() in found["all"]} for found in (read, held)
            )
            self._inputs[key] = read_inputs, held_inputs
        return self._inputs[key]


class _Tensor:
    """A tensor of a known shape, which becomes one of the graph of shapes only if an operation there asks for it."""

    def __init__(self, shape: Any, copy: Any = None) -> None:
        self.shape, self.copy = shape, copy

    def get_copy(self, dtype: Any) -> Any:
        if self.copy is None:
            self.copy = tf.compat.v1.placeholder(dtype, self.shape)
        return self.copy


def _can_be_copied(operation: Any) -> bool:
    """Whether shapes are inferred from those of inputs alone, without variables or functions."""
    reads_variable = any(tensor.dtype == tf.resource for tensor in operation.inputs)
    calls = any(value.HasField("func") for value in operation.node_def.attr.values())
    return operation.type != "Placeholder" and not reads_variable and not calls


def _is_plain(tensor: Any) -> bool:
    """Whether there is nothing to find out: its shape is known, and it is no size."""
    return tensor.shape.is_fully_defined() and not _may_be_size(tensor)


def _may_be_size(tensor: Any) -> bool:
    """Whether it may be a few sizes; floating-point ones too, which is how positions are counted for rotary embeddings."""
    count = tensor.shape.num_elements() if tensor.shape.rank in (0, 1) else None
    return (tensor.dtype.is_integer or tensor.dtype.is_floating) and count is not None and count <= _MAX_SIZES


def _find_alias(operation: Any, index: int, need: _Need | None, inferred: dict[Any, "_Tensor"]) -> int | None:
    """Which input an output is, under another name."""
    if operation.type == "IdentityN":
        return index
    if operation.type in _ALIASES:
        return 0 if len(operation.inputs) else None
    if operation.type == "Transpose":  # nothing is moved where each dimension stays
        order = _evaluate(inferred[operation.inputs[1].ref()].copy)
        return 0 if order == list(range(len(order or ()))) and order else None
    if operation.type in _LOOPS:
        body = _list_functions(operation)[-1]
        return index if body.outputs[index] is body.inputs[index] else None
    return need.sources[index] if need else None


def _list_functions(operation: Any) -> list[Any]:
    """The graphs of the functions that an operation calls."""
    names = ["f"] if operation.type in _CALLS else ["cond", "body"] if operation.type in _LOOPS else []
    return [operation.graph._get_function(operation.get_attr(name).name).graph for name in names]


def _list_wanted(operation: Any, read: dict[Any, set[Any]]) -> frozenset[int]:
    """The outputs of an operation that are read; of a loop, all."""
    return frozenset(i for i, t in enumerate(operation.outputs) if operation.type in _LOOPS or t.ref() in read["all"])


def _evaluate(tensor: Any) -> Any:
    """The values of a few numbers, where they follow from shapes; else None."""
    if tensor is None or not _may_be_size(tensor):
        return None
    from tensorflow.python.client import pywrap_tf_session

    with tensor.graph._c_graph.get() as c_graph:
        value = pywrap_tf_session.TF_TryEvaluateConstant_wrapper(c_graph, tensor._as_tf_output())
    return None if value is None else value.tolist()
