"""What token cleaning kept and dropped in a run: finds the reports in the metadata store.

Nothing here imports TFX or TensorFlow, but for the lookup of an example that is in no report.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from ml_metadata.metadata_store.metadata_store import ListOptions, MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.errors import UserError
from pipeline.lineage.graph import get_properties
from pipeline.lineage.store import CLEANING_REPORT_TYPES
from pipeline.tokens_report import Example, Report, read_report

_OF_A_TYPE = " OR ".join(f"type = '{name}'" for name in CLEANING_REPORT_TYPES)
_REPORTS = ListOptions(filter_query=f"({_OF_A_TYPE}) AND state = LIVE")
_WAY_OUT = "Set token_cleaning.strategy to fixed, self_evolving or random, and run the pipeline"
_NUM_NAMED = 5  # of what an error message lists


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
    return int(get_properties(artifact)["round"]), artifact.id


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
