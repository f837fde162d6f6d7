"""What is measured, and what a model must reach: the section `evaluation` of a run's YAML."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from configs.columns import ColumnsSection
from configs.section import Name, NamedSection, Section, expand_name


class MetricSection(NamedSection):
    """A metric by name; all other keys are its own options (see `components/metrics/`)."""


class ThresholdSection(Section):
    """One condition for the blessing. All that are given must hold.

    `lower_bound`/`upper_bound` bound the value itself. `min_improvement` is about the change against another model, in the
    direction in which the value gets better, and about evidence for it: with `require: better` the whole interval of the
    improvement must lie above it; with `require: not_worse` the model is refused if all of it lies below.
    """

    metric: Name
    slice: Name | None = None
    lower_bound: float | None = None
    upper_bound: float | None = None
    min_improvement: float | None = None
    against: Literal["blessed", "preset"] = "blessed"
    require: Literal["better", "not_worse"] = "better"

    @model_validator(mode="after")
    def _check_rule(self) -> "ThresholdSection":
        if self.lower_bound is None and self.upper_bound is None and self.min_improvement is None:
            raise ValueError("needs at least one of `lower_bound`, `upper_bound`, `min_improvement`")
        if self.lower_bound is not None and self.upper_bound is not None and self.lower_bound > self.upper_bound:
            raise ValueError(f"`lower_bound` {self.lower_bound} is above `upper_bound` {self.upper_bound}")
        return self


class GeneralColumnsSection(ColumnsSection):
    """As `data.columns`; or `text`, of which every token counts."""

    text: Name | None = None

    @model_validator(mode="after")
    def _check_shape(self) -> "GeneralColumnsSection":
        if self.text is None:
            super()._check_shape()  # type: ignore[operator]
        elif self.messages or self.instruction or self.input or self.output or self.system or self.tools:
            raise ValueError("give either `text`, or the columns of tasks, not both")
        return self


class GeneralSection(Section):
    """Text or tasks that the model is not tuned for, on which tuning shows what it has made it forget.

    It is measured as the slice `general`, for candidate and untouched preset. `max_perplexity_increase` is a share: with 0.05,
    there must be proof that the perplexity has risen by no more than 5 %.
    """

    path: Name
    format: Literal["auto", "jsonl", "json", "csv", "parquet"] = "auto"
    columns: GeneralColumnsSection = GeneralColumnsSection(text="text")
    max_bad_fraction: float = Field(0.01, ge=0, le=1)
    max_perplexity_increase: float | None = Field(None, ge=0)


class EvaluationSection(Section):
    """What is measured on which split, over which slices, and what a model must reach to be blessed."""

    split: Literal["eval", "test"] = "test"
    slice_columns: list[Name] = []
    metrics: list[MetricSection] = Field(
        [MetricSection(name=name) for name in ("perplexity", "token_accuracy", "exact_match", "example_count")],
        min_length=1,
    )
    thresholds: list[ThresholdSection] = Field(min_length=1)
    general: GeneralSection | None = None
    without_evidence: Literal["refuse", "bless"] = "refuse"
    min_examples: int = Field(30, ge=2)
    resamples: int = Field(1000, ge=200, le=100_000)
    confidence: float = Field(0.95, gt=0.5, lt=1)
    seed: int = Field(0, ge=0, le=2**31 - 1)
    batch_size: int = Field(64, ge=1)

    @field_validator("metrics", mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        """A metric without options may be given by its name alone."""
        return [expand_name(item) for item in value] if isinstance(value, list) else value

    @field_validator("metrics")
    @classmethod
    def _check_metrics(cls, value: list[MetricSection]) -> list[MetricSection]:
        names = [metric.name for metric in value]
        if len(set(names)) < len(names):
            raise ValueError(f"must name each metric once. Received: {', '.join(names)}")
        return value
