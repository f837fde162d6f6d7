"""A tokenizer in a graph, as functions that are traced once and called from every signature."""

from typing import TYPE_CHECKING

import tensorflow as tf

if TYPE_CHECKING:
    from components.trainer.graph_tokenizer import GraphTokenizer


class SharedTokenizer:
    """A `GraphTokenizer`. Not tracked by TensorFlow, which would save the functions once more by name: the tokenizer must be."""

    def __init__(self, tokenizer: "GraphTokenizer"):
        """Sets the functions up.

        Args:
            tokenizer: What they do.
        """
        texts = tf.TensorSpec([None], tf.string)
        ids = tf.RaggedTensorSpec([None, None], tf.int32, ragged_rank=1, row_splits_dtype=tf.int64)
        self.encode = tf.function(tokenizer.encode, input_signature=[texts], autograph=False)
        self.decode = tf.function(tokenizer.decode, input_signature=[ids], autograph=False)
