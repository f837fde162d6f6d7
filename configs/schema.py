"""What a run is: the sections of a run's YAML, with their types, ranges and defaults. Where it runs: `configs.runner_schema`.

The classes say what one section may hold. What needs knowledge from elsewhere (the options of a tuning method, the names
of templates and metrics, files that must exist) is checked in `pipeline.validate`, which reports together with these.
"""

import datetime
import itertools
import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from components.conditions import Condition
from configs.columns import ColumnsSection
from configs.evaluation_schema import EvaluationSection
from configs.section import Name, NamedSection, Section, expand_name

# Those of components/text/features.py, which stands above this module; a test compares.
_FEATURES = frozenset(
    [
        "instruction",
        "input",
        "output",
        "messages",
        "example_id",
        "source",
        "token_ids",
        "target_mask",
        "length",
        "prompt_length",
        "tokens_cut",
        "template_specials",
        "prompt",
        "response",
        "token_influence",
        "loss_weight",
        "num_response_tokens",
        "completion",
        "nll_sum",
        "token_count",
        "correct_count",
        "byte_count",
        "choices",
        "choice_nll",
        "choice_answers",
    ]
)

PIPELINE_NAME_RULE = "[a-z0-9][a-z0-9-]{0,127}"
SPLIT_NAMES = ("train", "eval", "test")


class PipelineSection(Section):
    """Identity of the pipeline in the metadata store; runs of one name share cache and blessed models."""

    name: str

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        # The rule of Kubeflow Pipelines, so that a run that works locally can be scheduled there under its name.
        if not re.fullmatch(PIPELINE_NAME_RULE, value):
            raise ValueError(f"must match {PIPELINE_NAME_RULE}")
        return value


class SplitsSection(Section):
    """Shares of the prompts that go to each split; they must sum to 1."""

    train: float = Field(0.8, gt=0, lt=1)
    eval: float = Field(0.1, gt=0, lt=1)
    test: float = Field(0.1, gt=0, lt=1)

    @model_validator(mode="after")
    def _check_sum(self) -> "SplitsSection":
        total = self.train + self.eval + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train + eval + test must be 1, they sum to {total:g}")
        return self


class DataSection(Section):
    """The records: where they are, how they are read and split, and how many bad ones are tolerated.

    With `{SPAN}`, or `{YYYY}`, `{MM}` and `{DD}`, in its `path` a run takes the newest `window` spans that are there.
    """

    path: Name
    window: int = Field(1, ge=1, le=10_000)
    format: Literal["auto", "jsonl", "json", "csv", "parquet"] = "auto"
    columns: ColumnsSection = ColumnsSection(instruction="instruction", input="input", output="output")
    slice_columns: list[Name] = []
    carry_columns: list[Name] = []
    where: list[str] = []
    splits: SplitsSection = SplitsSection(train=0.8, eval=0.1, test=0.1)
    max_bad_fraction: float = Field(0.01, ge=0, le=1)
    schema_path: Name | None = None

    @field_validator("where", mode="before")
    @classmethod
    def _check_where(cls, value: Any) -> Any:
        """One condition may stand alone."""
        given = [value] if isinstance(value, str) else value
        for text in given if isinstance(given, list) else []:
            if isinstance(text, str):
                try:
                    Condition.parse(text)
                except ValueError as error:
                    raise ValueError(f"{error}, as in reward=1.0") from None
        return given

    @field_validator("slice_columns", "carry_columns")
    @classmethod
    def _check_carried(cls, value: list[str]) -> list[str]:
        if taken := sorted(_FEATURES & set(value)):
            raise ValueError(f"names a feature of the pipeline itself: {', '.join(taken)}")
        if len(set(value)) < len(value):
            raise ValueError("names a column twice")
        return value

    @model_validator(mode="after")
    def _check_both(self) -> "DataSection":
        if both := sorted(set(self.slice_columns) & set(self.carry_columns)):
            raise ValueError(f"a slice column is carried along as it is: take {', '.join(both)} out of `carry_columns`")
        return self


