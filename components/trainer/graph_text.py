"""Texts inside a TensorFlow graph: the same cleaning and cutting as in Python, over strings (batch,)."""

import re
from collections.abc import Sequence

import tensorflow as tf
import tensorflow_text as tf_text

from components.text.cleaning import NORMALIZE, STEPS
from components.text.record_cleaning import break_token

# What `str.strip` takes away, in the words of RE2.
_WHITE_SPACE = "[\t-\r\x1c- \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+"


def clean_in_graph(text: tf.Tensor, level: str) -> tf.Tensor:
    """Returns `components.text.cleaning.clean_text` of texts, string (batch,). Invalid UTF-8 becomes U+FFFD."""
    text = valid_utf8(text)
    if level == NORMALIZE:
        text = tf_text.normalize_utf8(text, "NFC")
    for step in STEPS[level]:
        text = tf.strings.regex_replace(text, step.pattern, step.replacement)
    return tf_text.normalize_utf8(text, "NFC") if level == NORMALIZE else text


def strip_in_graph(text: tf.Tensor) -> tf.Tensor:
    """Returns `str.strip` of texts, string (batch,)."""
    return tf.strings.regex_replace(text, f"^{_WHITE_SPACE}|{_WHITE_SPACE}$", "")


def neutralize_in_graph(text: tf.Tensor, special_tokens: Sequence[str]) -> tf.Tensor:
    """Returns `components.text.record_cleaning.neutralize` of texts, string (batch,)."""
    for token in filter(None, special_tokens):
        broken = break_token(token).replace("\\", "\\\\")
        text = tf.strings.regex_replace(text, re.escape(token), broken)
    return text


def truncate_prompts(token_ids: tf.RaggedTensor, max_length: tf.Tensor | int, num_head: int) -> tf.RaggedTensor:
    """Returns prompts, (batch, ragged), cut to `max_length` at their beginning, behind `num_head` tokens that stay; their last one stays, too."""
    num_head = tf.minimum(num_head, max_length - 1)
    head, body = token_ids[:, :num_head], token_ids[:, num_head:]
    return tf.concat([head, body[:, num_head - max_length :]], axis=1)


def valid_utf8(text: tf.Tensor) -> tf.Tensor:
    """Returns texts with U+FFFD in place of bytes that are no UTF-8."""
    return tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace")
