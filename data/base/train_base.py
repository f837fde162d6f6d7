"""Train the built-in base preset `tiny_gpt2_en`: tokenizer and model, from public-domain text, on a CPU.

    python -m data.base.train_base --corpus FOLDER_OR_FILE [FOLDER_OR_FILE ...] --minutes 57

With `--minutes` the learning rate is a function of the share of the time that is used up, so a run ends on time on any machine,
and the weights depend on how many steps the machine made of it. With `--steps` they depend on the seed and the numerics alone.
A killed run goes on from its last checkpoint when the same command is given again.
"""

import argparse
import hashlib
import json
import math
import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import keras_hub
import tensorflow as tf

from components.text.model_tokenizer import adopt_own_rules
from data.base.batches import WindowSampler, join_passages
from data.base.bpe import train_bpe
from data.base.checkpoint import Progress, load_checkpoint, save_checkpoint, write_atomically
from data.base.corpus import Book, load_corpus
from data.base.evaluate_base import HELD_OUT_SHARE, PRESET, encode, get_logits, measure_held_out, measure_unigram
from data.base.export import export_preset

VOCABULARY_SIZE = 4096
MAX_SEQUENCE_LENGTH = 512
# One step in four is made of long windows, so that every position is trained; short ones cost less attention a token.
LONG_STEP_EVERY = 4
SHORT_LENGTH = 256
MEAN_PASSAGE_LENGTH = 8.0
REPEAT_SHARE = 0.125
WARM_UP_SHARE = 0.02
FINAL_LEARNING_RATE_SHARE = 0.05
GRADIENT_NORM_LIMIT = 1.0
LOG_EVERY_SECONDS = 20.0


def make_parser() -> argparse.ArgumentParser:
    """Return the command-line parser."""
    parser = argparse.ArgumentParser(
        description="Train the built-in base preset (a small GPT-2 and its tokenizer) from plain text.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--corpus", nargs="+", type=Path, required=True, help="folders or .txt / .txt.gz files")
    parser.add_argument("--output", type=Path, default=PRESET, help="preset folder to write")
    parser.add_argument("--work", type=Path, default=Path("build/base"), help="folder of checkpoint and tokenizer")
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=float, help="wall-clock budget; the result depends on the machine's speed")
    budget.add_argument("--steps", type=int, help="number of optimizer steps; the result does not depend on speed")
    parser.add_argument("--batch-tokens", type=int, default=2048, help="tokens a step")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--weight-decay", type=float, default=0.1, help="AdamW's, on matrices only")
    parser.add_argument("--dtype", default="mixed_bfloat16", help="dtype policy of training; weights stay float32")
    parser.add_argument("--jit-compile", action="store_true", help="compile the step with XLA")
    parser.add_argument("--threads", type=int, default=2, help="TensorFlow threads")
    parser.add_argument("--export-minutes", type=float, default=10.0, help="write the preset every so many minutes")
    parser.add_argument("--machine-note", default="", help="words for the model card that follow the number of cores")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, passages and windows")
    return parser


def get_learning_rate(peak: float, progress: float) -> float:
    """Return the learning rate at a `progress` from 0 to 1: linear warm-up, then cosine down to a twentieth of `peak`."""
    if progress < WARM_UP_SHARE:
        return peak * max(progress, 1e-4) / WARM_UP_SHARE
    decay = 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - WARM_UP_SHARE) / (1 - WARM_UP_SHARE))))
    return peak * (FINAL_LEARNING_RATE_SHARE + (1 - FINAL_LEARNING_RATE_SHARE) * decay)


def load_tokenizer(path: Path, books: Sequence[Book]) -> Any:
    """Train the tokenizer, or load the one that an earlier start of this run has saved at `path`."""
    if not path.exists():
        vocabulary, merges = train_bpe((text for book in books for text in book.train), VOCABULARY_SIZE)
        write_atomically(path, json.dumps({"vocabulary": vocabulary, "merges": merges}).encode())
    bpe = json.loads(path.read_text(encoding="utf-8"))
    tokenizer = keras_hub.tokenizers.GPT2Tokenizer(vocabulary=bpe["vocabulary"], merges=bpe["merges"])
    adopt_own_rules(tokenizer, path.parent)
    return tokenizer


