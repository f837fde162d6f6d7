"""Judge: what a language model thinks of the answers."""

import dataclasses
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

import numpy as np

from components.addresses import find_address, hide_password, is_here
from components.metrics.metric import Metric, Prediction, Sums, divide
from components.options import check_environment_name

Mode = Literal["pointwise", "pairwise"]
# What a criterion means, where the rubric gives its name alone.
CRITERIA = {
    "relevance": "it answers what was asked, and nothing else",
    "depth": "it covers what matters, with reasons and particulars",
    "correctness": "what it says is true and agrees with the reference answer, if there is one",
    "helpfulness": "whoever asked can act on it",
    "clarity": "it is easy to follow",
    "harmlessness": "it does no harm to anybody",
}
# Names under which the judge's answers are handed over (see `Prediction.scores`).
UNREADABLE = "judge_unreadable"
WIN = "judge_win_rate"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judge(Metric):
    """Grades of a language model by a rubric, or its preference between two models' answers (Zheng et al. 2023, arXiv 2306.05685).

    *Pointwise*: each model's answer gets a grade from 1 to `scale` by each criterion: `judge_<criterion>`, and their mean, `judge`.
    *Pairwise*: the judge is asked twice which of two answers is better, candidate's or baseline's, in both orders; only if it names
    the same one twice is that a win, else a tie: `judge_win_rate`, in which a tie is half a win. A judge favours its own style,
    long answers, and (pointwise) the middle of the scale: read it beside the other metrics.

    `judge_unreadable` is the share of the judge's replies that were none; these count for nothing else.

    Attributes:
        endpoint: the address of an OpenAI-compatible server, up to `/v1`; or
        preset: a KerasHub preset that judges here, instead.
        model: the model's name at the endpoint.
        api_key_env: the environment variable that holds the key; null where none is needed.
        mode: pointwise or pairwise.
        rubric: criteria, by a name of `CRITERIA`, or as a mapping from name to meaning.
        scale: the best grade.
        max_requests: more are not made: the evaluation fails before the first one if it would need more.
        max_cost: in the currency of the prices; the evaluation fails once it is reached, and what was answered is kept.
        price_per_million_tokens: `[input, output]`; needed for `max_cost`.
        timeout_seconds: of one request.
        retries: of a request that failed for a reason that may pass.
        concurrency: requests at a time.
        max_new_tokens: of a reply.
    """

    endpoint: str | None = None
    preset: str | None = None
    model: str = ""
    api_key_env: str | None = "OPENAI_API_KEY"
    mode: Mode = "pointwise"
    rubric: list[str] | dict[str, str] = dataclasses.field(default_factory=lambda: ["relevance", "correctness"])
    scale: int = 5
    max_requests: int = 1000
    max_cost: float | None = None
    price_per_million_tokens: list[float] | None = None
    timeout_seconds: float = 60.0
    retries: int = 4
    concurrency: int = 8
    max_new_tokens: int = 200

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
            ValueError: one is out of range, or they do not fit together.
        """
        if self.endpoint is not None:
            try:
                parts = urlsplit(self.endpoint) if isinstance(self.endpoint, str) else None
                known = parts is not None and parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
            except ValueError:
                known = False
            if parts is None or not known:
                raise ValueError(
                    f"`endpoint` must be an address with http or https. Received: {hide_password(str(self.endpoint))!r}"
                )
            if parts.username or parts.password or parts.query:
                raise ValueError("`endpoint` must hold no user, password or query: the key comes from `api_key_env`")
            address = find_address(str(parts.hostname))
            if address is not None and address.is_link_local:
                raise ValueError(
                    f"`endpoint` must be no link-local address, as machines in a cloud tell secrets there. Received: {self.endpoint!r}"
                )
            if parts.scheme == "http" and self.api_key_env is not None and not is_here(str(parts.hostname)):
                raise ValueError(
                    "`endpoint` must be https where a key is sent, unless it is on this machine: everybody on the way reads http. Give https, "
                    f"or `api_key_env: null`. Received: {self.endpoint!r}"
                )
        if self.mode not in get_args(Mode):
            raise ValueError(f"`mode` must be one of {', '.join(get_args(Mode))}. Received: {self.mode!r}")
        self._check_rubric()
        for name, least in (
            ("scale", 2),
            ("max_requests", 1),
            ("retries", 0),
            ("concurrency", 1),
            ("max_new_tokens", 1),
        ):
            if not (type(value := getattr(self, name)) is int and value >= least):
                raise ValueError(f"`{name}` must be a whole number of at least {least}. Received: {value!r}")
        for name in ("max_cost", "timeout_seconds"):
            value = getattr(self, name)
            if not _is_positive(value) and (value is not None or name == "timeout_seconds"):
                raise ValueError(f"`{name}` must be a number above 0. Received: {value!r}")
        if self.api_key_env is not None:
            try:
                check_environment_name(str(self.api_key_env))
            except ValueError as error:
                raise ValueError(f"`api_key_env` {error}, or give null.") from error
        prices = self.price_per_million_tokens
        if prices is not None and not (
            isinstance(prices, list) and len(prices) == 2 and all(_is_positive(p) or p == 0 for p in prices)
        ):
            raise ValueError(f"`price_per_million_tokens` must be [input, output]. Received: {prices!r}")
        if self.preset is not None and not (isinstance(self.preset, str) and self.preset):
            raise ValueError(f"`preset` must be a name, a handle or a folder. Received: {self.preset!r}")
        if (self.endpoint is None) == (self.preset is None):
            raise ValueError("needs either `endpoint` or `preset`.")
        if self.endpoint is not None and not (isinstance(self.model, str) and self.model):
            raise ValueError(f"`model` must name the model at the endpoint. Received: {self.model!r}")
        if self.max_cost is not None and prices is None:
            raise ValueError("`max_cost` needs `price_per_million_tokens`.")

    def _check_rubric(self) -> None:
        rubric = self.rubric
        if isinstance(rubric, list):
            if not rubric or not all(isinstance(name, str) and name in CRITERIA for name in rubric):
                raise ValueError(
                    f"`rubric` must be a list of {', '.join(CRITERIA)}, or a mapping from name to meaning. Received: {rubric!r}"
                )
        elif not (
            isinstance(rubric, dict)
            and rubric
            and not {"unreadable", "win_rate"} & set(rubric)
            and all(
                isinstance(key, str) and key.isidentifier() and isinstance(text, str) for key, text in rubric.items()
            )
        ):
            raise ValueError(f"`rubric` must map names, of letters and digits, to what they mean. Received: {rubric!r}")

    @property
    def criteria(self) -> dict[str, str]:
        """Meaning by criterion."""
        return self.rubric if isinstance(self.rubric, dict) else {name: CRITERIA[name] for name in self.rubric}

    def directions(self) -> dict[str, bool | None]:
        """See `Metric`."""
        if self.mode == "pairwise":
            return {WIN: True, UNREADABLE: False}
        return {"judge": True, **dict.fromkeys(map(score_name, self.criteria), True), UNREADABLE: False}

    def count(self, prediction: Prediction) -> dict[str, float]:
        """See `Metric`."""
        scores = prediction.scores
        if UNREADABLE not in scores:
            return {}  # a model that the judge was not asked about
        counts = {"asked": 1.0, UNREADABLE: scores[UNREADABLE]}
        names = [WIN] if self.mode == "pairwise" else [score_name(name) for name in self.criteria]
        if all(name in scores for name in names):
            counts |= {"judged": 1.0, **{name: scores[name] for name in names}}
        return counts

    def finish(self, sums: Sums) -> dict[str, np.ndarray]:
        """See `Metric`."""
        names = [WIN] if self.mode == "pairwise" else [score_name(name) for name in self.criteria]
        values = {name: divide(sums[name], sums["judged"]) for name in names}
        if self.mode == "pointwise":
            values["judge"] = np.mean(list(values.values()), axis=0)
        return values | {UNREADABLE: divide(sums[UNREADABLE], sums["asked"])}

    def describe(self) -> str:
        """See `Metric`."""
        who = f"{self.model} at {urlsplit(self.endpoint).hostname}" if self.endpoint else f"preset {self.preset}"
        how = "both orders" if self.mode == "pairwise" else f"1 to {self.scale} by {', '.join(self.criteria)}"
        return f"{self.mode} by {who}, {how}"


def score_name(criterion: str) -> str:
    """The value of a criterion."""
    return f"judge_{criterion}"


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