class TextSection(Section):
    """How a record becomes tokens. The template `auto` is the model's own, and `alpaca` for a model that has none."""

    template: Name = "auto"
    train_on: Literal["all_assistant_turns", "last_turn", "everything"] = "all_assistant_turns"
    system: str = ""
    cleaning: Literal["none", "safe", "normalize"] = "safe"
    date: str = "2024-07-26"
    max_length: int = Field(256, ge=8)
    max_truncated_fraction: float = Field(0.25, ge=0, le=1)
    max_refused_fraction: float = Field(0.01, ge=0, le=1)

    @field_validator("date", mode="before")
    @classmethod
    def _check_date(cls, value: Any) -> str:
        """YAML reads a day without quotes as a date."""
        try:
            return datetime.date.fromisoformat(str(value)).isoformat()
        except ValueError:
            raise ValueError("must be a day as YYYY-MM-DD") from None


class ModelSection(Section):
    """The model that is tuned: a KerasHub built-in name, an `hf://` or `kaggle://` handle, or a preset folder."""

    preset: Name
    dtype: Literal["float32", "bfloat16", "mixed_bfloat16", "mixed_float16", "auto"] = "float32"


class MethodSection(NamedSection):
    """The tuning method by name; all other keys are its own options (see `components/methods/`)."""


class MeshSection(Section):
    """The devices of `strategy: model_parallel`: `batch` groups that share a batch, each of `model` that share a model."""

    batch: int = Field(1, ge=1)
    model: int = Field(ge=1)


class TrainSection(Section):
    """Optimisation. One *step* is one update of the weights, of `batch_size` examples."""

    backend: Literal["tensorflow", "jax"] = "tensorflow"
    strategy: Literal[
        "auto", "one_device", "mirrored", "multi_worker_mirrored", "tpu", "data_parallel", "model_parallel"
    ] = "auto"
    mesh: MeshSection | None = None
    batch_size: int = Field(16, ge=1)
    jit_compile: bool | Literal["auto"] = "auto"
    gradient_accumulation_steps: int = Field(1, ge=1)
    fit: Literal["auto", "given"] = "auto"
    memory_gib: float | None = Field(None, gt=0)
    rematerialize: bool = False
    epochs: int = Field(1, ge=1)
    max_steps: int | None = Field(None, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_fraction: float = Field(0.05, ge=0, lt=1)
    weight_decay: float = Field(0.01, ge=0)
    clip_norm: float | None = Field(1.0, gt=0)
    eval_every_steps: int = Field(100, ge=1)
    checkpoint_every_steps: int = Field(100, ge=1)
    early_stopping_patience: int | None = Field(3, ge=1)
    bucket_boundaries: list[Annotated[int, Field(ge=1)]] | None = None
    max_lengths: int = Field(32, ge=1)
    seed: int = Field(0, ge=0, le=2**31 - 1)

    @field_validator("bucket_boundaries")
    @classmethod
    def _check_boundaries(cls, value: list[int] | None) -> list[int] | None:
        if value is not None and any(a >= b for a, b in itertools.pairwise(value)):
            raise ValueError("must increase strictly")
        return value

    @model_validator(mode="after")
    def _check_accumulation(self) -> "TrainSection":
        if self.batch_size % self.gradient_accumulation_steps:
            raise ValueError(
                "`batch_size` must be a multiple of `gradient_accumulation_steps`: "
                f"received {self.batch_size} and {self.gradient_accumulation_steps}"
            )
        return self


class ReferenceSection(Section):
    """The reference model of `strategy: fixed`: a finished preset, or one that the run trains on a share of its data.

    Its training has options of its own, so that another learning rate of the run does not score every token anew.
    """

    preset: Name | None = None
    warmup_share: float = Field(0.2, gt=0, lt=1)
    method: MethodSection = MethodSection(name="lora")
    train: TrainSection = TrainSection()


class TokenCleaningSection(Section):
    """Which response tokens stay training targets (see `docs/token_cleaning.md`)."""

    strategy: Literal["none", "random", "fixed", "self_evolving"] = "none"
    keep: float = Field(0.6, gt=0, le=1)
    scope: Literal["dataset", "sample"] = "dataset"
    parts: int = Field(5, ge=2, le=100)
    seed: int = Field(0, ge=0, le=2**31 - 1)
    batch_size: int = Field(32, ge=1)
    reference: ReferenceSection = ReferenceSection()


class RuleSection(Section):
    """What a broken rule of the receipt does: `error` stops the run before training, `warn` is told, `off` does nothing."""

    level: Literal["error", "warn", "off"]


class ShareRuleSection(RuleSection):
    """A rule that up to a share of the rows may break."""

    max_fraction: float = Field(ge=0, le=1)


class ReceiptSection(Section):
    """The rules of the receipt of a training's examples (see `docs/receipt.md`).

    A rule may be given by its level alone, or with some of its keys; the others keep their defaults.
    """

    no_supervised_token: RuleSection = RuleSection(level="error")
    rows_without_supervised_token: ShareRuleSection = ShareRuleSection(level="error", max_fraction=0.1)
    end_token_never_supervised: RuleSection = RuleSection(level="error")
    rows_without_supervised_end_token: ShareRuleSection = ShareRuleSection(level="warn", max_fraction=0.25)
    doubled_start_token: ShareRuleSection = ShareRuleSection(level="error", max_fraction=0)
    special_ids_in_text: ShareRuleSection = ShareRuleSection(level="warn", max_fraction=0)
    truncated_rows: ShareRuleSection = ShareRuleSection(level="warn", max_fraction=0.05)

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: cls._complete_rule(name, rule) for name, rule in value.items()}

    @classmethod
    def _complete_rule(cls, name: str, rule: Any) -> Any:
        if name not in cls.model_fields:
            return rule
        # YAML reads a bare `off` as false.
        given = {"level": "off" if rule is False else rule} if isinstance(rule, str | bool) else rule
        if not isinstance(given, dict):
            return given
        if given.get("level") is False:
            given = given | {"level": "off"}
        return cls.model_fields[name].default.model_dump() | given


