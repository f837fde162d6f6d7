"""Loading a causal language model from a preset: KerasHub's own, or a folder in Hugging Face's layout."""

from pathlib import Path

import keras
import keras_hub

from components.errors import UserError
from components.models.mends import mend_keras_hub
from components.models.publisher_files import remember_publisher_files
from components.presets.hugging_face import inspect_folder
from components.presets.side_files import is_hugging_face_folder
from components.presets.tokenizer_files import stands_for_text


def load_causal_lm(source: str, preset: str, dtype: str) -> keras_hub.models.CausalLM:
    """Loads a causal language model with its tokenizer; `save_preset` then writes its publisher's files too.

    Args:
        source: A folder, or a name or handle that KerasHub downloads.
        preset: What the user calls it, for messages.
        dtype: Dtype or mixed policy of the layers.

    Raises:
        UserError: It cannot be loaded; the message says what to do.
    """
    mend_keras_hub()
    is_folder = "://" not in source and source not in keras_hub.models.CausalLM.presets
    if is_folder:
        check_folder(source, preset)
    model = _call_keras_hub(source, preset, dtype, is_folder)
    check_vocabulary(model, preset)
    if is_folder:
        remember_publisher_files(model, source)
    return model


def check_folder(source: str, preset: str) -> None:
    """Checks that a folder is a preset, complete as far as can be seen without loading it.

    Raises:
        UserError: It is not; `preset` is what the message calls it.
    """
    folder = Path(source)
    if not folder.is_dir():
        raise UserError(
            f"model.preset must be a built-in name, an hf:// or kaggle:// handle, or an existing folder (relative to "
            f"where you run). Received: {preset!r}, which is none of them. Built-in names stand in "
            "https://keras.io/keras_hub/presets."
        )
    if is_hugging_face_folder(folder):
        if problems := inspect_folder(folder).problems:
            raise UserError(f"model.preset: the folder {preset} cannot be loaded. " + " ".join(problems))
        return
    names = {path.name for path in folder.iterdir()}
    if "config.json" not in names:
        raise UserError(
            f"model.preset: the folder {preset} must be a preset. Missing: config.json. "
            "Write one with `model.save_to_preset(folder)`."
        )
    if not any(name.endswith((".weights.h5", ".weights.json")) for name in names):
        raise UserError(
            f"model.preset: the folder {preset} has no weights (model.weights.h5, or *.safetensors beside a config.json with "
            "`model_type`). If it comes from Git LFS, run `git lfs pull`."
        )


def check_vocabulary(model: keras_hub.models.CausalLM, preset: str) -> None:
    """Checks that the model has an embedding for each id of its tokenizer.

    Raises:
        UserError: It has not: the tokenizer is another model's.
    """
    tokenizer = getattr(model.preprocessor, "tokenizer", None)
    size = getattr(model.backbone, "vocabulary_size", None)
    if tokenizer is None or size is None:
        return
    ids = getattr(tokenizer, "vocabulary", None) or {token: i for i, token in enumerate(tokenizer.get_vocabulary())}
    beyond = [number for token, number in ids.items() if number >= size and stands_for_text(token)]
    if beyond:
        raise UserError(
            f"model.preset: the tokenizer of {preset} must have ids below {size}, for which the model has embeddings. Its largest is "
            f"{max(beyond)}. The tokenizer is another model's: take the one that the model was published with."
        )


def _call_keras_hub(source: str, preset: str, dtype: str, is_folder: bool) -> keras_hub.models.CausalLM:
    try:
        return keras_hub.models.CausalLM.from_preset(source, dtype=dtype)
    except UserError as error:
        raise UserError(f"model.preset: {preset} cannot be loaded: {error}") from error
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
                "Write it again with `model.save_to_preset(folder)`, or, in Hugging Face's layout, download it again."
            ) from error
        raise UserError(
            f"model.preset: {preset} could not be downloaded or is not a KerasHub or Hugging Face model "
            f"({type(error).__name__}: {error}). Check the name, the network and your access (gated models need "
            "KAGGLE_KEY or HF_TOKEN), or download it elsewhere and give the folder's path."
        ) from error
