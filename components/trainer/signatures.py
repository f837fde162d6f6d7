"""What the exported model computes: prompts to completions, and examples to losses."""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import keras_hub
import tensorflow as tf

from components.text import features
from components.text.cleaning import get_level
from components.text.request_form import RequestForm
from components.trainer.block_functions import BlockFunctions, Blocks
from components.trainer.chunks import map_chunks
from components.trainer.decoding import count_head, generate_tokens, max_prompt_length, score_tokens
from components.trainer.graph_text import (
    clean_in_graph,
    neutralize_in_graph,
    strip_in_graph,
    truncate_prompts,
    valid_utf8,
)
from components.trainer.graph_tokenizer import make_graph_tokenizer
from components.trainer.kv_cache import products_of_matrices
from components.trainer.samplers import make_sampler
from components.trainer.served_template import find_served_template
from components.trainer.slice_update import without_xla

# A batch is worked on in chunks of similar length, longest first, so that memory has a bound whatever the batch: so many
# logits at once (float32, 256 MiB) when scoring, so many rows when generating.
_LOGITS_PER_CHUNK = 2**26
_ROWS_PER_CHUNK = 64
# Prompts are decoded in lockstep from the shortest one on. Those whose lengths differ by more are not decoded together.
_LENGTH_SPREAD = 16

_STRINGS = tf.TensorSpec([None], tf.string)