class SamplerSection(NamedSection):
    """How a token is chosen, by name; all other keys are its own options (see `components/trainer/samplers.py`)."""


class GenerationSection(Section):
    """How completions are decoded: until the end token, one of the texts of `stop`, or `max_new_tokens`."""

    max_new_tokens: int = Field(32, ge=1)
    sampler: SamplerSection = SamplerSection(name="greedy")
    seed: int = Field(0, ge=0, le=2**31 - 1)
    stop: list[Name] = []

    @field_validator("sampler", mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        """A sampler without options may be given by its name alone."""
        return expand_name(value)


class ExportSection(Section):
    """Further formats of the tuned model. A preset (`keras`) and a SavedModel (`savedmodel`) are written by every run."""

    formats: list[Literal["hf", "keras", "savedmodel"]] = []
    dtype: Literal["float32", "bfloat16", "float16"] | None = None

    @field_validator("formats")
    @classmethod
    def _check_formats(cls, value: list[str]) -> list[str]:
        if len(set(value)) < len(value):
            raise ValueError("names a format twice")
        return value

    @model_validator(mode="after")
    def _check_dtype(self) -> "ExportSection":
        if self.dtype is not None and "hf" not in self.formats:
            raise ValueError("`dtype` is that of the format `hf`: add it to `formats`, or leave `dtype` out")
        return self


class RunConfig(Section):
    """A whole run."""

    pipeline: PipelineSection
    data: DataSection
    text: TextSection = TextSection()
    model: ModelSection
    method: MethodSection
    token_cleaning: TokenCleaningSection = TokenCleaningSection()
    receipt: ReceiptSection = ReceiptSection()
    train: TrainSection = TrainSection()
    generation: GenerationSection = GenerationSection()
    export: ExportSection = ExportSection()
    evaluation: EvaluationSection
