"""The peer's half of token_cleaning_parity.py: PyTorch, transformers and numpy compute everything anew."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from harness import describe_command
from machine import describe_machine

SCOPES = ("dataset", "sample")
MODELS = ("base", "reference")
MAX_INFLUENCE_DIFFERENCE = 1e-3  # nats
MAX_SHARE_OF_KEPT_DIFFERENT = 1e-3
GOLDEN_EMBEDDING_FACTOR = 1.05
GOLDEN_KEEP = 0.4
# Token ids, and how many of them, at the end, are the response.
GOLDEN_EXAMPLES = [
    ([4095, 1479, 1470, 25, 198, 1199, 365, 264, 3060, 283, 2651, 30, 198, 198, 1479, 1480, 25, 198, 902, 365, 1666, 13,
      4095], 5),
    ([4095, 1479, 1470, 25, 198, 3983, 2897, 273, 324, 30, 198, 198, 1479, 1478, 25, 198, 32, 77, 601, 2897, 258, 688,
      1066, 273, 2002, 13, 198, 198, 1479, 1480, 25, 198, 902, 316, 1895, 601, 4095], 5),
    ([4095, 1479, 1470, 25, 198, 49, 68, 380, 297, 264, 1117, 13, 198, 198, 1479, 1478, 25, 198, 954, 698, 442, 280,
      264, 3077, 198, 198, 1479, 1480, 25, 198, 627, 698, 442, 280, 264, 3319, 3319, 3077, 13, 4095], 10),
]  # fmt: skip


def compare(arguments: argparse.Namespace) -> int:
    """Computes everything anew, writes the report, and returns the exit code."""
    import torch

    # Threads that wait for each other cost more than they save on matrices this small, above all on a busy machine.
    torch.set_num_threads(1)
    report: dict[str, Any] = {
        "command": describe_command(),
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
