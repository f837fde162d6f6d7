"""What TensorFlow and Keras read from the environment when they start."""

import os
import sys
import tempfile

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


def load_tensorflow_silently() -> None:
    """Imports TensorFlow and lets it look for devices, of which it tells on standard error whatever the level of its log.

    What it said is printed all the same if it fails.
    """
    silence_tensorflow()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as said:
        stderr = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_logical_devices()
        except BaseException:
            said.seek(0)
            os.write(stderr, said.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