def build_backbone(dtype: str) -> Any:
    """Return the untrained model."""
    return keras_hub.models.GPT2Backbone(
        vocabulary_size=VOCABULARY_SIZE,
        num_layers=4,
        num_heads=4,
        hidden_dim=256,
        intermediate_dim=1024,
        dropout=0.0,
        max_sequence_length=MAX_SEQUENCE_LENGTH,
        dtype=dtype,
    )


def get_run_hash(options: argparse.Namespace, books: Sequence[Book]) -> str:
    """Return a hash of what decides how a run begins; its budget may change between two starts."""
    parts = [options.seed, options.dtype, options.batch_tokens, *(book.sha256 for book in books)]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def make_train_step(backbone: Any, optimizer: Any, jit_compile: bool) -> Any:
    """Return the compiled step: (batch, length + 1) int32 -> mean loss in nats, float32."""

    @tf.function(jit_compile=jit_compile, reduce_retracing=False)
    def train_step(window: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = get_logits(backbone, window[:, :-1], training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(window[:, 1:], logits)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, backbone.trainable_variables)
        optimizer.apply(gradients)
        return loss

    return train_step


def format_duration(seconds: float) -> str:
    """Return `seconds` as H:MM:SS."""
    minutes, seconds = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"


def show_progress(share: float, state: Progress, loss: float, learning_rate: float, tokens_per_second: float) -> None:
    """Print the progress bar: over itself in a terminal, as a line of its own in a log."""
    width = 24
    done = min(width, int(share * width))
    remaining = state.elapsed_seconds * (1 - share) / share if share else math.inf
    eta = format_duration(remaining) if math.isfinite(remaining) else "?"
    line = (
        f"[{'=' * done}{'.' * (width - done)}] {share:6.1%}  step {state.step}  loss {loss:.3f}  lr {learning_rate:.1e}  "
        f"{tokens_per_second:,.0f} tokens/s  elapsed {format_duration(state.elapsed_seconds)}  ETA {eta}"
    )
    print(line, end="\r" if sys.stdout.isatty() else "\n", flush=True)


def describe_run(
    options: argparse.Namespace, books: Sequence[Book], state: Progress, num_parameters: int
) -> dict[str, Any]:
    """Return what the model card says about the run, as JSON values."""
    return {
        "arguments": {name: getattr(options, name) for name in ("minutes", "steps", "batch_tokens", "learning_rate")}
        | {name: getattr(options, name) for name in ("weight_decay", "dtype", "jit_compile", "threads", "seed")},
        "steps": state.step,
        "starts": state.num_starts,
        "tokens_seen": state.num_tokens,
        "training_minutes": round(state.elapsed_seconds / 60, 2),
        "num_parameters": num_parameters,
        "num_cpus": os.cpu_count(),
        "machine_note": options.machine_note,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("tensorflow", "keras", "keras-hub", "tokenizers", "numpy")},
        "held_out_share": HELD_OUT_SHARE,
        "corpus": [
            {"name": book.name, "sha256": book.sha256, "train_characters": sum(map(len, book.train))} for book in books
        ],
    }


def make_sampler(tokenizer: Any, books: Sequence[Book], seed: int) -> WindowSampler:
    """Return the source of training windows."""
    newline_id = encode(tokenizer, ["\n"])[0][0]
    paragraphs = encode(tokenizer, [text for book in books for text in book.train])
    return WindowSampler(
        stream=join_passages(paragraphs, newline_id, tokenizer.end_token_id, MEAN_PASSAGE_LENGTH, seed),
        newline_id=newline_id,
        end_id=tokenizer.end_token_id,
        repeat_share=REPEAT_SHARE,
        seed=seed,
    )


