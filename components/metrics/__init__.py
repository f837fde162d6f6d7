"""The metrics a run's `evaluation.metrics` may name. Each is a TFMA metric over the outputs of the `evaluate` signature."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MetricEntry:
    """One row of the table.

    Attributes:
        class_name: The TFMA metric's class.
        module: Dotted path of its module.
        higher_is_better: Its direction, for `min_improvement`; None where better has no meaning.
        needs_text: True if it reads completions, which cost a generation.
    """

    class_name: str
    module: str
    higher_is_better: bool | None
    needs_text: bool = False


METRICS: dict[str, MetricEntry] = {
    "perplexity": MetricEntry(class_name="Perplexity", module="components.metrics.perplexity", higher_is_better=False),
    "token_accuracy": MetricEntry(
        class_name="TokenAccuracy", module="components.metrics.token_accuracy", higher_is_better=True
    ),
    "exact_match": MetricEntry(
        class_name="CompletionExactMatch",
        module="components.metrics.exact_match",
        higher_is_better=True,
        needs_text=True,
    ),
    "example_count": MetricEntry(
        class_name="ExampleCount", module="tensorflow_model_analysis.metrics.example_count", higher_is_better=None
    ),
}
