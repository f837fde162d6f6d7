"""Asks a judge about predictions."""

from collections.abc import Mapping, Sequence

from components.errors import UserError
from components.judge.clients import CachedClient
from components.judge.questions import ask_for_grades, ask_for_preference, read_grades, read_preference
from components.metrics.judge import UNREADABLE, WIN, Judge, score_name
from components.metrics.metric import Prediction

Scores = dict[str, dict[str, float]]  # by model


class JudgeAnnotator:
    """Predictions of several models for the same examples -> the judge's scores."""

    def __init__(self, judge: Judge, client: CachedClient, candidate: str, other: str):
        """Sets it up.

        Args:
            judge: The metric.
            client: Who answers.
            candidate: Name of the model that is judged.
            other: Name of the one that it is compared with.
        """
        self._judge = judge
        self._client = client
        self._models = (candidate, other)

    def annotate(self, examples: Sequence[Mapping[str, Prediction]]) -> list[Scores]:
        """Returns scores by model for each example.

        Raises:
            UserError: The judge cannot be asked.
        """
        return self._compare(examples) if self._judge.mode == "pairwise" else self._grade(examples)

    def _grade(self, examples: Sequence[Mapping[str, Prediction]]) -> list[Scores]:
        asked = [(row, model) for row, predictions in enumerate(examples) for model in predictions]
        replies = self._client.answer([ask_for_grades(self._judge, examples[row][model]) for row, model in asked])
        scores: list[Scores] = [{} for _ in examples]
        for (row, model), reply in zip(asked, replies, strict=True):
            grades = read_grades(self._judge, reply)
            found = {score_name(name): grade for name, grade in (grades or {}).items()}
            scores[row][model] = {UNREADABLE: float(grades is None), **found}
        return scores

    def _compare(self, examples: Sequence[Mapping[str, Prediction]]) -> list[Scores]:
        candidate, other = self._models
        # Nobody prefers one of two equal answers.
        asked = [row for row, found in enumerate(examples) if found[candidate].completion != found[other].completion]
        questions = [
            ask_for_preference(self._judge, examples[row][first], examples[row][second])
            for row in asked
            for first, second in ((candidate, other), (other, candidate))
        ]
        preferences = list(map(read_preference, self._client.answer(questions)))
        wins = dict.fromkeys(range(len(examples)), 0.5)
        unreadable = dict.fromkeys(wins, 0.0)
        for place, row in enumerate(asked):
            pair = preferences[2 * place : 2 * place + 2]
            unreadable[row] = pair.count(None) / 2
            if pair == ["A", "B"]:
                wins[row] = 1.0
            elif pair == ["B", "A"]:
                wins[row] = 0.0
        scores = []
        for row, share in unreadable.items():
            of_candidate = {UNREADABLE: share} if share else {UNREADABLE: share, WIN: wins[row]}
            of_other = of_candidate | ({} if share else {WIN: 1.0 - wins[row]})
            scores.append({candidate: of_candidate, other: of_other})
        return scores


def check_budget(judge: Judge, num_examples: int, num_models: int) -> None:
    """Checks before the first request that there will not be too many.

    Raises:
        UserError: There would be more than `max_requests`.
    """
    needed = num_examples * (2 if judge.mode == "pairwise" else num_models)
    if needed > judge.max_requests:
        raise UserError(
            f"the judge may be asked {judge.max_requests:,} times (`max_requests`). {num_examples:,} examples would need "
            f"{needed:,} requests ({judge.mode}). Raise `max_requests`, or give a smaller share to the split."
        )
