"""`config.json`: the publisher's, checked against the model, or one that is made from the model."""

from collections.abc import Mapping
from typing import Any

from components.errors import UserError
from components.export.hugging_face import rope
from components.export.hugging_face.families.family import Family

# What older versions wrote of the same things, and what is written anew.
_DROPPED = (
    *rope.KEYS,
    "sliding_window_pattern",
    "_sliding_window_pattern",
    "torch_dtype",
    "dtype",
    "quantization_config",
)
# Names of one function, as loading takes them.
_SAME = (("silu", "swish"), ("gelu_new", "gelu_pytorch_tanh", "gelu_fast"))


def make_config(
    family: Family, backbone: Any, publisher: Mapping[str, Any], token_ids: Mapping[str, Any], dtype: str
) -> dict[str, Any]:
    """Returns the config of a model.

    Args:
        family: The backbone's.
        backbone: The model's.
        publisher: The config of the model that this one was tuned from; empty if there is none.
        token_ids: `bos_token_id` and the like, for keys that the publisher's config does not state.
        dtype: Of the weights that are written.

    Raises:
        UserError: The publisher's config states another number than the model computes with.
    """
    numbers = family.list_numbers(backbone)
    rewritten = family.list_rewritten(backbone)
    different = {
        name: (publisher[name], value) for name, value in numbers.items() if not _agree(name, value, publisher)
    }
    stated = rope.read_rope(publisher)
    own = rewritten.get("rope_parameters", {})
    different |= {name: (stated[name], own[name]) for name in own if name in stated and stated[name] != own[name]}
    if different:
        told = "; ".join(f"{name}: {theirs} there, {ours} in the model" for name, (theirs, ours) in different.items())
        raise UserError(
            f"the publisher's config.json beside the preset must say what the model computes. {told}. If the model was changed on "
            "purpose, remove that file from the preset's folder `hugging_face`; one is then made from the model."
        )
    kept = {name: value for name, value in publisher.items() if name not in _DROPPED}
    # Both names: transformers 5 writes the first, older readers know the second.
    precision = {"dtype": dtype, "torch_dtype": dtype}
    return {**family.list_defaults(backbone), **token_ids, **kept, **numbers, **rewritten, **precision}


def _agree(name: str, value: Any, publisher: Mapping[str, Any]) -> bool:
    if name not in publisher or name == "architectures":
        return True
    stated = publisher[name]
    # What is left open there has transformers' own rule, which the model follows.
    is_left_open = stated is None and name in ("head_dim", "num_key_value_heads")
    return is_left_open or stated == value or any(stated in names and value in names for names in _SAME)