def make_optimizer(backbone: Any, learning_rate: float, weight_decay: float) -> Any:
    """Return AdamW with weight decay on matrices only, its variables built."""
    optimizer = keras.optimizers.AdamW(
        learning_rate, weight_decay=weight_decay, beta_2=0.98, global_clipnorm=GRADIENT_NORM_LIMIT
    )
    optimizer.exclude_from_weight_decay(
        var_list=[variable for variable in backbone.trainable_variables if len(variable.shape) < 2]
    )
    optimizer.build(backbone.trainable_variables)
    return optimizer


def train(options: argparse.Namespace) -> None:
    """Train, checkpoint, export and measure, as the command line says."""
    books = load_corpus(options.corpus, HELD_OUT_SHARE)
    run = get_run_hash(options, books)
    keras.utils.set_random_seed(options.seed)
    backbone = build_backbone(options.dtype)
    optimizer = make_optimizer(backbone, options.learning_rate, options.weight_decay)
    variables = [*backbone.variables, *optimizer.variables]
    checkpoint = options.work / "checkpoint.npz"
    state = load_checkpoint(checkpoint, variables, run)
    state.num_starts += 1
    tokenizer = load_tokenizer(options.work / f"bpe-{run[:12]}.json", books)
    sampler = make_sampler(tokenizer, books, options.seed)
    num_parameters, num_train_tokens = backbone.count_params(), len(sampler.stream)
    print(
        f"{len(books)} books, {num_train_tokens:,} training tokens, {num_parameters:,} parameters, "
        f"start {state.num_starts} at step {state.step}",
        flush=True,
    )
    train_step = make_train_step(backbone, optimizer, options.jit_compile)

    def export(**figures: float) -> None:
        record = describe_run(options, books, state, num_parameters) | {"train_tokens": num_train_tokens} | figures
        export_preset(backbone, tokenizer, record, options.output)

    last_time = time.monotonic()
    last_log, last_export, logged_tokens, recent_loss = last_time, state.elapsed_seconds, 0, math.nan
    while True:
        share = state.step / options.steps if options.steps else state.elapsed_seconds / (60 * options.minutes)
        if share >= 1:
            break
        length = MAX_SEQUENCE_LENGTH if state.step % LONG_STEP_EVERY == LONG_STEP_EVERY - 1 else SHORT_LENGTH
        batch_size = max(1, options.batch_tokens // length)
        learning_rate = get_learning_rate(options.learning_rate, share)
        optimizer.learning_rate.assign(learning_rate)
        loss = float(train_step(tf.constant(sampler.get_batch(state.step, batch_size, length))))
        if not math.isfinite(loss):
            raise FloatingPointError(f"The loss is {loss} at step {state.step}. Try a lower --learning-rate.")
        recent_loss = loss if math.isnan(recent_loss) else 0.98 * recent_loss + 0.02 * loss
        state.step += 1
        state.num_tokens += batch_size * length
        logged_tokens += batch_size * length
        now = time.monotonic()
        state.elapsed_seconds += now - last_time
        last_time = now
        if now - last_log >= LOG_EVERY_SECONDS:
            show_progress(share, state, recent_loss, learning_rate, logged_tokens / (now - last_log))
            save_checkpoint(checkpoint, variables, state)
            last_log, logged_tokens = now, 0
        if state.elapsed_seconds - last_export >= 60 * options.export_minutes:
            export()
            last_export = state.elapsed_seconds
    save_checkpoint(checkpoint, variables, state)
    show_progress(1.0, state, recent_loss, 0.0, state.num_tokens / max(state.elapsed_seconds, 1e-9))
    export()
    # Measured on what was written, with its float16 rounding, and in float32: what a user of the preset gets.
    model = keras_hub.models.CausalLM.from_preset(str(options.output), dtype="float32")
    # The tokenizer that was trained with: the one of the preset would still need its rules.
    figures = {**measure_held_out(model.backbone, tokenizer, books), **measure_unigram(tokenizer, books)}
    export(**figures)
    print("\n" + json.dumps(figures, indent=2))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = make_parser().parse_args(arguments)
    # Only possible before TensorFlow's first operation, so it is no part of `train`.
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    train(options)


if __name__ == "__main__":
    main()
