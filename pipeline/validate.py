"""Checks a whole run before anything runs, without TensorFlow: the file itself and what it refers to."""

import os
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel

from components.evaluator.gate import GENERAL, GENERAL_METRICS
from components.example_gen.spans import has_placeholders
from components.git_lfs import POINTER
from components.methods.table import find_option_problems
from components.metrics import sandbox
from components.metrics.embedding_similarity import EmbeddingSimilarity
from components.metrics.judge import WIN, Judge
from components.metrics.pass_at_k import PassAtK
from components.metrics.table import find_option_problems as find_metric_problems
from components.metrics.table import make_metric
from components.options import nearest
from components.trainer.samplers import find_option_problems as find_sampler_problems
from components.trainer.strategies import find_strategy_problems
from configs.evaluation_schema import EvaluationSection, ThresholdSection
from configs.load import ConfigError, Problem, apply_overrides, parse_sections, read_yaml
from configs.schema import (
    DataSection,
    ExportSection,
    GenerationSection,
    MethodSection,
    ModelSection,
    RunConfig,
    TextSection,
    TrainSection,
)
from pipeline.export_checks import find_export_problems
from pipeline.file_checks import find_file_problems
from pipeline.preset_checks import (
    find_precision_problems,
    find_preset_problems,
    near_file,
    read_backbone_number,
)
from pipeline.template_checks import find_template_problems
from pipeline.validate_cleaning import check_token_cleaning


def load_config(path: str, overrides: Iterable[str] = (), mounted: str | None = None) -> RunConfig:
    """Returns the run that the YAML file at `path` describes, with each `section.key=value` of `overrides` set.

    Args:
        path: The file.
        overrides: See above.
        mounted: Where the cluster that it is for mounts a volume, which this machine does not see.

    Raises:
        ConfigError: With every problem: of the file's form, of its values, and of what it refers to.
    """
    return make_config(read_yaml(path), path, overrides, mounted)


def make_config(
    raw: Mapping[str, Any], source: str, overrides: Iterable[str] = (), mounted: str | None = None
) -> RunConfig:
    """Returns the run that a mapping describes, with each `section.key=value` of `overrides` set.

    Raises:
        ConfigError: With every problem; `source` is what it calls the mapping.
    """
    raw, problems = apply_overrides(raw, overrides)
    sections, section_problems = parse_sections(raw)
    problems += section_problems + check_sections(sections, mounted)
    if problems:
        raise ConfigError(source, problems)
    return RunConfig(**cast(dict[str, Any], sections))


def find_environment_problems(config: RunConfig) -> list[Problem]:
    """Returns what the run needs and this environment does not have: secrets, isolation. `validate` may run elsewhere."""
    problems = []
    if (backend := os.environ.get("KERAS_BACKEND")) and backend != "tensorflow":
        message = (
            f"the environment variable KERAS_BACKEND must be tensorflow, or not set: nodes serve and export with TensorFlow. Received: {backend!r}. "
            "Unset it; `train.backend` says what trains."
        )
        problems.append(Problem("train.backend", message))
    for i, section in enumerate(config.evaluation.metrics):
        metric = make_metric(section.name, section.options)
        if (
            isinstance(metric, Judge)
            and metric.endpoint
            and metric.api_key_env
            and not os.environ.get(metric.api_key_env)
        ):
            message = (
                f"the environment variable {metric.api_key_env} must hold the key of the judge's endpoint. It is not set. Set it, "
                "or set `api_key_env: null` if the endpoint needs none."
            )
            problems.append(Problem(f"evaluation.metrics.{i}.api_key_env", message))
        if isinstance(metric, PassAtK) and (reason := sandbox.find_problem()):
            problems.append(Problem(f"evaluation.metrics.{i}", reason))
    return problems


def check_sections(sections: Mapping[str, BaseModel], mounted: str | None = None) -> list[Problem]:
    """Returns what is wrong between valid sections and what they refer to; checks that lack a section are left out."""
    problems: list[Problem] = []
    for check in (
        partial(_check_data, mounted=mounted),
        _check_text,
        _check_preset,
        _check_method,
        _check_precision,
        _check_strategy,
        _check_generation,
        partial(_check_evaluation, mounted=mounted),
        _check_lengths,
        _check_export,
        check_token_cleaning,
    ):
        problems += check(sections)
    return problems


