"""Checks a whole run before anything runs, without TensorFlow: the file itself and what it refers to."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel

from components.errors import UserError
from components.example_gen.files import detect_format, split_path
from components.methods.table import find_option_problems
from components.metrics import METRICS
from components.text.templates import TEMPLATES
from configs.load import ConfigError, Problem, apply_overrides, nearest, parse_sections, read_yaml
from configs.schema import (
    DataSection,
    EvaluationSection,
    GenerationSection,
    MethodSection,
    ModelSection,
    RunConfig,
    TextSection,
    TrainSection,
)

_SPECIAL_PRESETS = ("kaggle://", "hf://", "modelscope://", "gs://")


def load_config(path: str, overrides: Iterable[str] = ()) -> RunConfig:
    """Returns the run that the YAML file at `path` describes, with each `section.key=value` of `overrides` set.

    Raises:
        ConfigError: With every problem: of the file's form, of its values, and of what it refers to.
    """
    raw, problems = apply_overrides(read_yaml(path), overrides)
    sections, section_problems = parse_sections(raw)
    problems += section_problems + check_sections(sections)
    if problems:
        raise ConfigError(path, problems)
    return RunConfig(**cast(dict[str, Any], sections))


def check_sections(sections: Mapping[str, BaseModel]) -> list[Problem]:
    """Returns what is wrong between valid sections and what they refer to; checks that lack a section are left out."""
    problems: list[Problem] = []
    for check in (
        _check_data,
        _check_text,
        _check_preset,
        _check_method,
        _check_precision,
        _check_evaluation,
        _check_lengths,
    ):
        problems += check(sections)
    return problems


def _check_data(sections: Mapping[str, BaseModel]) -> list[Problem]:
    data = sections.get("data")
    if not isinstance(data, DataSection):
        return []
    problems = []
    try:
        base, pattern = split_path(data.path)
        if "://" not in data.path and not list(Path(base).glob(pattern)):
            message = f"must be a file, a folder or a glob of files that matches.{_near_file(data.path)}"
            problems.append(Problem("data.path", message))
        elif data.format == "auto" and pattern != "*":
            detect_format(data.path)
    except UserError as error:
        problems.append(Problem("data.path", str(error).removeprefix("data.path: ")))
    if data.schema_path is not None and not Path(data.schema_path).is_file():
        problems.append(
            Problem("data.schema_path", f"must be a file, or null to infer the schema.{_near_file(data.schema_path)}")
        )
    return problems


def _check_text(sections: Mapping[str, BaseModel]) -> list[Problem]:
    text = sections.get("text")
    if not isinstance(text, TextSection) or text.template in TEMPLATES:
        return []
    return [
        Problem(
            "text.template",
            f"unknown template.{nearest(text.template, TEMPLATES)} Templates: {', '.join(TEMPLATES)}. "
            f"Received: {text.template!r}.",
        )
    ]


def _check_preset(sections: Mapping[str, BaseModel]) -> list[Problem]:
    model = sections.get("model")
    if not isinstance(model, ModelSection) or model.preset.startswith(_SPECIAL_PRESETS):
        return []
    folder = Path(model.preset)
    if folder.is_dir():
        missing = [n for n in ("config.json",) if not (folder / n).is_file()]
        # KerasHub's own weights, in one file or in shards, or those of Hugging Face.
        if not any(list(folder.glob(pattern)) for pattern in ("*.weights.h5", "*.weights.json", "*.safetensors")):
            missing.append("model.weights.h5")
        if missing:
            return [
                Problem("model.preset", f"must be a KerasHub preset folder. {model.preset} lacks {', '.join(missing)}.")
            ]
    elif "/" in model.preset or not re.fullmatch(r"[a-z0-9_.]+", model.preset):
        return [
            Problem(
                "model.preset",
                "must be an existing preset folder, the name of a KerasHub preset, or a handle that starts with "
                f"hf:// or kaggle://.{_near_file(model.preset)}",
            )
        ]
    return []


def _check_method(sections: Mapping[str, BaseModel]) -> list[Problem]:
    method = sections.get("method")
    if not isinstance(method, MethodSection):
        return []
    found = find_option_problems(method.name, method.options)
    return [Problem(f"method.{key}", message) for key, message in found.items()]


def _check_precision(sections: Mapping[str, BaseModel]) -> list[Problem]:
    """What the optimizer would refuse after everything before it has run (see `components/trainer/optimizer.py`)."""
    model, method, train = sections.get("model"), sections.get("method"), sections.get("train")
    if not isinstance(model, ModelSection):
        return []
    if isinstance(method, MethodSection) and method.name == "full" and model.dtype == "bfloat16":
        return [
            Problem(
                "model.dtype",
                "must be float32 or a mixed policy for the method `full`: in bfloat16, updates of usual size are rounded "
                "away. Received: 'bfloat16'. Did you mean `mixed_bfloat16`?",
            )
        ]
    if isinstance(train, TrainSection) and train.gradient_accumulation_steps > 1 and model.dtype == "mixed_float16":
        return [
            Problem(
                "train.gradient_accumulation_steps",
                "must be 1 with model.dtype mixed_float16, whose loss scaling drops single parts of a batch. "
                f"Received: {train.gradient_accumulation_steps}. Use mixed_bfloat16.",
            )
        ]
    return []


def _check_evaluation(sections: Mapping[str, BaseModel]) -> list[Problem]:
    evaluation, data = sections.get("evaluation"), sections.get("data")
    if not isinstance(evaluation, EvaluationSection):
        return []
    problems = []
    for i, name in enumerate(evaluation.metrics):
        if name not in METRICS:
            problems.append(
                Problem(
                    f"evaluation.metrics.{i}",
                    f"unknown metric.{nearest(name, METRICS)} Metrics: {', '.join(METRICS)}. Received: {name!r}.",
                )
            )
    for i, threshold in enumerate(evaluation.thresholds):
        key = f"evaluation.thresholds.{i}"
        if threshold.metric not in evaluation.metrics:
            near = nearest(threshold.metric, evaluation.metrics)
            problems.append(
                Problem(f"{key}.metric", f"must be one of evaluation.metrics.{near} Received: {threshold.metric!r}.")
            )
        elif threshold.min_improvement is not None and _has_no_direction(threshold.metric):
            problems.append(
                Problem(
                    f"{key}.min_improvement", f"cannot be asked of `{threshold.metric}`, which has no better or worse."
                )
            )
    if isinstance(data, DataSection):
        for i, column in enumerate(evaluation.slice_columns):
            if column not in data.slice_columns:
                problems.append(
                    Problem(
                        f"evaluation.slice_columns.{i}",
                        f"must be one of data.slice_columns ({', '.join(data.slice_columns) or 'none'})."
                        f"{nearest(column, data.slice_columns)} Received: {column!r}.",
                    )
                )
    return problems


def _has_no_direction(metric: str) -> bool:
    return metric in METRICS and METRICS[metric].higher_is_better is None


def _check_lengths(sections: Mapping[str, BaseModel]) -> list[Problem]:
    text, generation, model = sections.get("text"), sections.get("generation"), sections.get("model")
    problems = []
    if (
        isinstance(text, TextSection)
        and isinstance(generation, GenerationSection)
        and generation.max_new_tokens > text.max_length - 2
    ):
        problems.append(
            Problem(
                "generation.max_new_tokens",
                f"must leave at least 2 tokens of text.max_length ({text.max_length}) for the prompt. "
                f"Received: {generation.max_new_tokens}.",
            )
        )
    if isinstance(text, TextSection) and isinstance(model, ModelSection):
        limit = _read_max_sequence_length(model.preset)
        if limit is not None and text.max_length > limit:
            problems.append(
                Problem(
                    "text.max_length",
                    f"must be at most {limit}, the preset's max_sequence_length. Received: {text.max_length}.",
                )
            )
    return problems


def _read_max_sequence_length(preset: str) -> int | None:
    """Returns how many positions the model in a preset folder has; None where it has no limit or is no folder."""
    try:
        config = json.loads((Path(preset) / "config.json").read_text(encoding="utf-8"))
        limit = config["config"].get("max_sequence_length")
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    return limit if isinstance(limit, int) else None


def _near_file(path: str) -> str:
    """Returns what was received and, where there is one, the most similar name in the same folder."""
    parent = Path(path).parent
    near = nearest(Path(path).name, [p.name for p in parent.iterdir()]) if parent.is_dir() else ""
    return f" Received: {path!r}; there is no such file or folder.{near}"
