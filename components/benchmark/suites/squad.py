"""SQuAD 1.1: answers that stand in a text (Rajpurkar et al. 2016, arXiv 1606.05250); also XQuAD, which has its layout."""

from collections.abc import Iterator
from pathlib import Path

from components.benchmark.suites.suite import Suite, Task, check, read_json


class Squad(Suite):
    """A JSON file of articles (`data`), paragraphs and questions, each with one right answer or more."""

    metrics = [{"name": "squad"}]
    suffixes = (".json",)
    max_new_tokens = 32
    stop = ("\n",)

    def read(self, path: Path) -> Iterator[Task]:
        """See `Suite`."""
        for article in check(read_json(path), ("data",), str(path))["data"]:
            for paragraph in check(article, ("paragraphs",), str(path))["paragraphs"]:
                for question in check(paragraph, ("context", "qas"), str(path))["qas"]:
                    check(question, ("question", "answers"), str(path))
                    answers = dict.fromkeys(answer["text"].strip() for answer in question["answers"])
                    if answers:  # SQuAD 2.0 has questions without
                        yield Task(
                            prompt=f"{paragraph['context']}\n\nQuestion: {question['question'].strip()}\nAnswer:",
                            references=tuple(answers),
                        )