def _check_data(sections: Mapping[str, BaseModel], mounted: str | None) -> list[Problem]:
    data = sections.get("data")
    if not isinstance(data, DataSection):
        return []
    problems = [Problem("data.path", message) for message in find_file_problems(data.path, data.format, mounted)]
    if data.window > 1 and not has_placeholders(data.path):
        message = f"is for a data.path with {{SPAN}} or a date; this one has none. Received: {data.window}."
        problems.append(Problem("data.window", message))
    if data.schema_path is not None and (problem := _find_schema_problem(data.schema_path)):
        problems.append(Problem("data.schema_path", problem))
    return problems


def _find_schema_problem(path: str) -> str | None:
    # Only for runs that have a schema: it takes as long as all other checks.
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    if not Path(path).is_file():
        return f"must be a file, or null to infer the schema.{near_file(path)}"
    try:
        content = Path(path).read_bytes()
        if content.startswith(POINTER):
            return f"must be a schema. {path} is a pointer of Git LFS in its place: fetch it with `git lfs pull`."
        text_format.Parse(content.decode(), schema_pb2.Schema())
    except OSError as error:
        return f"must be a file that you can read. Received: {error}."
    except (UnicodeDecodeError, text_format.ParseError) as error:
        return f"must be a schema of TensorFlow Metadata as text (`feature {{ name: ... }}`), or null to infer it. Received {path}: {error}."
    return None


def _check_text(sections: Mapping[str, BaseModel]) -> list[Problem]:
    text, model, data = sections.get("text"), sections.get("model"), sections.get("data")
    if not isinstance(text, TextSection):
        return []
    return find_template_problems(
        text,
        model if isinstance(model, ModelSection) else None,
        data if isinstance(data, DataSection) else None,
    )


def _check_preset(sections: Mapping[str, BaseModel]) -> list[Problem]:
    model = sections.get("model")
    if not isinstance(model, ModelSection):
        return []
    return [Problem("model.preset", message) for message in find_preset_problems(model.preset)]


def _check_method(sections: Mapping[str, BaseModel]) -> list[Problem]:
    method = sections.get("method")
    if not isinstance(method, MethodSection):
        return []
    found = find_option_problems(method.name, method.options)
    return [Problem(f"method.{key}", message) for key, message in found.items()]


def _check_precision(sections: Mapping[str, BaseModel]) -> list[Problem]:
    """What the optimizer would refuse after everything before it has run (see `components/trainer/optimizer.py`)."""
    model, method = sections.get("model"), sections.get("method")
    if not isinstance(model, ModelSection):
        return []
    return find_precision_problems(model.dtype, method if isinstance(method, MethodSection) else None)


def _check_strategy(sections: Mapping[str, BaseModel]) -> list[Problem]:
    train = sections.get("train")
    if not isinstance(train, TrainSection):
        return []
    found = find_strategy_problems(train.model_dump(mode="json"))
    return [Problem(f"train.{key}", message) for key, message in found.items()]


def _check_generation(sections: Mapping[str, BaseModel]) -> list[Problem]:
    generation = sections.get("generation")
    if not isinstance(generation, GenerationSection):
        return []
    found = find_sampler_problems(generation.sampler.name, generation.sampler.options)
    return [Problem(f"generation.sampler.{key}", message) for key, message in found.items()]


