"""The formats that a tuned model can have, and what can be said of them without loading one."""

# By the names of `export.formats` and of the command `export`; also those of their folders in a Model artifact.
HUGGING_FACE, KERAS, SAVED_MODEL = "hf", "keras", "savedmodel"
FORMATS = (HUGGING_FACE, KERAS, SAVED_MODEL)

# What can be written for transformers: by KerasHub's backbones, by Hugging Face's `model_type`, and as readers know them.
BACKBONES = (
    "GPT2Backbone",
    "LlamaBackbone",
    "Llama3Backbone",
    "GemmaBackbone",
    "Gemma3Backbone",
    "MistralBackbone",
    "QwenBackbone",
    "Qwen3Backbone",
)
MODEL_TYPES = ("gpt2", "llama", "gemma", "gemma2", "gemma3_text", "mistral", "qwen2", "qwen3")
TITLES = ("Gemma", "Gemma 2", "Gemma 3 (text)", "GPT-2", "Llama", "Mistral", "Qwen 2", "Qwen 3")


def explain_families(received: str) -> str:
    """Returns why a model cannot be written for transformers.

    Args:
        received: What it is instead: the name of a backbone, or a `model_type`.
    """
    return (
        f"`{HUGGING_FACE}` is for models of a family that can be written for transformers: {', '.join(TITLES)}. "
        f"Received: {received}. The other formats, `{KERAS}` and `{SAVED_MODEL}`, are for all models."
    )
