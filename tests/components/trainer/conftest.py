"""A tiny model and tiny splits to train on."""

from types import SimpleNamespace

import numpy as np
import pytest

TRAIN_SECTION = {
    "backend": "tensorflow",
    "strategy": "one_device",
    "mesh": None,
    "batch_size": 8,
    "jit_compile": "auto",
    "gradient_accumulation_steps": 1,
    "fit": "auto",
    "memory_gib": None,
    "rematerialize": False,
    "epochs": 1,
    "max_steps": None,
    "learning_rate": 1e-2,
    "schedule": "constant",
    "warmup_fraction": 0.0,
    "weight_decay": 0.01,
    "clip_norm": 1.0,
    "eval_every_steps": 2,
    "checkpoint_every_steps": 3,
    "early_stopping_patience": None,
    "bucket_boundaries": [8, 12],
    "max_lengths": 32,
    "seed": 7,
}


@pytest.fixture
def train_section():
    return dict(TRAIN_SECTION)


@pytest.fixture
def make_tiny_model():
    """Returns a function that builds the same GPT-2 (2 layers, 32 wide, 64 tokens) each time, no files needed."""
    import keras
    import keras_hub

    def make(seed=0, dtype="float32", dropout=0.0):
        keras.utils.set_random_seed(seed)
        backbone = keras_hub.models.GPT2Backbone(
            vocabulary_size=64,
            num_layers=2,
            num_heads=2,
            hidden_dim=32,
            intermediate_dim=64,
            max_sequence_length=32,
            dropout=dropout,
            dtype=dtype,
        )
        return keras_hub.models.GPT2CausalLM(backbone=backbone)

    return make


@pytest.fixture(scope="session")
def make_text_model():
    """Returns a function that builds a GPT-2 (2 layers, 32 wide) with a byte-pair tokenizer of 264 tokens, no files needed."""
    import keras
    import keras_hub

    from components.text.token_texts import byte_symbols

    def make():
        vocabulary = {symbol: i for i, symbol in enumerate(byte_symbols())}
        merges = ["t h", "th e", "Ġ the", "i n", "a n", "# #", "## #"]
        for symbol in (*(merge.replace(" ", "") for merge in merges), "<|endoftext|>"):
            vocabulary[symbol] = len(vocabulary)
        tokenizer = keras_hub.models.GPT2Tokenizer(vocabulary=vocabulary, merges=merges)
        keras.utils.set_random_seed(0)
        backbone = keras_hub.models.GPT2Backbone(
            vocabulary_size=len(vocabulary),
            num_layers=2,
            num_heads=2,
            hidden_dim=32,
            intermediate_dim=64,
            max_sequence_length=96,
        )
        for variable in backbone.trainable_variables:
            # Ten times a new model's weights: its choices then depend on the prompt, by a clear lead.
            if len(variable.shape) > 1:
                variable.assign(variable.numpy() * 10)
        preprocessor = keras_hub.models.GPT2CausalLMPreprocessor(tokenizer, sequence_length=96)
        return keras_hub.models.GPT2CausalLM(backbone=backbone, preprocessor=preprocessor)

    return make


@pytest.fixture
def write_examples(tmp_path):
    """Returns a function that writes (token_ids, loss_weight) pairs as a transformed split; gives its pattern.

    The n-th example of a file has the id `<split>-<n>`.
    """
    import tensorflow as tf

    def write(examples, split="train"):
        folder = tmp_path / f"Split-{split}"
        folder.mkdir(exist_ok=True)
        path = folder / f"transformed-{len(list(folder.iterdir())):05d}.gz"
        with tf.io.TFRecordWriter(str(path), options="GZIP") as writer:
            for number, (token_ids, loss_weight) in enumerate(examples):
                example = tf.train.Example()
                example.features.feature["example_id"].bytes_list.value.append(f"{split}-{number}".encode())
                example.features.feature["token_ids"].int64_list.value.extend(token_ids)
                example.features.feature["loss_weight"].float_list.value.extend(loss_weight)
                writer.write(example.SerializeToString())
        return str(folder / "*")

    return write