def _check_evaluation(sections: Mapping[str, BaseModel], mounted: str | None) -> list[Problem]:
    evaluation, data = sections.get("evaluation"), sections.get("data")
    if not isinstance(evaluation, EvaluationSection):
        return []
    problems = []
    directions: dict[str, bool | None] = {}
    for i, metric in enumerate(evaluation.metrics):
        found = find_metric_problems(metric.name, metric.options)
        problems += [Problem(f"evaluation.metrics.{i}.{key}", message) for key, message in found.items()]
        if not found:
            made = make_metric(metric.name, metric.options)
            directions |= made.directions()
            if isinstance(made, Judge | EmbeddingSimilarity) and made.preset is not None:
                messages = find_preset_problems(made.preset, is_language_model=isinstance(made, Judge))
                problems += [Problem(f"evaluation.metrics.{i}.preset", message) for message in messages]
            if isinstance(data, DataSection):
                problems += _check_columns(f"evaluation.metrics.{i}", metric.name, made.needed_columns(), data)
    if evaluation.general is not None:
        found_files = find_file_problems(evaluation.general.path, evaluation.general.format, mounted)
        problems += [Problem("evaluation.general.path", message) for message in found_files]
    for i, threshold in enumerate(evaluation.thresholds):
        problems += _check_threshold(f"evaluation.thresholds.{i}", threshold, evaluation, directions)
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


def _check_columns(key: str, metric: str, columns: Iterable[str], data: DataSection) -> list[Problem]:
    carried = [*data.slice_columns, *data.carry_columns]
    return [
        Problem(
            key,
            f"`{metric}` reads the column `{column}`, which must be one of data.carry_columns or data.slice_columns "
            f"({', '.join(carried) or 'none'}).{nearest(column, carried)}",
        )
        for column in columns
        if column not in carried
    ]


def _check_threshold(
    key: str, threshold: ThresholdSection, evaluation: EvaluationSection, directions: Mapping[str, bool | None]
) -> list[Problem]:
    if threshold.slice == GENERAL:
        return _check_general_threshold(key, threshold, evaluation)
    problems = []
    # Without any value known, the metrics are what is wrong.
    if directions and threshold.metric not in directions:
        near = nearest(threshold.metric, directions)
        message = (
            f"must be a value of evaluation.metrics ({', '.join(directions)}).{near} Received: {threshold.metric!r}."
        )
        problems.append(Problem(f"{key}.metric", message))
    elif threshold.min_improvement is not None and directions.get(threshold.metric, True) is None:
        message = f"cannot be asked of `{threshold.metric}`, which has no better or worse."
        problems.append(Problem(f"{key}.min_improvement", message))
    if threshold.metric == WIN and threshold.against == "preset" and threshold.min_improvement is not None:
        message = f"must be blessed: `{WIN}` compares with the baseline alone (on a first run, the preset). Received: 'preset'."
        problems.append(Problem(f"{key}.against", message))
    if threshold.slice is not None and (column := threshold.slice.partition("=")[0]) not in evaluation.slice_columns:
        known = ", ".join(evaluation.slice_columns) or "none"
        near = nearest(column, evaluation.slice_columns)
        message = f"must be a column of evaluation.slice_columns ({known}) or column=value.{near} Received: {threshold.slice!r}."
        problems.append(Problem(f"{key}.slice", message))
    return problems


def _check_general_threshold(key: str, threshold: ThresholdSection, evaluation: EvaluationSection) -> list[Problem]:
    problems = []
    if evaluation.general is None:
        message = f"`{GENERAL}` is the text of evaluation.general, which is not given. Give its path."
        problems.append(Problem(f"{key}.slice", message))
    if threshold.metric not in GENERAL_METRICS:
        near = nearest(threshold.metric, GENERAL_METRICS)
        message = f"must be one of {', '.join(GENERAL_METRICS)} on the slice `{GENERAL}`.{near} Received: {threshold.metric!r}."
        problems.append(Problem(f"{key}.metric", message))
    if threshold.min_improvement is not None and threshold.against != "preset":
        message = (
            f"must be preset on the slice `{GENERAL}`, which only preset and candidate are asked. Received: 'blessed'."
        )
        problems.append(Problem(f"{key}.against", message))
    return problems


def _check_export(sections: Mapping[str, BaseModel]) -> list[Problem]:
    export, model = sections.get("export"), sections.get("model")
    if not isinstance(export, ExportSection) or not isinstance(model, ModelSection):
        return []
    return find_export_problems(export, model)


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
        limit = read_backbone_number(model.preset, "max_sequence_length")
        if limit is not None and text.max_length > limit:
            problems.append(
                Problem(
                    "text.max_length",
                    f"must be at most {limit}, the preset's max_sequence_length. Received: {text.max_length}.",
                )
            )
    return problems
