"""The model that is tuned: loading it, and knowing it again."""

import hashlib
import inspect
from typing import Any

import keras
import keras_hub
import numpy as np

from components.errors import UserError
from components.local_copies import local_preset
from components.models.loading import load_causal_lm
from components.models.mends import mend_keras_hub
from components.models.saving import write_preset
from components.precision import resolve_dtype
from components.text.model_tokenizer import adopt_own_rules
from components.trainer.directories import whole_directory


def load_model(preset: str, dtype: str = "float32", seed: int = 0) -> keras_hub.models.CausalLM:
    """Loads a causal LM with its tokenizer.

    Args:
        preset: a KerasHub built-in name, an `hf://` or `kaggle://` handle, or a folder, local or in a bucket:
            a preset, or one in Hugging Face's layout.
        dtype: dtype or mixed policy of the layers; `auto` is what suits this machine.
        seed: for whatever is drawn at random later (dropout, new weights); all generators are set.

    Raises:
        UserError: it cannot be loaded; the message says what to do.
    """
    keras.utils.set_random_seed(seed)
    with local_preset(preset) as source:
        model = load_causal_lm(source, preset, resolve_dtype(dtype))
        adopt_own_rules(model.preprocessor.tokenizer, source)
    return model


def find_backbone_class(preset: str) -> type:
    """The class of a preset's backbone, without loading its weights."""
    from keras_hub.src.utils.preset_utils import get_preset_loader  # there is no public way

    with local_preset(preset, with_weights=False) as source:
        return get_preset_loader(source).check_backbone_class()


def read_max_positions(preset: str) -> int | None:
    """The tokens that a preset's model has positions for, without loading its weights; None where it does not say.

    Raises:
        UserError: the preset cannot be read.
    """
    from keras_hub.src.utils.preset_utils import get_preset_loader  # there is no public way

    mend_keras_hub()
    with local_preset(preset, with_weights=False) as source:
        try:
            loader = get_preset_loader(source)
            if (converter := getattr(loader, "converter", None)) is None:
                return loader.config["config"].get("max_sequence_length")
            given = (loader.config, loader.check_backbone_class())
            wanted = len(inspect.signature(converter.convert_backbone_config).parameters)
            return converter.convert_backbone_config(*given[:wanted]).get("max_sequence_length")
        except Exception as error:  # every hub and converter raises errors of its own kind
            raise UserError(
                f"model.preset: the configuration of {preset} cannot be read ({type(error).__name__}: {error}). Check the name, "
                "the folder, the network and your access."
            ) from error


def hash_weights(model: keras.Model) -> str:
    """sha256 over all weights by sorted path, with shape, dtype and bytes: hex digits.

    Two models of one architecture have the same hash exactly if they have the same weights.
    """
    digest = hashlib.sha256()
    for weight in sorted(model.weights, key=lambda weight: weight.path):
        value = keras.ops.convert_to_numpy(weight)
        digest.update(f"{weight.path} {value.shape} {value.dtype}\n".encode())
        digest.update(np.ascontiguousarray(value).view(np.uint8).data)
    return digest.hexdigest()


def save_preset(model: keras_hub.models.CausalLM, directory: str) -> None:
    """Writes the model as a preset folder for `keras_hub.models.CausalLM.from_preset`, whole or not at all.

    The files of its publisher (`components.presets.side_files`) go into `hugging_face/` there.

    Args:
        model: The model, with its preprocessor.
        directory: Where to; absent or empty.

    Raises:
        FileExistsError: If `directory` holds something.
    """
    with whole_directory(directory, last="config.json") as local:
        write_preset(model, local)


def list_generators(layer: keras.layers.Layer) -> list[Any]:
    """Variables that hold the state of random generators (dropout): all that are neither weights nor metrics."""
    known = {id(variable) for variable in [*layer.weights, *layer.metrics_variables]}
    return [variable for variable in layer.variables if id(variable) not in known]


def count_parameters(variables: list[Any]) -> int:
    """Number of scalars in `variables`."""
    return sum(int(np.prod(variable.shape)) for variable in variables)


def check_max_length(model: keras_hub.models.CausalLM, max_length: int) -> None:
    """Checks that the model has positions for `max_length` tokens.

    Raises:
        UserError: it has fewer.
    """
    longest = getattr(model.backbone, "max_sequence_length", None)
    if longest is not None and max_length > longest:
        raise UserError(
            f"text.max_length must be at most {longest}, the positions of {type(model).__name__}. Received: {max_length}."
        )


def get_pad_token_id(model: keras_hub.models.CausalLM) -> int:
    """The tokenizer's padding token; 0 where there is none (padding never counts)."""
    tokenizer = getattr(model.preprocessor, "tokenizer", None)
    return int(getattr(tokenizer, "pad_token_id", None) or 0)
