"""Ids of the start, end and padding tokens, as the configs name them."""

from collections.abc import Mapping, Sequence
from typing import Any


def list_token_ids(tokenizer: Any, end_token_ids: Sequence[int] = ()) -> dict[str, Any]:
    """Returns `bos_token_id`, `eos_token_id` and `pad_token_id`, so far as there are any.

    Args:
        tokenizer: KerasHub's.
        end_token_ids: All that end a generation; empty for the tokenizer's own.
    """
    ends = list(end_token_ids)
    if not ends:
        found = (getattr(tokenizer, name, None) for name in ("end_token_id", "end_token2_id"))
        ends = list(dict.fromkeys(int(end) for end in found if end is not None))
    start = getattr(tokenizer, "start_token_id", None)
    token_ids: dict[str, Any] = {}
    if start is not None:
        token_ids["bos_token_id"] = int(start)
    if ends:
        token_ids["eos_token_id"] = ends[0] if len(ends) == 1 else ends
        # KerasHub pads with 0 where there is no token for it, which may be any token: an end token is what others take.
        pad = tokenizer.pad_token_id if getattr(tokenizer, "pad_token", None) else ends[0]
        token_ids["pad_token_id"] = int(pad)
    return token_ids


def make_generation_config(publisher: Mapping[str, Any], token_ids: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `generation_config.json`: the publisher's, with all end tokens.

    Args:
        publisher: The publisher's; empty if there is none.
        token_ids: See `list_token_ids`.
    """
    config = {**token_ids, **publisher}
    if "eos_token_id" in token_ids:
        stated, own = (_as_list(ends) for ends in (publisher.get("eos_token_id"), token_ids["eos_token_id"]))
        ends = list(dict.fromkeys([*stated, *own]))
        config["eos_token_id"] = ends[0] if len(ends) == 1 else ends
    return config


def _as_list(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list) else [value]
