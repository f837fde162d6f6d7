"""How much memory a TensorFlow graph needs: sizes of the tensors that live at once, in the order in which it was built."""

import collections
from typing import Any

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
_FUNCTIONS = {"While": "body", "StatelessWhile": "body", "PartitionedCall": "f", "StatefulPartitionedCall": "f"}


def estimate_peak(graph: Any, unknown: int) -> int:
    """Bytes that the tensors of a graph need at once, at most.

    Inputs and variables are there already and do not count. Operations that nothing needs are left out, as TensorFlow
    leaves them out.

    Args:
        graph: a `FuncGraph`.
        unknown: bytes of a tensor of rank 2 or more whose size is decided while it is computed.
    """
    operations = _list_needed(graph)
    root: dict[Any, Any] = {}  # of a tensor: the one whose memory it is in
    last_use: dict[Any, int] = {}
    for number, operation in enumerate(operations):
        inputs = [root[tensor.ref()] for tensor in operation.inputs]
        for index, tensor in enumerate(operation.outputs):
            source = _find_alias(operation, index)
            root[tensor.ref()] = tensor.ref() if source is None else inputs[source]
        for used in inputs:
            last_use[used] = number
    pinned = {root[tensor.ref()] for tensor in graph.outputs}
    ending = collections.defaultdict(list)
    for used, number in last_use.items():
        if used not in pinned:
            ending[number].append(used)

    live: dict[Any, int] = {}
    total = peak = 0
    for number, operation in enumerate(operations):
        free = [] if operation.type in _NEEDS_INPUTS else [r for r in ending[number] if r in live]
        if operation.type not in _ALIASES:
            for tensor in operation.outputs:
                if root[tensor.ref()] != tensor.ref():
                    continue
                size = _get_size(tensor, unknown)
                taken = next((r for r in free if live[r] >= size), None)
                if taken is not None:
                    free.remove(taken)
                    total -= live.pop(taken)
                live[tensor.ref()] = size
                total += size
        peak = max(peak, total + _get_inner_peak(operation, unknown))
        for used in ending[number]:
            total -= live.pop(used, 0)
        for tensor in operation.outputs:  # that nothing reads
            if root[tensor.ref()] == tensor.ref() and tensor.ref() not in last_use and tensor.ref() not in pinned:
                total -= live.pop(tensor.ref(), 0)
    return peak


def _list_needed(graph: Any) -> list[Any]:
    needed, waiting = set(), [tensor.op for tensor in graph.outputs] + list(graph.control_outputs)
    while waiting:
        operation = waiting.pop()
        if operation not in needed:
            needed.add(operation)
            waiting += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
    return [operation for operation in graph.get_operations() if operation in needed]


def _find_alias(operation: Any, index: int) -> int | None:
    """Which input an output is, under another name."""
    if operation.type in _ALIASES:
        return 0 if len(operation.inputs) else None
    if operation.type in ("While", "StatelessWhile"):
        body = _get_function(operation).graph
        return index if body.outputs[index] is body.inputs[index] else None
    return None


def _get_function(operation: Any) -> Any:
    return operation.graph._get_function(operation.get_attr(_FUNCTIONS[operation.type]).name)


def _get_inner_peak(operation: Any, unknown: int) -> int:
    return estimate_peak(_get_function(operation).graph, unknown) if operation.type in _FUNCTIONS else 0


def _get_size(tensor: Any, unknown: int) -> int:
    if tensor.dtype.name in ("resource", "variant", "string"):
        return 0
    if tensor.shape.num_elements() is None:
        return unknown if tensor.shape.rank is None or tensor.shape.rank > 1 else 0
    return tensor.shape.num_elements() * tensor.dtype.size
