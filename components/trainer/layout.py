"""How a model's weights are cut over the `model` axis of a mesh of devices (JAX backend, `model_parallel`)."""

import keras

from components.errors import UserError

# For backbones without a layout map of their own that are stacks of keras_hub.layers.TransformerDecoder. The cut of
# Megatron-LM (Shoeybi et al., arXiv 1909.08053): heads and the inner width of the feed-forward are divided, so that a layer
# needs two sums over devices. A key must match a whole path, so LoRA's thin matrices stay whole.
_TRANSFORMER_DECODER = {
    ".*token_embedding/embeddings": ("model", None),
    ".*/self_attention/(query|key|value)/kernel": (None, "model", None),  # (width, heads, head_dim)
    ".*/self_attention/(query|key|value)/bias": ("model", None),
    ".*/self_attention/attention_output/kernel": ("model", None, None),  # (heads, head_dim, width)
    ".*/feedforward_intermediate_dense/kernel": (None, "model"),
    ".*/feedforward_intermediate_dense/bias": ("model",),
    ".*/feedforward_output_dense/kernel": ("model", None),
}
_DECODER_STACKS = ("GPT2Backbone", "OPTBackbone")


def make_layout_map(backbone: type, mesh: keras.distribution.DeviceMesh) -> keras.distribution.LayoutMap:
    """Makes the layout map of a family of models.

    Args:
        backbone: the class of the model's backbone.
        mesh: with axes `batch` and `model`.

    Raises:
        UserError: there is no layout for this family.
    """
    own = getattr(backbone, "get_layout_map", None)
    if own is not None:
        return own(mesh)
    if backbone.__name__ not in _DECODER_STACKS:
        raise UserError(
            f"train.strategy model_parallel has no layout for {backbone.__name__}. There are layouts for "
            f"{', '.join(_DECODER_STACKS)} and the KerasHub backbones with a `get_layout_map` (Gemma, Llama, Qwen and "
            "others). Use data_parallel."
        )
    layout = keras.distribution.LayoutMap(mesh)
    for path, axes in _TRANSFORMER_DECODER.items():
        layout[path] = axes
    return layout
