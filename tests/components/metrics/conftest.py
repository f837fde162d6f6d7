"""Metrics on lists of predictions, and real pairs of texts."""

import gzip
import json
from pathlib import Path

import pytest

from components.metrics.metric import Prediction, Sums
from components.metrics.table import make_metric

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


def add_up(metric, predictions):
    sums = Sums(1)
    for prediction in predictions:
        for name, number in metric.count(prediction).items():
            sums[name] = sums[name] + number
    return sums


@pytest.fixture
def compute():
    """Returns the values of a metric over predictions, plain numbers by name."""

    def compute(name, predictions, **options):
        metric = make_metric(name, options)
        return {value: float(numbers[0]) for value, numbers in metric.finish(add_up(metric, predictions)).items()}

    return compute


@pytest.fixture
def pair():
    """Returns a prediction that has these two texts, and what metrics ask for besides."""
    columns = {
        "instruction_id_list": '["punctuation:no_comma", "keywords:existence"]',
        "kwargs": '[{}, {"keywords": ["a"], "num_words": null}]',
        "requirements": '[{"check": "contains", "text": "b"}, {"check": "max_words", "number": 3}]',
        "program": 'text = """{{completion}}"""\nassert len(text) > 3',
    }
    return lambda completion, reference: Prediction(
        completion=completion,
        reference=reference,
        columns=columns,
        choices=("a", "bc", "d"),
        choice_nlls=(1.0, 1.5, 2.0),
        choice_answers=(1,),
        scores={
            "judge_unreadable": 0.0,
            "judge_relevance": 4.0,
            "judge_correctness": 2.0,
            "embedding_precision": 0.5,
            "embedding_recall": 0.5,
            "embedding_f1": 0.5,
        },
    )


def read_lines(path):
    path = DATA / path
    if not path.is_file():
        pytest.skip(f"real data are not here: {path.name}")
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    return [json.loads(line) for line in text.splitlines() if line.strip()]


@pytest.fixture(scope="session")
def summaries():
    """300 pairs of a paper's first sentence and its summary by a person (SciTLDR)."""
    rows = read_lines("scitldr/train.jsonl.gz")
    return [(row["source"][0], row["target"][0]) for row in rows[:300]]


@pytest.fixture(scope="session")
def labels():
    """300 pairs of intents (clinc150), the given one being that of a near request."""
    rows = read_lines("clinc150/clinc150.jsonl.gz")[::37][:300]
    return [(rows[i - i % 3]["label"], row["label"]) for i, row in enumerate(rows)]


@pytest.fixture(scope="session")
def read_records():
    """Returns a function that reads real JSON Lines, or skips the test where they are not."""
    return read_lines


@pytest.fixture(scope="session")
def json_documents():
    """Name, text and validity (1 or 0) of the documents of JSONTestSuite that are UTF-8 and decided by the standard."""
    folder = DATA / "json-test-suite" / "test_parsing"
    if not folder.is_dir():
        pytest.skip("real data are not here: json-test-suite")
    found = []
    for path in sorted(folder.iterdir()):
        try:
            text = path.read_bytes().decode()
        except UnicodeDecodeError:
            continue
        if path.name[:2] in ("y_", "n_"):
            found.append((path.name, text, float(path.name.startswith("y_"))))
    return found


@pytest.fixture(scope="session")
def questions():
    """XQuAD's 1,190 contexts with the answers that stand in them."""
    path = DATA / "xquad" / "xquad.en.json"
    if not path.is_file():
        pytest.skip("real data are not here: xquad.en.json")
    return [
        (paragraph["context"], question["answers"][0]["text"])
        for article in json.loads(path.read_text(encoding="utf-8"))["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]
