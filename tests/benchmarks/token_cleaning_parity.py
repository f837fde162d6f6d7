"""Does token cleaning agree with PyTorch and transformers? Losses, influence and kept tokens, one by one.

The two stacks live in two environments, so there are two halves and a folder between them. `export` runs the product: its
tokenizer, its TokenScorer, its cut in a Transform pass; `compare` needs requirements-parity.txt and imports nothing of the
project. It loads the same weights into `GPT2LMHeadModel`, computes everything anew, and fails if the results differ.

    python tests/benchmarks/token_cleaning_parity.py export --output FOLDER
    python tests/benchmarks/token_cleaning_parity.py compare FOLDER --output tests/benchmarks/results/token_cleaning_parity.json
    python tests/benchmarks/token_cleaning_parity.py golden FOLDER

`golden` prints the examples of tests/components/token_scorer/test_parity.py with the influence that PyTorch computes.
"""

import argparse
import contextlib
import functools
import hashlib
import itertools
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine

ROOT = Path(__file__).resolve().parents[2]
SCOPES = ("dataset", "sample")
MODELS = ("base", "reference")
BEAM_ARGUMENTS = ["--runner=DirectRunner", "--prism_location=/nonexistent", "--sdk_container_image=none"]
REFERENCE_TRAINING = {"steps": 48, "batch_size": 16, "learning_rate": 5e-4, "seed": 0}
MAX_INFLUENCE_DIFFERENCE = 1e-3  # nats
MAX_SHARE_OF_KEPT_DIFFERENT = 1e-3
GOLDEN_EMBEDDING_FACTOR = 1.05
GOLDEN_KEEP = 0.6
# Token ids, and how many of them, at the end, are the response.
GOLDEN_EXAMPLES = [
    ([4095, 1479, 1470, 25, 198, 1199, 365, 264, 3060, 283, 2651, 30, 198, 198, 1479, 1480, 25, 198, 902, 365, 1666, 13,
      4095], 5),
    ([4095, 1479, 1470, 25, 198, 3983, 2897, 273, 324, 30, 198, 198, 1479, 1478, 25, 198, 32, 77, 601, 2897, 258, 688,
      1066, 273, 2002, 13, 198, 198, 1479, 1480, 25, 198, 902, 316, 1895, 601, 4095], 5),
    ([4095, 1479, 1470, 25, 198, 49, 68, 380, 297, 264, 1117, 13, 198, 198, 1479, 1478, 25, 198, 954, 698, 442, 280,
      264, 3077, 198, 198, 1479, 1480, 25, 198, 627, 698, 442, 280, 264, 3319, 3319, 3077, 13, 4095], 10),
]  # fmt: skip


# --- export: the product -----------------------------------------------------------------------------------------------


