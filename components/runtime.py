"""What TensorFlow and Keras read from the environment when they start."""

import os

DEFAULTS = {
    "KERAS_BACKEND": "tensorflow",
    # TensorFlow keeps the memory of a step on CPUs for the next step. Without it a large array is asked of the system, page by
    # page, and given back every time: a tenth of a step of GPT-2 and more.
    "TF_CPU_ALLOCATOR_USE_BFC": "1",
}


def set_defaults() -> None:
    """Sets what the user has not set; to be called before TensorFlow is imported. The Dockerfile has the same."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)


def silence_tensorflow() -> None:
    """For commands whose output people read; to be called before TensorFlow is imported.

    What it prints on its own, such as that there is no GPU, is no answer; errors come as exceptions.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
