"""Rotary position embeddings as a `config.json` states them, under the names of transformers 4 and of transformers 5."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.presets.config_reader import ConfigReader

_LLAMA3_KEYS = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")


@dataclass(frozen=True)
class Rope:
    """How positions rotate queries and keys.

    Attributes:
        theta: The longest wavelength's base.
        factor: Positions are divided by it (`linear`); 1 where they are not.
        llama3: The four numbers of Llama 3.1's scaling, by their names; None without it.
    """

    theta: float
    factor: float = 1.0
    llama3: Mapping[str, float] | None = None


def read_rope(reader: ConfigReader, default_theta: float, allowed: tuple[str, ...]) -> Rope:
    """Reads `rope_theta` and `rope_scaling` (transformers 4) or `rope_parameters` (transformers 5).

    Args:
        reader: Of the file.
        default_theta: What transformers takes for this family.
        allowed: Kinds of scaling that KerasHub's layers have: `linear`, `llama3`.
    """
    old, new = reader.take("rope_scaling", {}), reader.take("rope_parameters", {})
    theta = reader.take("rope_theta", None)
    reader.expect("partial_rotary_factor", (1.0,), 1.0)
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        reader.reject(f"`rope_scaling` and `rope_parameters` must be objects. Received: {old!r}, {new!r}.")
        return Rope(default_theta)
    both = {"rope_theta": theta, **old} if theta is not None else dict(old)
    clashing = sorted(key for key in both.keys() & new.keys() if both[key] != new[key])
    if clashing:
        reader.reject(
            f"`rope_parameters` and `rope_scaling` or `rope_theta` must agree. They do not: {', '.join(clashing)}."
        )
    return parse_rope(reader, both | dict(new), default_theta, allowed)


def parse_rope(reader: ConfigReader, values: Mapping[str, Any], default_theta: float, allowed: tuple[str, ...]) -> Rope:
    """Makes a `Rope` of one object's values; see `read_rope`."""
    # Before transformers 4.43 `type`; files have both.
    kind = values.get("rope_type") or values.get("type") or "default"
    theta = reader.check_positive("rope_theta", values.get("rope_theta", default_theta))
    known = {"rope_type", "type", "rope_theta", "partial_rotary_factor"}
    if kind == "linear" and kind in allowed:
        known |= {"factor"}
        rope = Rope(theta, factor=reader.check_positive("factor", values.get("factor")))
    elif kind == "llama3" and kind in allowed:
        known |= set(_LLAMA3_KEYS)
        missing = [key for key in _LLAMA3_KEYS if key not in values]
        if missing:
            reader.reject(f"scaling of positions of the kind `llama3` must have {', '.join(missing)}.")
        rope = Rope(theta, llama3={key: reader.check_positive(key, values.get(key, 1.0)) for key in _LLAMA3_KEYS})
    else:
        if kind != "default":
            options = ", ".join(("default", *allowed))
            reader.reject(
                f"scaling of positions must be one of those that KerasHub's layers of this family have: {options}. "
                f"Received: {kind!r}."
            )
            return Rope(theta)
        rope = Rope(theta)
    if values.get("partial_rotary_factor", 1.0) != 1.0:
        reader.reject(f"`partial_rotary_factor` must be 1. Received: {values['partial_rotary_factor']!r}.")
    unknown = sorted(key for key in values.keys() - known if values[key] is not None)
    if unknown:
        reader.reject(
            f"has values for rotary embeddings of the kind `{kind}` that are not known: {', '.join(unknown)}."
        )
    return rope