def export(arguments: argparse.Namespace) -> None:
    """Scores and cuts with the product, and writes what it was given and what came out."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.path.insert(0, str(ROOT))
    folder: Path = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    examples = tokenize(arguments)
    reference, training = arguments.reference, None
    if reference is None:
        reference, training = str(folder / "reference"), REFERENCE_TRAINING
        train_reference(arguments.preset, examples, reference)
    scored = score(examples, arguments.preset, reference, arguments.batch_size)
    arrays = {
        "lengths": np.array([len(e.token_ids) for e in examples]),
        "token_ids": np.concatenate([e.token_ids for e in examples]).astype(np.int32),
        "target_mask": np.concatenate([e.target_mask for e in examples]).astype(np.int8),
        "influence": np.concatenate([_get_values(record, "token_influence") for record in scored]).astype(np.float32),
    }
    for scope in SCOPES:
        weights = cut(scored, arguments.keep, scope)
        arrays[f"kept_{scope}"] = np.concatenate(weights) > 0
    for name, preset in zip(MODELS, (arguments.preset, reference), strict=True):
        arrays[f"{name}_loss"] = export_model(preset, scored, folder / name)
    np.savez_compressed(folder / "examples.npz", **arrays)
    settings = {
        "command": _describe_command(),
        "data": Path(arguments.data).name,
        "data_sha256": hashlib.sha256(Path(arguments.data).read_bytes()).hexdigest(),
        "rows": len(examples),
        "max_length": arguments.max_length,
        "keep": arguments.keep,
        "batch_size": arguments.batch_size,
        "reference_training": training,
        "machine": describe_machine(
            ["tensorflow", "keras", "keras-hub", "apache-beam", "tensorflow-transform", "tfx", "numpy"]
        ),
    }
    (folder / "settings.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    print(f"{len(examples)} examples, {int(arrays['target_mask'].sum())} response tokens: {folder}")


def tokenize(arguments: argparse.Namespace) -> list[Any]:
    """Returns the first rows of the data file as `TokenizedRecord`s."""
    from components.example_gen.files import detect_format
    from components.example_gen.readers import SourceFacts, read_file
    from components.example_gen.records import Columns, make_example
    from components.tokenizer.executor import make_record_tokenizer

    columns = Columns(**dict(pair.split("=", 1) for pair in arguments.columns.split(",")))
    text = {"template": "alpaca", "system": "", "max_length": arguments.max_length}
    to_tokens = make_record_tokenizer(arguments.preset, text)
    name = Path(arguments.data).name
    with contextlib.closing(read_file(arguments.data, detect_format(name), columns, SourceFacts())) as items:
        rows = [make_example(item.value, columns, name) for item in itertools.islice(items, arguments.rows)]
    return [tokenized for tokenized in map(to_tokens, rows) if tokenized is not None]


def train_reference(preset: str, examples: Sequence[Any], directory: str) -> None:
    """Fine-tunes the preset for a few steps on the examples themselves, in plain Keras."""
    import keras

    from components.trainer.export import save_preset
    from components.trainer.model import load_model

    model = load_model(preset, seed=REFERENCE_TRAINING["seed"])
    network = keras.Model(model.input, model.output)
    network.compile(
        keras.optimizers.AdamW(REFERENCE_TRAINING["learning_rate"]),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    longest = max(len(e.token_ids) for e in examples)
    token_ids, padding_mask, target_mask = np.zeros((3, len(examples), longest), np.int32)
    for row, example in enumerate(examples):
        token_ids[row, : len(example.token_ids)] = example.token_ids
        padding_mask[row, : len(example.token_ids)] = 1
        target_mask[row, : len(example.token_ids)] = example.target_mask
    generator = np.random.default_rng(REFERENCE_TRAINING["seed"])
    for step in range(REFERENCE_TRAINING["steps"]):
        rows = generator.choice(len(examples), REFERENCE_TRAINING["batch_size"])
        inputs = {"token_ids": token_ids[rows, :-1], "padding_mask": padding_mask[rows, :-1]}
        weight = target_mask[rows, 1:] / target_mask[rows, 1:].mean()  # Keras divides by the number of all positions
        loss = network.train_on_batch(inputs, token_ids[rows, 1:], weight)
        if step % 8 == 0:
            print(f"reference: step {step}, loss {float(loss):.3f}", flush=True)
    save_preset(model, directory)


def score(examples: Sequence[Any], base: str, reference: str, batch_size: int) -> list[bytes]:
    """Returns the examples as scored by the TokenScorer's executor, in their order."""
    import tensorflow as tf
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.types import artifact_utils, standard_artifacts

    from components.token_scorer.executor import Executor

    scoring = {"strategy": "fixed", "split": "train", "base": base, "reference": reference}
    scoring |= {"dtype": "float32", "batch_size": batch_size}
    with tempfile.TemporaryDirectory() as folder:
        source, target = standard_artifacts.Examples(), standard_artifacts.Examples()
        source.uri, target.uri = f"{folder}/tokenized", f"{folder}/scored"
        source.split_names = artifact_utils.encode_split_names(["train", "eval"])
        for split in ("train", "eval"):
            path = Path(artifact_utils.get_split_uri([source], split))
            path.mkdir(parents=True)
            with tf.io.TFRecordWriter(str(path / "examples.gz"), "GZIP") as writer:
                for row, example in enumerate(examples if split == "train" else []):
                    writer.write(_serialize(row, example))
        context = BaseBeamExecutor.Context(BEAM_ARGUMENTS, tmp_dir=folder, unique_id="1")
        Executor(context).Do({"examples": [source]}, {"scored_examples": [target]}, {"scoring": json.dumps(scoring)})
        files = [str(path) for path in Path(artifact_utils.get_split_uri([target], "train")).glob("*")]
        records = list(tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator())
    assert len(records) == len(examples), (len(records), len(examples))
    return sorted(records, key=lambda record: int(_get_values(record, "row")[0]))


