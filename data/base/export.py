"""Write the base preset: small files, and either the whole new preset or the old one."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import keras_hub

from data.base.card import make_card


def halve_weights(path: Path) -> None:
    """Rewrite a weights file with its float32 arrays as float16. Keras casts them back to the model's dtype on loading."""
    halved = path.with_suffix(".half.h5")
    with h5py.File(path, "r") as source, h5py.File(halved, "w") as target:

        def copy(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                is_float = item.dtype == "float32"
                copied = target.create_dataset(name, data=item[()].astype("float16") if is_float else item[()])
            else:
                copied = target.require_group(name)
            for key, value in item.attrs.items():
                copied.attrs[key] = value

        for key, value in source.attrs.items():
            target.attrs[key] = value
        source.visititems(copy)
    halved.replace(path)


def replace_folder(new: Path, target: Path) -> None:
    """Put the folder `new` in the place of `target`. Both must be on one file system."""
    if target.exists():
        old = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.old."))
        target.rename(old / "replaced")
        new.rename(target)
        shutil.rmtree(old)
    else:
        new.rename(target)


def export_preset(backbone: Any, tokenizer: Any, record: Mapping[str, Any], target: Path) -> None:
    """Save a causal LM preset with float16 weights on disk and float32 as its dtype.

    Args:
        backbone: A trained `GPT2Backbone`, of any dtype policy with float32 variables.
        tokenizer: Its `GPT2Tokenizer`.
        record: How it was trained; written to `training.json` and to the model card.
        target: Preset folder; replaced as a whole.
    """
    config = {**backbone.get_config(), "dtype": "float32"}
    exported = keras_hub.models.GPT2Backbone.from_config(config)
    exported.set_weights(backbone.get_weights())
    preprocessor = keras_hub.models.GPT2CausalLMPreprocessor(tokenizer, sequence_length=backbone.max_sequence_length)
    model = keras_hub.models.GPT2CausalLM(backbone=exported, preprocessor=preprocessor)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.new."))
    try:
        model.save_to_preset(str(temporary))
        for weights in temporary.glob("*.weights.h5"):
            halve_weights(weights)
        (temporary / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        (temporary / "README.md").write_text(make_card(record, config), encoding="utf-8")
        os.chmod(temporary, 0o755)
        replace_folder(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