class ServingModule(tf.Module):
    """The model, its tokenizer and its prompt template as TensorFlow functions over strings."""

    def __init__(
        self,
        model: keras_hub.models.CausalLM,
        text: Mapping[str, Any],
        generation: Mapping[str, Any],
        stack: bool = False,
        move: bool = False,
    ):
        """Sets the functions up.

        Args:
            model: The model, with its preprocessor.
            text: The run's `text` section: `template`, `system`, `max_length`.
            generation: The run's `generation` section.
            stack: See `Blocks`.
            move: See `Blocks`.

        Raises:
            UserError: If the lengths do not fit together, or the template is not for this model.
        """
        super().__init__()
        tokenizer = model.preprocessor.tokenizer
        self.template = find_served_template(model, text)
        self._cleaning = get_level(text)
        self._start = self.template.start_ids
        self._stop_ids = self.template.stop_ids
        self._num_head = count_head(model, text, generation, self.template)
        self._max_new_tokens = int(generation["max_new_tokens"])
        self._max_prompt_length = max_prompt_length(model, text, generation)
        self._max_positions = getattr(model.backbone, "max_sequence_length", None)
        # The last token is predicted and takes no position.
        self._max_scored = self._max_positions and self._max_positions + 1
        self._tokenizer = make_graph_tokenizer(tokenizer)
        ids = tf.RaggedTensorSpec([None, None], tf.int32, ragged_rank=1, row_splits_dtype=tf.int64)
        self._decode = tf.function(self._tokenizer.decode, input_signature=[ids], autograph=False)
        # What follows a prompt is no text of its own; behind a plain template it was trained as one.
        self._decode_rest = self._decode
        if self._tokenizer.puts_blank:
            decode_rest = functools.partial(self._tokenizer.decode, whole=False)
            self._decode_rest = tf.function(decode_rest, input_signature=[ids], autograph=False)
        self._decode_answer = self._decode_rest if self.template.is_chat else self._decode
        self._vocabulary_size = int(model.backbone.vocabulary_size)
        # Tracked by tf.Module: without them the variables would not be saved. The model itself stays out: its Keras
        # parts would be saved as objects that a process without Keras cannot read.
        blocks = Blocks(model, stack, move)
        self._stacks = blocks.stacks
        self._variables = [variable.value for variable in blocks.list_other_variables(model.variables)]
        dense = tf.TensorSpec([None, None], tf.int32)
        sampler = make_sampler(generation.get("sampler", {"name": "greedy"}))
        self._seed = int(generation.get("seed", 0))
        self._cut = "|".join(re.escape(text) for text in generation.get("stop", []))

        def generate(ids: tf.Tensor, lengths: tf.Tensor, count: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return generate_tokens(model, ids, lengths, count, self._stop_ids, sampler, seed, blocks)

        def score(ids: tf.Tensor, mask: tf.Tensor) -> dict[str, Any]:
            with products_of_matrices(), BlockFunctions(blocks).installed():
                return score_tokens(model, ids, mask)

        # Traced once and called by several signatures.
        scalar = tf.TensorSpec([], tf.int32)
        self._generate = tf.function(
            without_xla(generate),
            input_signature=[dense, tf.TensorSpec([None], tf.int32), scalar, scalar],
            autograph=False,
        )
        self._score = tf.function(score, input_signature=[dense, dense], autograph=False)
        self.serve = None
        if around := self.template.around:
            # Whatever function a module has is saved, so that a model without it has no such attribute.
            prompt = tf.TensorSpec([None], tf.string, name="prompt")
            self.serve = tf.function(functools.partial(self._serve, around), input_signature=[prompt], autograph=False)

    def signatures(self) -> dict[str, Callable[..., dict[str, tf.Tensor]]]:
        """Returns the functions to save, by signature name.

        `serving_default` is not among them where the template does more with a request than to put constant texts around it: a
        client renders it, and asks `complete`.
        """
        served = {"serving_default": self.serve} if self.serve else {}
        return {
            **served,
            "complete": self.complete,
            "score": self.score,
            "evaluate": self.evaluate,
            "generate": self.generate,
            "score_text": self.score_text,
        }

    def _serve(self, around: RequestForm, prompt: tf.Tensor) -> dict[str, tf.Tensor]:
        """Completes plain requests: cleans them and puts the template around them.

        Args:
            around: What becomes of a request.
            prompt: string (batch,), what a user typed: the template's instruction.

        Returns:
            `completion`: string (batch,).
        """
        instruction = neutralize_in_graph(clean_in_graph(prompt, self._cleaning), self.template.special_tokens)
        if around.trims:
            instruction = strip_in_graph(instruction)
        prompts = self._encode(tf.strings.join([around.before, instruction, around.behind]))
        completion, _ = self._answer(prompts)
        return {"completion": completion}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="prompt")], autograph=False)
    def complete(self, prompt: tf.Tensor) -> dict[str, tf.Tensor]:
        """Completes rendered prompts as they are; the characters of a special token become that token.

        Args:
            prompt: string (batch,), the PROMPT feature of tokenized examples.

        Returns:
            `completion`: string (batch,).
        """
        completion, _ = self._answer(self._encode(valid_utf8(prompt)))
        return {"completion": completion}

    @tf.function(input_signature=[_STRINGS], autograph=False)
    def complete_with_tokens(self, prompt: tf.Tensor) -> tuple[tf.Tensor, tf.RaggedTensor]:
        """Returns completions and the tokens they are, int32 (batch, ragged); saved so that the export can be checked.

        The texts are those of the tokens alone, with what the template writes before an answer; the tokens those before a stop text was
        cut off.
        """
        tokens = self._complete_tokens(self._encode(valid_utf8(prompt)))
        return self._cut_off(valid_utf8(self._decode(tokens))), tokens

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")], autograph=False)
    def score(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Scores tokenized examples.

        Args:
            examples: string (batch,), serialized `tf.train.Example` with TOKEN_IDS and TARGET_MASK.

        Returns:
            `nll_sum`, `token_count`, `correct_count`: float32 (batch,), see `score_tokens`; `byte_count`: float32 (batch,),
            bytes of UTF-8 of the text that these tokens are, without end token.
        """
        return self._score_parsed(_parse(examples))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")], autograph=False)
    def evaluate(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Scores tokenized examples and completes their prompts.

        Args:
            examples: string (batch,), serialized `tf.train.Example` with TOKEN_IDS, TARGET_MASK and RESPONSE, and PROMPT_LENGTH
                unless the first target is where the response begins.

        Returns:
            The outputs of `score`; `completion` of the tokens before the response, and `reference`, the RESPONSE:
            string (batch,); `completion_tokens`, how many were written: float32 (batch,).
        """
        parsed = _parse(examples)
        is_prompt = tf.ragged.map_flat_values(lambda mask: tf.cast(mask == 0, tf.int32), parsed[features.TARGET_MASK])
        # Padded with 0, and one column more: the first 0 of a row is where its prompt ends, if the example does not say.
        lengths = tf.argmin(tf.pad(is_prompt.to_tensor(), [[0, 0], [0, 1]]), axis=1, output_type=tf.int32)
        given = tf.cast(parsed[features.PROMPT_LENGTH], tf.int32)
        lengths = tf.where(given >= 0, given, lengths)
        token_ids = parsed[features.TOKEN_IDS].to_tensor()
        prompts = tf.RaggedTensor.from_tensor(token_ids, lengths=lengths, row_splits_dtype=tf.int64)
        completion, new = self._answer(prompts)
        return {
            **self._score_parsed(parsed),
            "completion": completion,
            "completion_tokens": tf.cast(new.row_lengths(), tf.float32),
            "reference": parsed[features.RESPONSE],
        }

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, name="prompt"),
            tf.TensorSpec([], tf.int32, name="max_new_tokens"),
            tf.TensorSpec([], tf.int32, name="seed"),
        ],
        autograph=False,
    )
    def generate(self, prompt: tf.Tensor, max_new_tokens: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """Completes rendered prompts by other numbers than the run's; for benchmarks.

        Args:
            prompt: string (batch,). One that leaves no room among the model's positions loses its beginning.
            max_new_tokens: int32 scalar, most tokens that are added.
            seed: int32 scalar, of the draws, where the sampler draws.

        Returns:
            `completion`: string (batch,); the run's stop texts do not end it.
        """
        room = self._max_positions or tf.int32.max
        max_new_tokens = tf.minimum(max_new_tokens, room - 2)
        prompts = self._encode(valid_utf8(prompt))
        # Whoever renders a prompt as a benchmark does may use no template.
        tokens = self._write_tokens(prompts, room - max_new_tokens, max_new_tokens, seed, len(self._start))
        return {"completion": valid_utf8(self._decode_rest(tokens))}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, name="prompt"),
            tf.TensorSpec([None], tf.string, name="continuation"),
            tf.TensorSpec([], tf.bool, name="end"),
        ],
        autograph=False,
    )
    def score_text(self, prompt: tf.Tensor, continuation: tf.Tensor, end: tf.Tensor) -> dict[str, tf.Tensor]:
        """Scores continuations of rendered prompts.

        Both are tokenized as one text; the tokens beyond as many as the prompt alone has are the continuation's.

        Args:
            prompt: string (batch,).
            continuation: string (batch,). Where both do not fit, the prompt loses its beginning.
            end: bool scalar, whether the text must end there: the end token counts as well.

        Returns:
            The outputs of `score`, of the continuation's tokens.
        """
        prompt, continuation = valid_utf8(prompt), valid_utf8(continuation)
        heads = self._encode(prompt).row_lengths()
        token_ids = self._encode(prompt + continuation)
        stop = tf.fill([tf.size(prompt), tf.cast(end, tf.int32)], self._stop_ids[0])
        token_ids = tf.concat([token_ids, tf.RaggedTensor.from_tensor(stop, row_splits_dtype=tf.int64)], axis=1)
        is_target = tf.cast(tf.ragged.range(token_ids.row_lengths()) >= heads[:, None], tf.int32)
        if self._max_scored:
            token_ids, is_target = token_ids[:, -self._max_scored :], is_target[:, -self._max_scored :]
        return self._score_parsed({features.TOKEN_IDS: token_ids, features.TARGET_MASK: is_target})

    @tf.function(input_signature=[_STRINGS])
    def tokenize(self, text: tf.Tensor) -> tf.RaggedTensor:
        """Returns token ids, int32 (batch, ragged), of UTF-8 texts, string (batch,), without start token.

        It is traced once for all signatures, and saved beside them, so that the export can be checked.
        """
        return self._tokenizer.encode(text)

    def _encode(self, prompt: tf.Tensor) -> tf.RaggedTensor:
        token_ids = self.tokenize(prompt)
        if not self._start:
            return token_ids
        # A template may write the start token itself: then none is added.
        has_start = token_ids[:, :1].to_tensor(-1, shape=[None, 1])[:, 0] == self._start[0]  # (batch,)
        counts = tf.cast(~has_start, tf.int64)
        start = tf.RaggedTensor.from_row_lengths(tf.fill([tf.reduce_sum(counts)], self._start[0]), counts)
        return tf.concat([start, token_ids], axis=1)

    def _answer(self, prompts: tf.RaggedTensor) -> tuple[tf.Tensor, tf.RaggedTensor]:
        """Returns answers, string (batch,), as the references are: without what the template writes before them; and all tokens."""
        tokens = self._complete_tokens(prompts)
        text = valid_utf8(self._decode_answer(tokens))
        if self.template.opening:
            text = tf.strings.regex_replace(text, f"^{re.escape(self.template.opening)}", "")
        return self._cut_off(text), tokens

    def _cut_off(self, text: tf.Tensor) -> tf.Tensor:
        return tf.strings.regex_replace(text, f"(?s)(?:{self._cut}).*", "") if self._cut else text

    def _complete_tokens(self, prompts: tf.RaggedTensor) -> tf.RaggedTensor:
        return self._write_tokens(
            prompts,
            tf.constant(self._max_prompt_length),
            tf.constant(self._max_new_tokens),
            tf.constant(self._seed),
            self._num_head,
        )

    def _write_tokens(
        self,
        prompts: tf.RaggedTensor,
        max_prompt_length: tf.Tensor,
        max_new_tokens: tf.Tensor,
        seed: tf.Tensor,
        num_head: int,
    ) -> tf.RaggedTensor:
        """Returns the tokens that follow prompts, int32 (batch, ragged)."""
        prompts = truncate_prompts(prompts, max_prompt_length, num_head)
        # A prompt without any token cannot be continued: an end token stands for the end of the text before.
        lengths = tf.cast(prompts.row_lengths(), tf.int32)
        size = tf.size(lengths)

        def generate(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            token_ids = tf.gather(prompts, rows).to_tensor(self._stop_ids[0])
            token_ids = tf.pad(
                token_ids,
                [[0, 0], [0, tf.cast(tf.shape(token_ids)[1] == 0, tf.int32)]],
                constant_values=self._stop_ids[0],
            )
            return self._generate(token_ids, tf.maximum(tf.gather(lengths, rows), 1), max_new_tokens, seed)

        empty = (tf.zeros([size, max_new_tokens], tf.int32), tf.zeros([size], tf.int32))
        new, counts = map_chunks(generate, lengths, lambda longest: _ROWS_PER_CHUNK, empty, _LENGTH_SPREAD)
        # max_new_tokens may cut a character in two; whoever decodes them sees to it that clients can rely on UTF-8.
        return tf.RaggedTensor.from_tensor(new, lengths=counts, row_splits_dtype=tf.int64)

    def _score_parsed(self, parsed: Mapping[str, Any]) -> dict[str, tf.Tensor]:
        token_ids, mask = (parsed[name][:, : self._max_scored] for name in (features.TOKEN_IDS, features.TARGET_MASK))
        lengths = tf.cast(token_ids.row_lengths(), tf.int32)

        def score(rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
            longest = tf.maximum(tf.reduce_max(tf.gather(lengths, rows)), 2)
            shape = [tf.size(rows), longest]
            sums = self._score(
                tf.gather(token_ids, rows).to_tensor(0, shape=shape), tf.gather(mask, rows).to_tensor(0, shape=shape)
            )
            return tuple(sums[name] for name in names)

        names = ("nll_sum", "token_count", "correct_count")
        zeros = tuple(tf.zeros(tf.shape(lengths)) for _ in names)
        num_rows = lambda longest: _LOGITS_PER_CHUNK // (longest * self._vocabulary_size)  # noqa: E731
        sums = dict(zip(names, map_chunks(score, lengths, num_rows, zeros), strict=True))
        return {**sums, "byte_count": self._count_bytes(token_ids, mask)}

    def _count_bytes(self, token_ids: tf.RaggedTensor, mask: tf.RaggedTensor) -> tf.Tensor:
        columns = tf.ragged.range(token_ids.row_lengths())
        is_text = (mask > 0) & (columns > 0)  # nothing predicts the first token
        for stop_id in self._stop_ids:
            is_text &= token_ids != stop_id
        text = self._decode(tf.ragged.boolean_mask(token_ids, is_text))
        return tf.cast(tf.strings.length(text), tf.float32)


def _parse(examples: tf.Tensor) -> dict[str, Any]:
    spec = {
        features.TOKEN_IDS: tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64),
        features.TARGET_MASK: tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64),
        features.RESPONSE: tf.io.FixedLenFeature([], tf.string, ""),
        features.PROMPT_LENGTH: tf.io.FixedLenFeature([], tf.int64, -1),
    }
    parsed = tf.io.parse_example(examples, spec)
    for name in (features.TOKEN_IDS, features.TARGET_MASK):
        parsed[name] = tf.cast(parsed[name], tf.int32)
    return parsed
