"""What token cleaning kept and dropped in a run: finds the reports in the metadata store, and reads them.

Nothing here imports TFX or TensorFlow, but for the lookup of an example that is in no report.
"""

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ml_metadata.metadata_store.metadata_store import ListOptions, MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.errors import UserError

REPORT_FILE = "report.json"
_REPORTS = ListOptions(filter_query="type = 'TokenCleaningReport' AND state = LIVE")
_WAY_OUT = "Set token_cleaning.strategy to fixed, self_evolving or random, and run the pipeline"
_NUM_NAMED = 5  # of what an error message lists


class _Part(BaseModel):
    # A later version may say more: what is not known here is kept for --json.
    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)


class Token(_Part):
    """A response token. Its influence is the base model's loss minus the reference model's, in nats."""

    text: str
    influence: float | None
    kept: bool


class Example(_Part):
    """A training example with its response tokens in order."""

    example_id: str
    slices: dict[str, str] = {}
    prompt: str
    tokens: list[Token]


class Bin(_Part):
    """Response tokens whose influence is in [`low`, `low` + bin width)."""

    low: float
    kept: int
    dropped: int


class Influence(_Part):
    """The distribution of influence; only bins that hold a token, lowest first."""

    min: float | None = None
    max: float | None = None
    mean: float | None = None
    bin_width: float = Field(gt=0)
    bins: list[Bin] = []

    @property
    def num_tokens(self) -> int:
        """Tokens that have an influence."""
        return sum(part.kept + part.dropped for part in self.bins)

    def quantile(self, share: float) -> float:
        """Returns the influence below which `share` of the tokens lie, exact to a part of a bin."""
        left = share * self.num_tokens
        for part in self.bins:
            count = part.kept + part.dropped
            if count and left <= count:
                return part.low + self.bin_width * left / count
            left -= count
        return self.bins[-1].low + self.bin_width if self.bins else 0.0


class SliceCounts(_Part):
    """Counts over the examples of one slice."""

    examples: int
    response_tokens: int
    kept_tokens: int


class TokenCounts(_Part):
    """How often a token of the vocabulary was dropped and kept."""

    token_id: int
    text: str
    dropped: int
    kept: int


class FrequentTokens(_Part):
    """The tokens dropped most often and kept most often, most frequent first."""

    dropped: list[TokenCounts]
    kept: list[TokenCounts]


class Report(_Part):
    """The report of one round. `report.json` holds these keys."""

    format_version: Literal[1]
    strategy: str
    scope: str
    keep: float
    round: int
    base: str
    reference: str
    num_examples: int
    num_examples_without_target: int
    num_response_tokens: int
    num_kept_tokens: int
    kept_share: float
    threshold: float | None
    rank_error_bound: float | None
    num_tied_at_threshold: int | None
    influence: Influence
    slices: dict[str, dict[str, SliceCounts]]
    tokens: FrequentTokens
    examples: list[Example]
    source: dict[str, Any]

    @property
    def has_influence(self) -> bool:
        """False for the control arm: its numbers are drawn at random, no model has scored its tokens."""
        return self.strategy != "random" and self.influence.num_tokens > 0


@dataclass(frozen=True, kw_only=True)
class Cleaning:
    """Token cleaning in one run: a report for each round, in order."""

    run_id: str
    pipeline_name: str
    reports: tuple[Report, ...]

    @property
    def num_kept_tokens(self) -> int:
        """Over all rounds; each has examples of its own."""
        return sum(report.num_kept_tokens for report in self.reports)

    @property
    def num_response_tokens(self) -> int:
        """Over all rounds."""
        return sum(report.num_response_tokens for report in self.reports)

    @property
    def num_examples(self) -> int:
        """Over all rounds."""
        return sum(report.num_examples for report in self.reports)

    @property
    def kept_share(self) -> float:
        """Over all rounds."""
        return self.num_kept_tokens / max(self.num_response_tokens, 1)


@dataclass(frozen=True, kw_only=True)
class _Run:
    context: mlmd.Context
    pipeline_name: str
    artifacts: list[mlmd.Artifact]


def load_cleaning(store: MetadataStore, run_id: str | None = None, pipeline_name: str | None = None) -> Cleaning:
    """Returns the reports of a run; without `run_id`, of the newest run (of the pipeline) that has some.

    Raises:
        UserError: There is no such run or pipeline, it has no report, or a report cannot be read.
    """
    runs = _list_runs(store)
    chosen = [run for run in runs if pipeline_name is None or run.pipeline_name == pipeline_name]
    if run_id is not None:
        chosen = [run for run in chosen if run.context.name == run_id]
    if not chosen:
        raise UserError(_explain_absence(store, runs, run_id, pipeline_name))
    run = chosen[0]
    reports = tuple(read_report(artifact.uri) for artifact in sorted(run.artifacts, key=_get_order))
    return Cleaning(run_id=run.context.name, pipeline_name=run.pipeline_name, reports=reports)


