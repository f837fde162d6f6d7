"""Faults of KerasHub 0.32 on the way from a Hugging Face folder to a model, to a preset and back, mended in place.

Presets keep KerasHub's own class names. Each mend has a test in tests/components/models/test_mends.py that fails once KerasHub
has mended the fault itself: the mend can go then.
"""

import functools

from components.models import backbones, converters, tokenizers


@functools.cache
def mend_keras_hub() -> None:
    """Mends KerasHub for this process, once; whoever calls `from_preset` calls this before."""
    converters.mend()
    backbones.mend()
    tokenizers.mend()
