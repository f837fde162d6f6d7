"""Conditions on runs, as `--where` takes them: `method=lora`, `train.learning_rate<1e-4`, `perplexity<=12`."""

import functools
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.conditions import Condition
from components.errors import UserError
from components.options import nearest
from pipeline.lineage.find import list_run_contexts
from pipeline.lineage.flatten import flatten
from pipeline.lineage.graph import get_properties
from pipeline.lineage.recorded import read_config
from pipeline.lineage.runs import BLESSING, EVALUATION, PUSHED, Hint, RunSummary, read_metrics, summarize

# Names for what the record of a run and its summary hold.
_RECORDED = {
    "pipeline": "pipeline_name",
    "runner": "runner",
    "config": "config_path",
    "method": "method",
    "preset": "preset",
    "data": "data_path",
    "seed": "seed",
    "code": "code_version",
    "dirty": "code_dirty",
    "hardware": "hardware",
}
_OUTCOMES = ("state", "blessed", "verdict", "pushed", "seconds")
# Runs whose keys are known keys.
_NUM_ASKED = 50
_AGES = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class RunCondition(Condition):
    """A condition on a run: its key is a name of the record, a key of the configuration with dots, a name of the outcome, or a metric."""

    @property
    def is_of_record(self) -> bool:
        """Whether the record of a run answers it, without what came of the run."""
        return self.key in _RECORDED or (
            "." in self.key and not self.key.startswith("metrics.") and "@" not in self.key
        )

    def fits_record(self, context: mlmd.Context) -> bool:
        """Returns whether the run of the context fulfils it."""
        recorded = get_properties(context)
        if self.key in _RECORDED:
            value = recorded.get(_RECORDED[self.key])
            if self.key == "code" and self.symbol in ("=", "=="):  # commits are given by their beginning
                return str(value).startswith(self.text)
            return self.fits(value)
        return self.fits(flatten_config(str(recorded.get("config", ""))).get(self.key))

    def fits_outcome(self, summary: RunSummary) -> bool:
        """Returns whether a run fulfils it."""
        if self.key in _OUTCOMES:
            return self.fits(getattr(summary, self.key))
        return self.fits(summary.metrics.get(self.key.removeprefix("metrics.")))

    def make_hint(self) -> Hint | None:
        """Returns what the artifacts fulfil that a fitting run has; None if its artifacts do not say."""
        if self.is_of_record or self.key in ("state", "seconds") or self.symbol == "!=":
            return None
        if self.key == "blessed":
            return BLESSING, lambda properties: self.fits(bool(properties.get("blessed")))
        if self.key == "pushed":
            return PUSHED, lambda properties: self.fits(properties.get("pushed_destination", ""))
        if self.key == "verdict":
            return EVALUATION, lambda properties: self.fits(properties.get("verdict", ""))
        key = self.key.removeprefix("metrics.")
        return EVALUATION, lambda properties: self.fits(read_metrics(properties).get(key))


def parse_condition(text: str) -> RunCondition:
    """Reads a condition.

    Raises:
        UserError: It is none.
    """
    try:
        return RunCondition.parse(text)
    except ValueError as error:
        raise UserError(f"--where {error}, as in method=lora. Received: {text!r}.") from None


def require_known_keys(store: MetadataStore, conditions: list[RunCondition]) -> None:
    """Tells keys that none of the newest runs has: most likely misspelt ones.

    Raises:
        UserError: There is such a key.
    """
    contexts = list_run_contexts(store, limit=_NUM_ASKED)
    known = {*_RECORDED, *_OUTCOMES}
    known |= {key for context in contexts for key in flatten_config(context.custom_properties["config"].string_value)}
    known |= {name for summary in summarize(store, contexts) for name in summary.metrics}
    for condition in conditions:
        key = condition.key.removeprefix("metrics.")
        if contexts and key not in known:
            raise UserError(
                f"--where: no run has {condition.key!r}.{nearest(key, sorted(known))} A key is one of "
                f"{', '.join((*_RECORDED, *_OUTCOMES))}, a metric, or a key of the configuration with dots (train.learning_rate)."
            )


def parse_since(text: str, now: datetime) -> datetime:
    """Reads a time: `2026-11-24`, `2026-11-24T10:00`, or an age such as `12h`, `7d`, `2w`.

    Args:
        text: As given.
        now: What ages count from; with a time zone.

    Raises:
        UserError: It is none of these.
    """
    if age := re.fullmatch(r"(\d{1,5})([mhdw])", text.strip()):
        return now - timedelta(**{_AGES[age[2]]: int(age[1])})
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise UserError(
            f"--since must be a date (2026-11-24), a time (2026-11-24T10:00) or an age (30m, 12h, 7d, 2w). Received: {text!r}."
        ) from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


@functools.lru_cache(maxsize=4096)
def flatten_config(text: str) -> dict[str, Any]:
    """Returns a configuration in YAML as one level of dotted keys; lists stay values."""
    config = read_config(text)
    return flatten(config) if config else {}
