"""Checks the `token_cleaning` section against the rest of a run."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel

from components.methods.table import find_option_problems
from components.trainer.strategies import find_strategy_problems
from configs.load import Problem
from configs.schema import ModelSection, ReferenceSection, TextSection, TokenCleaningSection, TrainSection
from pipeline.code_hash import hash_folder
from pipeline.preset_checks import (
    find_precision_problems,
    find_preset_problems,
    read_backbone_number,
)

_REFERENCE = "token_cleaning.reference"


def check_token_cleaning(sections: Mapping[str, BaseModel]) -> list[Problem]:
    """Returns what is wrong with token cleaning; only what the chosen strategy uses is checked."""
    cleaning, train = sections.get("token_cleaning"), sections.get("train")
    if not isinstance(cleaning, TokenCleaningSection):
        return []
    if cleaning.strategy == "fixed":
        return list(_check_reference(cleaning.reference, sections))
    if (
        cleaning.strategy == "self_evolving"
        and isinstance(train, TrainSection)
        and train.max_steps is not None
        and train.max_steps < cleaning.parts
    ):
        return [
            Problem(
                "train.max_steps",
                f"must be at least token_cleaning.parts ({cleaning.parts}), one step a round. "
                f"Received: {train.max_steps}.",
            )
        ]
    return []


def _check_reference(reference: ReferenceSection, sections: Mapping[str, BaseModel]) -> Iterator[Problem]:
    model, text = sections.get("model"), sections.get("text")
    if reference.preset is None:
        for key, message in find_option_problems(reference.method.name, reference.method.options).items():
            yield Problem(f"{_REFERENCE}.method.{key}", message)
        for key, message in find_strategy_problems(reference.train.model_dump(mode="json")).items():
            yield Problem(f"{_REFERENCE}.train.{key}", message)
        if isinstance(model, ModelSection):
            yield from find_precision_problems(model.dtype, reference.method, f"{_REFERENCE}.")
        return
    key = f"{_REFERENCE}.preset"
    if problems := find_preset_problems(reference.preset):
        yield from (Problem(key, message) for message in problems)
        return
    limit = read_backbone_number(reference.preset, "max_sequence_length")
    if limit is not None and isinstance(text, TextSection) and text.max_length > limit:
        yield Problem(
            key, f"must have positions for text.max_length ({text.max_length}). Received: max_sequence_length {limit}."
        )
    if isinstance(model, ModelSection):
        yield from _compare(key, model.preset, reference.preset)


def _compare(key: str, base: str, reference: str) -> Iterator[Problem]:
    """The losses of two models are subtracted token by token, so their tokens must be the same.

    Presets that are no folders are compared when the TokenScorer has loaded them, before it scores anything.
    """
    way_out = "Take a preset that was tuned from model.preset, or null to train one in the run."
    sizes = [read_backbone_number(preset, "vocabulary_size") for preset in (base, reference)]
    hashes = [
        hash_folder(preset, "assets/**/*") if (Path(preset) / "assets").is_dir() else None
        for preset in (base, reference)
    ]
    if None not in sizes and sizes[0] != sizes[1]:
        yield Problem(
            key,
            f"must have the vocabulary of model.preset. Received: {sizes[1]} tokens in {reference}, {sizes[0]} in {base}. "
            f"{way_out}",
        )
    elif None not in hashes and hashes[0] != hashes[1]:
        yield Problem(
            key, f"must have the tokenizer of model.preset. Received: {reference}, whose vocabulary differs. {way_out}"
        )
