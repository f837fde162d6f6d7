"""What every tuning method does: the interface between the trainer and `components/methods/`."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import keras_hub
    import numpy as np


class Method(Protocol):
    """A tuning method: a frozen keyword-only dataclass whose fields are its YAML options.

    The trainer calls `apply` once after loading the preset, trains what is then trainable, and calls `merge` once
    before export. Between the two, `adapter_weights` and `load_adapter` move the tuned weights to and from a file.
    """

    def __init__(self, **options: object) -> None: ...

    def apply(self, model: "keras_hub.models.CausalLM") -> None:
        """Freezes what stays as it is and adds what is trained; the model's outputs do not change."""

    def merge(self, model: "keras_hub.models.CausalLM") -> None:
        """Folds what was added into the base weights, in place.

        Afterwards the model has the architecture and weights structure of the preset again, and within rounding the
        outputs that it had before.
        """

    def adapter_weights(self, model: "keras_hub.models.CausalLM") -> "dict[str, np.ndarray]":
        """The weights that the method added, by stable name (layer path and role); {} where it adds none."""

    def load_adapter(self, model: "keras_hub.models.CausalLM", weights: "dict[str, np.ndarray]") -> None:
        """Sets the weights that `adapter_weights` gave; the method must have been applied to `model`.

        Raises:
            ValueError: names or shapes differ from those of `model`.
        """

    def count_trainable(self, model: "keras_hub.models.CausalLM") -> int:
        """How many parameters the method trains in `model`, from its formula and shapes alone."""
