"""Reads a `config.json` of Hugging Face key by key, so that nothing in it is dropped unseen."""

import math
from collections.abc import Mapping
from typing import Any

# Keys that no mathematics of a causal language model depends on: names, sizes of windows that only the caller minds, ids, how it was
# initialised, what transformers should return. `dtype` is that of the files, which say it themselves.
_IGNORED = {
    "_attn_implementation_autoset",
    "_from_model_config",
    "_name_or_path",
    "architectures",
    "begin_suppress_tokens",
    "bos_token_id",
    "cache_implementation",
    "chunk_size_feed_forward",
    "decoder_start_token_id",
    "dtype",
    "eos_token_id",
    "finetuning_task",
    "gradient_checkpointing",
    "id2label",
    "initializer_range",
    "is_decoder",
    "keys_to_ignore_at_inference",
    "label2id",
    "max_position_embeddings",
    "model_type",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "prefix",
    "problem_type",
    "return_dict",
    "sep_token_id",
    "suppress_tokens",
    "task_specific_params",
    "tokenizer_class",
    "torch_dtype",
    "transformers_version",
    "unk_token_id",
    "use_cache",
}
# Of transformers 4, for generation: the same values that a generation config has.
_IGNORED |= {
    "bad_words_ids",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "length_penalty",
    "max_length",
    "min_length",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_scores",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict_in_generate",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
}
_MISSING = object()


class ConfigReader:
    """A `config.json` and what was read of it.

    Attributes:
        problems: What is wrong with it, each a sentence that names the key.
    """

    def __init__(self, config: Mapping[str, Any]):
        self._config = config
        self._read: set[str] = set()
        self.problems: list[str] = []

    def take(self, key: str, default: Any = _MISSING) -> Any:
        """Returns a value; without a default, a key that is missing is a problem, and 1 stands for it."""
        self._read.add(key)
        value = self._config.get(key)
        if value is not None:
            return value
        if default is _MISSING:
            self.problems.append(f"must have `{key}`, and it is missing.")
            return 1
        return default

    def take_flag(self, key: str, default: bool) -> bool:
        """Returns true or false; anything else is a problem."""
        value = self.take(key, default)
        if not isinstance(value, bool):
            self.problems.append(f"`{key}` must be true or false. Received: {value!r}.")
            return default
        return value

    def take_nullable_count(self, key: str, default: int | None) -> int | None:
        """Returns a whole number above 0 or None: null has a meaning of its own, and the default is that of a missing key."""
        self._read.add(key)
        return None if self._config.get(key, default) is None else self.take_count(key, default)

    def take_nullable_positive(self, key: str, default: float | None) -> float | None:
        """As `take_nullable_count`, of any number above 0."""
        self._read.add(key)
        return None if self._config.get(key, default) is None else self.take_positive(key, default)

    def take_count(self, key: str, default: Any = _MISSING) -> int:
        """Returns a whole number above 0; anything else is a problem."""
        value = self.take(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            self.problems.append(f"`{key}` must be a whole number above 0. Received: {value!r}.")
            return 1
        return value

    def take_number(self, key: str, default: Any = _MISSING) -> float:
        """Returns a number of 0 or more; anything else is a problem."""
        value = self.take(key, default)
        if not (_is_number(value) and 0 <= value < math.inf):
            self.problems.append(f"`{key}` must be a number of 0 or more. Received: {value!r}.")
            return 1.0
        return value

    def take_positive(self, key: str, default: Any = _MISSING) -> float:
        """Returns a number above 0; anything else is a problem."""
        return self.check_positive(key, self.take(key, default))

    def check_positive(self, name: str, value: Any) -> float:
        """Returns a value of an inner object if it is a number above 0; anything else is a problem, and 1 stands for it."""
        if not (_is_number(value) and 0 < value < math.inf):
            self.problems.append(f"`{name}` must be a number above 0. Received: {value!r}.")
            return 1.0
        return value

    def expect(
        self, key: str, allowed: tuple[Any, ...], default: Any, why: str = "KerasHub's layers have no other"
    ) -> None:
        """Adds a problem if a value is none of those that the mathematics of KerasHub's layers has built in.

        Args:
            key: The key.
            allowed: The values that are the same thing.
            default: What transformers takes without the key.
            why: Ends the sentence.
        """
        value = self.take(key, default)
        if value not in allowed:
            expected = " or ".join(repr(one) for one in allowed)
            self.problems.append(f"`{key}` must be {expected}: {why}. Received: {value!r}.")

    def ignore(self, *keys: str) -> None:
        """Marks keys as read: those of this family that change nothing in a causal language model."""
        self._read.update(keys)

    def reject(self, message: str) -> None:
        """Adds a problem."""
        self.problems.append(message)

    def finish(self) -> None:
        """Adds a problem for each key that nothing has read: what is not understood must not be dropped."""
        for key, value in self._config.items():
            if key in self._read or key in _IGNORED or value is None or value is False:
                continue
            if key == "quantization_config":
                self.reject(
                    "has a `quantization_config`: the weights are quantised, and KerasHub reads whole numbers as weights. "
                    "Take the model as it was before quantisation."
                )
            elif key == "auto_map":
                self.reject("has an `auto_map`: the model is computed by code of its own, which is not run here.")
            else:
                self.reject(
                    f"has `{key}: {str(value)[:80]}`, of which it is not known whether the mathematics uses it. If it does "
                    "not, take the key out of the file."
                )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
