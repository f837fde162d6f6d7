"""The functions by which a model is asked: those of its SavedModel, or of a preset that is loaded for the purpose."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

from components.trainer.model_card import find_saved_model, read_reference


def load_functions(model_uri: str) -> Mapping[str, Callable[..., dict[str, Any]]]:
    """Returns the signatures of a model by name; each takes its tensors by name and returns a dict of tensors.

    An untouched preset computes what its SavedModel would: the same functions, without being written and read. Only those that
    are called are traced.

    Args:
        model_uri: A Model artifact's, or the folder of a pushed model.

    Raises:
        UserError: A preset cannot be loaded.
    """
    # Imported by the workers, not where the pipeline is only wired.
    reference = read_reference(model_uri)
    if reference is None:
        import tensorflow as tf
        import tensorflow_text as _  # noqa: F401  Its operations are in the exported models.

        return tf.saved_model.load(find_saved_model(model_uri)).signatures
    return load_preset_functions(reference["model"], reference["text"], reference["card"]["generation"])


def load_preset_functions(
    model: Mapping[str, Any], text: Mapping[str, Any], generation: Mapping[str, Any]
) -> Mapping[str, Callable[..., dict[str, Any]]]:
    """Returns the signatures of a preset as it is.

    Args:
        model: `preset` and `dtype` of a run's `model` section.
        text: The run's `text` section, with its `max_length`.
        generation: The run's `generation` section.

    Raises:
        UserError: It cannot be loaded, or the lengths do not fit it.
    """
    from components.trainer.model import load_model
    from components.trainer.signatures import ServingModule

    loaded = load_model(model["preset"], model["dtype"])
    module = ServingModule(loaded, text, generation, stack=True, move=True)
    return {name: functools.partial(_call, module, function) for name, function in module.signatures().items()}


def _call(module: Any, function: Callable[..., dict[str, Any]], **inputs: Any) -> dict[str, Any]:
    # A method of TensorFlow's knows its object weakly: whoever holds the function holds the module.
    return function(**inputs)