def cut(scored: Sequence[bytes], keep: float, scope: str) -> list[list[float]]:
    """Returns the loss weights that the Transform's function gives the examples, in their order."""
    import apache_beam as beam
    import tensorflow_transform.beam as tft_beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from tensorflow_metadata.proto.v0 import schema_pb2
    from tfx.utils import io_utils
    from tfx_bsl.public import tfxio

    from components.transform.module import preprocessing_fn
    from pipeline.training_nodes import SCORED_SCHEMA

    schema = io_utils.SchemaReader().read(str(SCORED_SCHEMA))
    row = schema.feature.add(name="row", type=schema_pb2.INT)
    row.presence.min_fraction = 1
    row.shape.SetInParent()
    source = tfxio.TFExampleBeamRecord(physical_format="memory", schema=schema, telemetry_descriptors=["parity"])
    clean = functools.partial(preprocessing_fn, custom_config={"cleaning": {"keep": keep, "scope": scope}})
    with tempfile.TemporaryDirectory() as folder:
        pipeline = beam.Pipeline(options=PipelineOptions(BEAM_ARGUMENTS))
        with pipeline, tft_beam.Context(temp_dir=f"{folder}/temp"):
            batches = pipeline | beam.Create(list(scored)) | source.BeamSource(batch_size=50)
            transformed, _ = (batches, source.TensorAdapterConfig()) | tft_beam.AnalyzeAndTransformDataset(
                lambda inputs: clean(inputs) | {"row": inputs["row"]}, output_record_batches=True
            )
            _ = (
                transformed[0]
                | beam.Map(lambda batch: json.dumps(batch[0].to_pydict()))
                | beam.io.WriteToText(f"{folder}/out", shard_name_template="")
            )
        batches = [json.loads(line) for line in Path(f"{folder}/out").read_text().splitlines()]
    weights = {row[0]: w for b in batches for row, w in zip(b["row"], b["loss_weight"], strict=True)}
    return [weights[row] for row in range(len(scored))]


def export_model(preset: str, scored: Sequence[bytes], path: Path) -> np.ndarray:
    """Writes a GPT-2 preset as the arrays and the configuration of `GPT2LMHeadModel`.

    Returns:
        The project's losses of the response tokens, float32 over all tokens, 0 off targets.
    """
    from components.token_scorer.handler import parse_example
    from components.token_scorer.losses import TokenLosses
    from components.trainer.model import load_model

    model = load_model(preset)
    np.savez(path.with_suffix(".npz"), **convert_weights(model.backbone))
    path.with_suffix(".json").write_text(json.dumps(convert_config(model.backbone), indent=1) + "\n")
    compute, losses = TokenLosses(model), []
    for example in map(parse_example, scored):
        ids, columns = example.token_ids[None, :-1], example.target_columns
        values = np.zeros(len(example.token_ids), np.float32)
        if len(columns):
            values[columns] = compute(ids, np.ones_like(ids), columns - 1, example.token_ids[columns])
        losses.append(values)
    return np.concatenate(losses)


