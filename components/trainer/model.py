"""The model that is tuned: loading it, and knowing it again."""

import hashlib
import inspect
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np

from components.errors import UserError
from components.local_copies import local_preset
from components.text.model_tokenizer import adopt_own_rules
from components.trainer.directories import whole_directory


def load_model(preset: str, dtype: str = "float32", seed: int = 0) -> keras_hub.models.CausalLM:
    """Loads a causal LM with its tokenizer.

    Args:
        preset: a KerasHub built-in name, an `hf://`, `kaggle://` or `modelscope://` handle, or a preset folder, local or in a
            bucket.
        dtype: dtype or mixed policy of the layers.
        seed: for whatever is drawn at random later (dropout, new weights); all generators are set.

    Raises:
        UserError: it cannot be loaded; the message says what to do.
    """
    keras.utils.set_random_seed(seed)
    with local_preset(preset) as source:
        model = _load(preset, source, dtype)
        adopt_own_rules(model.preprocessor.tokenizer, source)
    return model


def _load(preset: str, source: str, dtype: str) -> keras_hub.models.CausalLM:
    """Loads a preset from `source`, where it is now."""
    is_folder = "://" not in source and source not in keras_hub.models.CausalLM.presets
    if is_folder:
        _check_folder(source, preset)
    try:
        return keras_hub.models.CausalLM.from_preset(source, dtype=dtype)
    except Exception as error:  # every hub raises errors of its own kind
        distribution = keras.distribution.distribution()
        if distribution is not None and "divisible" in str(error):
            raise UserError(
                f"train.mesh: every weight that is cut must be divisible by its axis of {distribution.device_mesh}. "
                f"Received for {preset}: {error}. Set mesh.model to a divisor of the model's heads and vocabulary."
            ) from error
        if "Unable to find a subclass" in str(error) or "no class registered" in str(error):
            raise UserError(
                f"model.preset must be a causal language model that KerasHub knows. Received: {preset} ({error})"
            ) from error
        if is_folder:
            raise UserError(
                f"model.preset: the folder {preset} cannot be loaded ({type(error).__name__}: {error}). "
                "Write it again with `model.save_to_preset(folder)`."
            ) from error
        raise UserError(
            f"model.preset: {preset} could not be downloaded or is not a KerasHub or Hugging Face model "
            f"({type(error).__name__}: {error}). Check the name, the network and your access (gated models need "
            "KAGGLE_KEY or HF_TOKEN), or download it elsewhere and give the folder's path."
        ) from error


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

    Args:
        model: The model, with its preprocessor.
        directory: Where to; absent or empty.

    Raises:
        FileExistsError: If `directory` holds something.
    """
    with whole_directory(directory, last="config.json") as local:
        model.save_to_preset(local)


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


def _check_folder(source: str, preset: str) -> None:
    folder = Path(source)
    if not folder.is_dir():
        raise UserError(
            f"model.preset must be a built-in name, an hf:// or kaggle:// handle, or an existing folder (relative to "
            f"where you run). Received: {preset!r}, which is none of them. Built-in names stand in "
            "https://keras.io/keras_hub/presets."
        )
    names = {path.name for path in folder.iterdir()}
    if "config.json" not in names:
        raise UserError(
            f"model.preset: the folder {preset} must be a preset. Missing: config.json. "
            "Write one with `model.save_to_preset(folder)`."
        )
    if not any(name.endswith((".weights.h5", ".safetensors")) for name in names):
        raise UserError(
            f"model.preset: the folder {preset} has no weights (model.weights.h5 or *.safetensors). "
            "If it comes from Git LFS, run `git lfs pull`."
        )