@pytest.fixture
def make_split(write_examples):
    """Returns a function that writes learnable examples (each token is the one before plus 1) of unequal lengths."""

    def make(num_examples=37, split="train", seed=0):
        rng = np.random.default_rng(seed)
        examples = []
        for _ in range(num_examples):
            length, prompt = int(rng.integers(6, 17)), int(rng.integers(1, 5))
            token_ids = (int(rng.integers(1, 40)) + np.arange(length)).tolist()
            examples.append((token_ids, [0.0] * prompt + [1.0] * (length - prompt)))
        return write_examples(examples, split)

    return make


@pytest.fixture
def make_datasets(make_split):
    """Returns a function that gives one training and one evaluation split as datasets, cut as asked for."""
    from components.trainer.data import make_dataset

    patterns = {"train": make_split(37, "train"), "eval": make_split(11, "eval", 1)}

    def make(accumulation_steps=1, batch_size=8, bucket_boundaries=(8, 12), num_shards=1):
        common = {
            "bucket_boundaries": bucket_boundaries,
            "max_length": 16,
            "vocabulary_size": 64,
            "num_shards": num_shards,
        }
        train = make_dataset(
            [patterns["train"]],
            batch_size=batch_size,
            accumulation_steps=accumulation_steps,
            shuffle=True,
            normalize=True,
            seed=7,
            **common,
        )
        return train, make_dataset([patterns["eval"]], batch_size=batch_size // accumulation_steps, **common)

    return make


@pytest.fixture
def make_engine():
    """Returns a function that makes the engine of a FineTuner on one device."""
    from components.trainer import engine
    from components.trainer.optimizer import make_optimizer
    from components.trainer.placement import Placement

    def make(tuner, section, num_steps, jit_compile=False):
        optimizer = make_optimizer(section, num_steps, tuner)
        placement = Placement(name="one_device", devices=("CPU:0",))
        return engine.make_engine(tuner, optimizer, placement, clip_norm=section["clip_norm"], jit_compile=jit_compile)

    return make


@pytest.fixture
def make_toy_engine(make_engine):
    """Returns a function that makes the engine of a bigram model: a frozen embedding, dropout, a dense layer.

    It has all that the loop must deal with (trainable, frozen and random state) and compiles in a second.
    """
    import keras

    from components.trainer.fine_tuner import FineTuner

    def make(section, num_steps, dropout=0.1):
        keras.utils.set_random_seed(section["seed"])
        token_ids = keras.Input((None,), dtype="int32", name="token_ids")
        padding_mask = keras.Input((None,), dtype="int32", name="padding_mask")
        embedding = keras.layers.Embedding(64, 16)
        states = keras.layers.Dropout(dropout)(embedding(token_ids))
        logits = keras.layers.Dense(64)(states)
        embedding.trainable = False
        inputs = {"token_ids": token_ids, "padding_mask": padding_mask}
        return make_engine(FineTuner(keras.Model(inputs, logits)), section, num_steps)

    return make


@pytest.fixture
def fn_args(tmp_path, make_split, train_section):
    """The arguments of `run_fn` for four steps of LoRA; no preset of that name exists."""
    return SimpleNamespace(
        train_files=[make_split(37, "train")],
        eval_files=[make_split(11, "eval", 1)],
        serving_model_dir=str(tmp_path / "model" / "Format-Serving"),
        model_run_dir=str(tmp_path / "model_run"),
        base_model=None,
        custom_config={
            "model": {"preset": "tiny", "dtype": "float32"},
            "method": {"name": "lora", "rank": 2, "target_layer_names": ["query", "value"]},
            "train": train_section | {"max_steps": 4, "bucket_boundaries": []},
            "text": {"template": "plain", "system": "", "max_length": 16},
            "generation": {"max_new_tokens": 4},
            "preset_hash": "0",
            "code_hash": "1",
            "checkpoint_root": str(tmp_path / "checkpoints"),
            "export": True,
        },
    )