def convert_weights(backbone: Any) -> dict[str, np.ndarray]:
    """Returns the weights of a KerasHub GPT-2 under the names, and in the shapes, of `GPT2LMHeadModel`."""
    weights = {weight.path: weight.numpy() for weight in backbone.weights}
    width = backbone.hidden_dim
    arrays = {
        "transformer.wte.weight": weights["token_embedding/embeddings"],
        "transformer.wpe.weight": weights["position_embedding/embeddings"],
        "transformer.ln_f.weight": weights["layer_norm/gamma"],
        "transformer.ln_f.bias": weights["layer_norm/beta"],
    }
    for i in range(backbone.num_layers):
        source, target = f"transformer_layer_{i}", f"transformer.h.{i}"
        attention = f"{source}/self_attention"
        parts = ("query", "key", "value")
        arrays |= {
            f"{target}.ln_1.weight": weights[f"{source}/self_attention_layer_norm/gamma"],
            f"{target}.ln_1.bias": weights[f"{source}/self_attention_layer_norm/beta"],
            f"{target}.attn.c_attn.weight": np.concatenate(
                [weights[f"{attention}/{part}/kernel"].reshape(width, width) for part in parts], axis=1
            ),
            f"{target}.attn.c_attn.bias": np.concatenate([weights[f"{attention}/{p}/bias"].ravel() for p in parts]),
            f"{target}.attn.c_proj.weight": weights[f"{attention}/attention_output/kernel"].reshape(width, width),
            f"{target}.attn.c_proj.bias": weights[f"{attention}/attention_output/bias"],
            f"{target}.ln_2.weight": weights[f"{source}/feedforward_layer_norm/gamma"],
            f"{target}.ln_2.bias": weights[f"{source}/feedforward_layer_norm/beta"],
            f"{target}.mlp.c_fc.weight": weights[f"{source}/feedforward_intermediate_dense/kernel"],
            f"{target}.mlp.c_fc.bias": weights[f"{source}/feedforward_intermediate_dense/bias"],
            f"{target}.mlp.c_proj.weight": weights[f"{source}/feedforward_output_dense/kernel"],
            f"{target}.mlp.c_proj.bias": weights[f"{source}/feedforward_output_dense/bias"],
        }
    assert sum(a.size for a in arrays.values()) == sum(w.size for w in weights.values()), "a weight is left over"
    return arrays


def convert_config(backbone: Any) -> dict[str, Any]:
    """Returns the arguments of `GPT2Config` for a KerasHub GPT-2."""
    layers = backbone.transformer_layers
    epsilons = {backbone.layer_norm.epsilon, *(layer.layer_norm_epsilon for layer in layers)}
    activations = {getattr(layer.activation, "__name__", "") for layer in layers}
    assert len(epsilons) == 1 and activations == {"gelu_approximate"}, (epsilons, activations)
    return {
        "vocab_size": backbone.vocabulary_size,
        "n_positions": backbone.max_sequence_length,
        "n_embd": backbone.hidden_dim,
        "n_inner": backbone.intermediate_dim,
        "n_layer": backbone.num_layers,
        "n_head": backbone.num_heads,
        "layer_norm_epsilon": epsilons.pop(),
        "activation_function": "gelu_new",  # the approximation by tanh
    }


def _serialize(row: int, tokenized: Any) -> bytes:
    import tensorflow as tf

    example = tf.train.Example()
    values = example.features.feature
    values["token_ids"].int64_list.value.extend(tokenized.token_ids)
    values["target_mask"].int64_list.value.extend(tokenized.target_mask)
    values["example_id"].bytes_list.value.append(hashlib.sha256(f"{row}".encode()).hexdigest()[:32].encode())
    values["row"].int64_list.value.append(row)
    return example.SerializeToString()


def _get_values(record: bytes, name: str) -> np.ndarray:
    import tensorflow as tf

    feature = tf.train.Example.FromString(record).features.feature[name]
    return np.array(getattr(feature, feature.WhichOneof("kind")).value)


