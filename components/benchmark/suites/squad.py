"""SQuAD 1.1: answers that stand in a text (Rajpurkar et al. 2016, arXiv 1606.05250); also XQuAD, which has its layout."""

from collections.abc import Iterator
from pathlib import Path

from components.benchmark.suites.suite import Suite, Task, check, check_list, read_json


class Squad(Suite):
    """A JSON file of articles (`data`), paragraphs and questions, each with one right answer or more."""

    metrics = [{"name": "squad"}]
    suffixes = (".json",)
    max_new_tokens = 32
    stop = ("\n",)

    def read(self, path: Path) -> Iterator[Task]:
        """See `Suite`."""
        where = str(path)
        for article in check_list(check(read_json(path), (), where, ("data",))["data"], f"{where}: `data`"):
            for paragraph in check_list(
                check(article, (), where, ("paragraphs",))["paragraphs"], f"{where}: `paragraphs`"
            ):
                for question in check_list(check(paragraph, ("context",), where, ("qas",))["qas"], f"{where}: `qas`"):
                    found = check_list(
                        check(question, ("question",), where, ("answers",))["answers"], f"{where}: `answers`"
                    )
                    answers = dict.fromkeys(check(answer, ("text",), where)["text"].strip() for answer in found)
                    if answers:  # SQuAD 2.0 has questions without
                        yield Task(
                            prompt=f"{paragraph['context']}\n\nQuestion: {question['question'].strip()}\nAnswer:",
                            references=tuple(answers),
                        )