def read_report(folder: str) -> Report:
    """Returns the report in a folder.

    Raises:
        UserError: There is none, or it is damaged.
    """
    path = Path(folder) / REPORT_FILE
    try:
        return Report.model_validate(json.loads(path.read_bytes()))
    except OSError as error:
        raise UserError(
            f"The metadata store names a report that cannot be read: {path} ({error.strerror}). Its folder must stay where "
            "the run wrote it: put it back, or give another run with --run."
        ) from error
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        problem = f"{'.'.join(map(str, detail['loc'])) or 'the whole'}: {detail['msg']}"
    except ValueError as error:
        problem = str(error)
    raise UserError(
        f"{path} must be a report of token cleaning, format version 1. Received: {problem[:200]}. If it is damaged, "
        "restore it or give another run with --run."
    )


def find_example(cleaning: Cleaning, example_id: str | None = None) -> list[tuple[Report, Example]]:
    """Returns an example with the report of each round that it is in; without `example_id`, the last round's first.

    Args:
        cleaning: The run's reports.
        example_id: Its id, or a beginning that only one of the reported examples has.

    Raises:
        UserError: No example or several have this id.
    """
    if example_id is None:
        return [(report, report.examples[0]) for report in cleaning.reports[-1:] if report.examples]
    reported = [(report, example) for report in cleaning.reports for example in report.examples]
    for found in (
        [pair for pair in reported if pair[1].example_id == example_id],
        [pair for pair in reported if pair[1].example_id.startswith(example_id)],
    ):
        ids = list(dict.fromkeys(example.example_id for _, example in found))
        if len(ids) > 1:
            raise UserError(
                f"--example must fit one example, and {example_id!r} is the beginning of {len(ids)}: "
                f"{_join_few(ids)}. Give more of it."
            )
        if found:
            return found
    from components.cleaning_report.lookup import find_example as look_up  # imports TensorFlow

    raw = [(report, look_up(report.source, example_id)) for report in cleaning.reports]
    if looked_up := [(report, Example.model_validate(example)) for report, example in raw if example is not None]:
        return looked_up
    raise UserError(
        f"Run {cleaning.run_id} cleaned no example with the id {example_id!r}. --example takes the whole example_id of "
        "any training example, or the beginning of one in the report. In the report: "
        f"{_join_few([example.example_id for _, example in reported]) or 'none'}."
    )


def _list_runs(store: MetadataStore) -> list[_Run]:
    """Lists the runs with reports, newest first.

    A cached execution's outputs belong to the run that took them from the cache as well.
    """
    runs: dict[int, _Run] = {}
    for artifact in store.get_artifacts(_REPORTS):
        contexts = store.get_contexts_by_artifact(artifact.id)
        pipeline_name = next((context.name for context in contexts if context.type == "pipeline"), "(unnamed)")
        for context in contexts:
            if context.type == "pipeline_run":
                run = runs.setdefault(context.id, _Run(context=context, pipeline_name=pipeline_name, artifacts=[]))
                run.artifacts.append(artifact)
    return sorted(runs.values(), key=lambda run: (run.context.create_time_since_epoch, run.context.id), reverse=True)


def _get_order(artifact: mlmd.Artifact) -> tuple[int, int]:
    declared = "round" in artifact.properties
    value = (artifact.properties if declared else artifact.custom_properties)["round"]
    return value.int_value or int(value.double_value), artifact.id


def _explain_absence(store: MetadataStore, runs: list[_Run], run_id: str | None, pipeline_name: str | None) -> str:
    if not runs and run_id is None:
        return f"No run has cleaned its tokens yet. {_WAY_OUT}."
    of_pipeline = [run for run in runs if run.pipeline_name == pipeline_name] or runs
    ids = [run.context.name for run in of_pipeline]
    listing = f"Runs with token cleaning: {_join_few(ids)}." if ids else "No run has token cleaning yet."
    if run_id is None:
        names = dict.fromkeys(run.pipeline_name for run in runs)
        return (
            f"No run of the pipeline {pipeline_name!r} has cleaned its tokens. {_WAY_OUT}, or give another pipeline. "
            f"Pipelines with token cleaning: {_join_few(list(names))}."
        )
    if owner := next((run.pipeline_name for run in runs if run.context.name == run_id), None):
        return (
            f"--run must be a run of --pipeline. Run {run_id} is one of the pipeline {owner!r}, not {pipeline_name!r}."
        )
    if store.get_context_by_type_and_name("pipeline_run", run_id) is not None:
        return (
            f"Run {run_id} has no report of token cleaning: its token_cleaning.strategy was none, or it stopped before. "
            f"{_WAY_OUT}. {listing}"
        )
    nearest = difflib.get_close_matches(run_id, ids, n=1)
    hint = f" Did you mean {nearest[0]}?" if nearest else ""
    return f"--run must be the id of a run in this metadata store; it has no run {run_id!r}.{hint} {listing}"


def _join_few(names: Iterable[str]) -> str:
    """Joins the first names, and tells how many there are besides."""
    first, rest = (names := list(names))[:_NUM_NAMED], len(names) - _NUM_NAMED
    return ", ".join(first) + (f" and {rest:,} more" if rest > 0 else "")