# --- compare: PyTorch, transformers, numpy -----------------------------------------------------------------------------


def compare(arguments: argparse.Namespace) -> int:
    """Computes everything anew, writes the report, and returns the exit code."""
    import torch

    # Threads that wait for each other cost more than they save on matrices this small, above all on a busy machine.
    torch.set_num_threads(1)
    report: dict[str, Any] = {
        "command": _describe_command(),
        "machine": describe_machine(["torch", "transformers", "numpy"]),
        "limits": {
            "influence_max_abs_difference_nats": MAX_INFLUENCE_DIFFERENCE,
            "dataset_share_of_tokens_kept_differently": MAX_SHARE_OF_KEPT_DIFFERENT,
        },
        "data_sets": {},
    }
    for folder in arguments.folders:
        settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        figures = compare_folder(folder, settings["keep"])
        problems = find_problems(figures)
        report["data_sets"][folder.name] = {"export": settings, "figures": figures, "problems": problems}
        print(json.dumps({folder.name: figures, "problems": problems}, indent=1))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return int(any(data_set["problems"] for data_set in report["data_sets"].values()))


def compare_folder(folder: Path, keep: float) -> dict[str, Any]:
    """Returns the figures of one export."""
    with np.load(folder / "examples.npz", allow_pickle=False) as file:
        ours = dict(file)
    ends = np.cumsum(ours["lengths"])[:-1]
    token_ids, masks = np.split(ours["token_ids"], ends), np.split(ours["target_mask"], ends)
    # Of the response tokens, those that have a token before them.
    is_target = np.concatenate([(mask > 0) & (np.arange(len(mask)) > 0) for mask in masks])
    rows = np.repeat(np.arange(len(ours["lengths"])), ours["lengths"])[is_target]
    figures: dict[str, Any] = {"examples": len(token_ids), "tokens": int(is_target.sum())}
    losses: dict[str, np.ndarray] = {}
    exact: dict[str, np.ndarray] = {}
    for name in MODELS:
        model = load_model(folder / name)
        losses[name] = np.concatenate([compute_losses(model, ids) for ids in token_ids])[is_target]
        exact[name] = np.concatenate([compute_losses(model.double(), ids) for ids in token_ids])[is_target]
        figures[f"{name}_loss"] = _differ(ours[f"{name}_loss"][is_target], losses[name])
        figures[f"{name}_loss"]["mean"] = float(losses[name].mean())
    influence = losses["base"] - losses["reference"]
    our_influence = ours["influence"][is_target]
    figures["influence"] = _differ(our_influence, influence) | {
        "mean": float(influence.mean()),
        "standard_deviation": float(influence.std()),
        "correlation": float(np.corrcoef(our_influence, influence)[0, 1]),
    }
    # How far float32 itself is off, on either side.
    exact_influence = exact["base"] - exact["reference"]
    figures["rounding"] = {
        "torch_float32_from_float64": _differ(influence, exact_influence),
        "ours_from_float64": _differ(our_influence, exact_influence),
    }
    # Two tokens can change places only if they are closer than what both may be off.
    tie = 2 * figures["influence"]["max_abs_difference"]
    kept = ours["kept_dataset"][is_target]
    figures["dataset"] = compare_dataset(influence, kept, keep) | {"tie_nats": tie}
    kept = ours["kept_sample"][is_target]
    groups = [(influence[rows == row], kept[rows == row]) for row in range(len(token_ids))]
    figures["sample"] = compare_samples(groups, keep, tie) | {"tie_nats": tie}
    figures["prompt_tokens_kept"] = int(sum(ours[f"kept_{scope}"][ours["target_mask"] == 0].sum() for scope in SCOPES))
    return figures


