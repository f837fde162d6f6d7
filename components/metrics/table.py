"""The table of metrics, and how a metric is made from its name and options."""

from collections.abc import Mapping, Sequence
from typing import Any

from components import options as option_tables
from components.metrics.bits_per_byte import BitsPerByte
from components.metrics.bleu import Bleu
from components.metrics.chrf import Chrf
from components.metrics.classification import Classification
from components.metrics.contains_all import ContainsAll
from components.metrics.drfr import Drfr
from components.metrics.embedding_similarity import EmbeddingSimilarity
from components.metrics.exact_match import ExactMatch
from components.metrics.example_count import ExampleCount
from components.metrics.fuzzy_match import FuzzyMatch
from components.metrics.ifeval import IfEval
from components.metrics.json_match import JsonMatch
from components.metrics.judge import Judge
from components.metrics.length_ratio import LengthRatio
from components.metrics.loss import Loss
from components.metrics.metric import Metric
from components.metrics.multiple_choice import MultipleChoice
from components.metrics.number_match import NumberMatch
from components.metrics.pass_at_k import PassAtK
from components.metrics.perplexity import Perplexity
from components.metrics.regex_match import RegexMatch
from components.metrics.repetition import Repetition
from components.metrics.rouge import Rouge
from components.metrics.squad import Squad
from components.metrics.token_accuracy import TokenAccuracy

METRICS: dict[str, type[Metric]] = {
    "perplexity": Perplexity,
    "loss": Loss,
    "bits_per_byte": BitsPerByte,
    "token_accuracy": TokenAccuracy,
    "exact_match": ExactMatch,
    "squad": Squad,
    "rouge": Rouge,
    "bleu": Bleu,
    "chrf": Chrf,
    "number_match": NumberMatch,
    "json_match": JsonMatch,
    "regex_match": RegexMatch,
    "contains_all": ContainsAll,
    "fuzzy_match": FuzzyMatch,
    "length_ratio": LengthRatio,
    "repetition": Repetition,
    "classification": Classification,
    "multiple_choice": MultipleChoice,
    "ifeval": IfEval,
    "drfr": Drfr,
    "pass_at_k": PassAtK,
    "judge": Judge,
    "embedding_similarity": EmbeddingSimilarity,
    "example_count": ExampleCount,
}


def find_option_problems(name: str, options: Mapping[str, Any]) -> dict[str, str]:
    """See `components.options.find_option_problems`."""
    return option_tables.find_option_problems(METRICS, "metric", name, options)


def make_metric(name: str, options: Mapping[str, Any]) -> Metric:
    """Makes the metric `name` with `options`.

    Raises:
        ValueError: the metric or an option is unknown, or a value is out of range; all problems in one message.
    """
    return option_tables.make_entry(METRICS, "metric", name, options)


def make_metrics(section: Sequence[Mapping[str, Any]]) -> dict[str, Metric]:
    """Makes the metrics of a run's `evaluation.metrics`, by name."""
    return {
        entry["name"]: make_metric(entry["name"], {key: value for key, value in entry.items() if key != "name"})
        for entry in section
    }


def read_directions(metrics: Mapping[str, Metric]) -> dict[str, bool | None]:
    """Names of all values of the metrics, and whether higher is better."""
    return {name: higher for metric in metrics.values() for name, higher in metric.directions().items()}
