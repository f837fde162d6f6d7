"""Shows one thing of the store: a model or another artifact with its chain, or a run."""

from dataclasses import dataclass

from ml_metadata.metadata_store.metadata_store import MetadataStore

from pipeline.lineage import store as lineage_store
from pipeline.lineage.find import Subject, find_subject
from pipeline.lineage.graph import Graph, Step, Trace
from pipeline.lineage.runs import RunSummary, summarize
from pipeline.lineage.trace import trace_artifact


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What was asked about.

    Attributes:
        run: The run; None if an artifact was asked about.
        steps: The run's executions, in order.
        trace: The chain of the artifact, or of the model that the run has trained; None if it has trained none.
        others: How many more artifacts or runs the question's words mean: they were made later or earlier.
    """

    run: RunSummary | None
    steps: tuple[Step, ...]
    trace: Trace | None
    others: int


def show(store: MetadataStore, text: str | None, pipeline_name: str | None = None) -> Shown:
    """Returns what is known of a thing.

    Args:
        store: An open store.
        text: See `find_subject`; None: the model that was pushed last.
        pipeline_name: Without a text, only models of this pipeline.

    Raises:
        UserError: The store does not know it.
    """
    if text is None:
        pushed = lineage_store.get_latest_pushed(store, pipeline_name)
        return Shown(run=None, steps=(), trace=trace_artifact(store, pushed), others=0)
    subject = find_subject(store, text)
    if subject.artifacts:
        trace = trace_artifact(store, subject.artifacts[0])
        return Shown(run=None, steps=(), trace=trace, others=len(subject.artifacts) - 1)
    return _show_run(store, subject)


def _show_run(store: MetadataStore, subject: Subject) -> Shown:
    context = subject.runs[0]
    (summary,) = summarize(store, [context])
    graph = Graph(*lineage_store.fetch_runs(store, [context.id]))
    steps = [graph.make_step(i, traced_run_id=context.name) for i in sorted(graph.executions)]
    models = [a for step in steps for a in step.outputs if a.type == "Model" and "method" in a.properties]
    trace = trace_artifact(store, graph.artifacts[models[-1].id]) if models else None
    return Shown(run=summary, steps=tuple(steps), trace=trace, others=len(subject.runs) - 1)