def load_model(path: Path) -> Any:
    """Loads arrays and configuration into transformers' GPT-2, float32."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    config = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    model = GPT2LMHeadModel(GPT2Config(**config, bos_token_id=None, eos_token_id=None, attn_implementation="eager"))
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as file:
        missing, unexpected = model.load_state_dict({k: torch.from_numpy(v) for k, v in file.items()}, strict=False)
    # The output layer is the embedding itself.
    assert set(missing) <= {"lm_head.weight"} and not unexpected, (missing, unexpected)
    model.tie_weights()
    assert model.lm_head.weight.data_ptr() == model.transformer.wte.weight.data_ptr()
    return model.eval()


def compute_losses(model: Any, token_ids: np.ndarray) -> np.ndarray:
    """Returns -log p(token | tokens before it) in nats for one example, unpadded; 0 for its first token."""
    import torch

    ids = torch.from_numpy(token_ids.astype(np.int64))
    with torch.no_grad():
        output = model(ids[None], labels=ids[None])
    losses = torch.nn.functional.cross_entropy(output.logits[0, :-1], ids[1:], reduction="none")
    # The library's own idea of which token a position predicts.
    assert abs(float(losses.mean() - output.loss)) < 1e-4
    return np.concatenate([[0], losses.numpy()]).astype(losses.numpy().dtype)


def take_top(influence: np.ndarray, number: int) -> np.ndarray:
    """Returns which values are the `number` largest, bool."""
    order = sorted(range(len(influence)), key=lambda i: -influence[i])
    top = np.zeros(len(influence), bool)
    top[order[:number]] = True
    return top


def measure_disagreement(influence: np.ndarray, kept: np.ndarray, number: int) -> tuple[int, float]:
    """Compares a kept set with the top `number`: tokens in one alone, and how far the farthest is from the cut, in nats."""
    differs = kept != take_top(influence, number)
    if not differs.any():
        return 0, 0.0
    descending = np.sort(influence)[::-1]
    edge = descending[[max(number - 1, 0), min(number, len(descending) - 1)]].mean()
    return int(differs.sum()), float(np.abs(influence[differs] - edge).max())


def compare_dataset(influence: np.ndarray, kept: np.ndarray, keep: float) -> dict[str, Any]:
    """Returns how our set for one cut over all tokens agrees with the top `keep` of the influence."""
    expected = round(keep * len(kept))
    different, distance = measure_disagreement(influence, kept, expected)
    different_at_number, distance_at_number = measure_disagreement(influence, kept, int(kept.sum()))
    return {
        "kept": int(kept.sum()),
        "kept_expected": expected,
        "tokens_different": different,
        "share_of_tokens_different": different / len(kept),
        "max_distance_from_cut_nats": distance,
        # With the quantile's own error in the number of tokens taken out.
        "tokens_different_at_our_number": different_at_number,
        "max_distance_from_cut_nats_at_our_number": distance_at_number,
    }


def compare_samples(groups: Sequence[tuple[np.ndarray, np.ndarray]], keep: float, tie: float) -> dict[str, Any]:
    """Returns how our sets for one cut an example agree, for the number of tokens that we keep of each.

    Args:
        groups: Influence and our set of each example.
        keep: Share.
        tie: Tokens may change places within this distance from the cut, in nats.
    """
    results = [measure_disagreement(influence, kept, int(kept.sum())) for influence, kept in groups]
    total, kept_total = sum(len(kept) for _, kept in groups), sum(int(kept.sum()) for _, kept in groups)
    return {
        "kept": kept_total,
        "kept_share": kept_total / total,
        "tokens_different": sum(number for number, _ in results),
        "examples_different": sum(number > 0 for number, _ in results),
        "examples_different_beyond_ties": sum(distance > tie for _, distance in results),
        "max_distance_from_cut_nats": max(distance for _, distance in results),
        "max_rounding_of_number": float(max(abs(kept.sum() - keep * len(kept)) for _, kept in groups)),
    }


def find_problems(figures: dict[str, Any]) -> list[str]:
    """Returns what must not be, one sentence each."""
    dataset, sample = figures["dataset"], figures["sample"]
    checks = {
        "the influence differs by too much": figures["influence"]["max_abs_difference"] <= MAX_INFLUENCE_DIFFERENCE,
        "one cut for all: too many tokens differ": dataset["share_of_tokens_different"] <= MAX_SHARE_OF_KEPT_DIFFERENT,
        "one cut for all: a token differs that is no tie": dataset["max_distance_from_cut_nats_at_our_number"]
        <= dataset["tie_nats"],
        "one cut an example: a token differs that is no tie": not sample["examples_different_beyond_ties"],
        "one cut an example: a number is not the share, rounded down or up": sample["max_rounding_of_number"] < 1,
        "a prompt token is kept as a target": not figures["prompt_tokens_kept"],
    }
    return [problem for problem, holds in checks.items() if not holds]


def print_golden(arguments: argparse.Namespace) -> None:
    """Prints the golden examples, their influence and the kept sets.

    The reference is the base with its token embeddings multiplied by a factor: both stacks can make it without training.
    """
    import torch

    base, reference = load_model(arguments.folder / "base"), load_model(arguments.folder / "base")
    with torch.no_grad():
        reference.transformer.wte.weight *= GOLDEN_EMBEDDING_FACTOR
    influence = []
    for ids, number in GOLDEN_EXAMPLES:
        losses = [compute_losses(model, np.array(ids))[-number:] for model in (base, reference)]
        influence.append(losses[0] - losses[1])
    everything = np.concatenate(influence)
    kept = {
        "dataset": take_top(everything, round(GOLDEN_KEEP * len(everything))),
        # All numbers of tokens are multiples of 5, so that nothing is rounded.
        "sample": np.concatenate([take_top(values, round(GOLDEN_KEEP * len(values))) for values in influence]),
    }
    for (ids, _), values in zip(GOLDEN_EXAMPLES, influence, strict=True):
        print(f"({ids}, {[round(float(value), 6) for value in values]}),")
    for scope in SCOPES:
        print(f'"{scope}": "{"".join(map(str, kept[scope].astype(int)))}",')


def _differ(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    difference = np.abs(ours.astype(np.float64) - theirs)
    return {"max_abs_difference": float(difference.max()), "mean_abs_difference": float(difference.mean())}


# --- command line ------------------------------------------------------------------------------------------------------


def _describe_command() -> str:
    """Returns the command that runs; of absolute paths the last two parts, as the rest is one machine's own."""
    words = ["/".join(Path(word).parts[-2:]) if Path(word).is_absolute() else word for word in sys.argv]
    return shlex.join(["python", *words])


def main() -> int:
    """Parses the command line and runs one of the halves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="half", required=True)
    half = commands.add_parser("export", help="score and cut with the product")
    half.add_argument("--preset", default="data/base/tiny_gpt2_en")
    half.add_argument("--reference", help="preset of the reference model; by default it is trained for a few steps")
    half.add_argument("--data", default="data/sample/instructions.jsonl")
    half.add_argument("--columns", default="instruction=instruction,input=input,output=output")
    half.add_argument("--rows", type=int, default=400)
    half.add_argument("--max-length", type=int, default=96)
    half.add_argument("--keep", type=float, default=0.6)
    half.add_argument("--batch-size", type=int, default=32)
    half.add_argument("--output", type=Path, required=True)
    half.set_defaults(run=export)
    half = commands.add_parser("compare", help="compute everything anew in PyTorch")
    half.add_argument("folders", type=Path, nargs="+", help="outputs of `export`")
    half.add_argument("--output", type=Path, required=True)
    half.set_defaults(run=compare)
    half = commands.add_parser("golden", help="print the examples of the unit test")
    half.add_argument("folder", type=Path, help="an output of `export`")
    half.set_defaults(run=print_golden)
    arguments = parser.parse_args()
    return arguments.run(arguments) or 0


if __name__ == "__main__":
    sys.exit(main())
