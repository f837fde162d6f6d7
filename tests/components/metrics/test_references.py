"""Metrics against the implementations that the field uses, on real pairs."""

import warnings

import numpy as np
import pytest

from components.metrics.metric import Prediction


def test_rouge(compute, pair, summaries):
    from rouge_score import rouge_scorer

    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"])
    scores = [scorer.score(reference, completion) for completion, reference in summaries]
    expected = {
        name: np.mean([score[key].fmeasure for score in scores])
        for key, name in (("rouge1", "rouge_1"), ("rouge2", "rouge_2"), ("rougeL", "rouge_l"))
    }
    assert compute("rouge", [pair(*p) for p in summaries]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("options", [{}, {"lowercase": True}, {"tokenize": "char"}])
def test_bleu(compute, pair, summaries, options):
    from sacrebleu.metrics import BLEU

    expected = BLEU(**options).corpus_score([c for c, _ in summaries], [[r for _, r in summaries]]).score
    assert compute("bleu", [pair(*p) for p in summaries], **options)["bleu"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("word_order", [0, 2])
def test_chrf(compute, pair, summaries, word_order):
    from sacrebleu.metrics import CHRF

    expected = CHRF(word_order=word_order).corpus_score([c for c, _ in summaries], [[r for _, r in summaries]]).score
    value = compute("chrf", [pair(*p) for p in summaries], word_order=word_order)["chrf"]
    assert value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("free", [0, 40])
def test_classification(compute, pair, labels, free):
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    labels = [(f"I'd say {i}" if i < free else given, wanted) for i, (given, wanted) in enumerate(labels)]
    given, wanted = zip(*labels, strict=True)
    values = compute("classification", [pair(*p) for p in labels])
    names = sorted(set(wanted))
    assert {name for name in values if name.startswith("f1[")} == {f"f1[{name.casefold()}]" for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        macro = precision_recall_fscore_support(wanted, given, labels=names, average="macro", zero_division=0)
        each = precision_recall_fscore_support(wanted, given, labels=names, zero_division=0)
    assert values["accuracy"] == pytest.approx(accuracy_score(wanted, given))
    for kind, total, by_label in zip(("precision", "recall", "f1"), macro, each, strict=False):
        assert values[f"macro_{kind}"] == pytest.approx(total)
        for name, score in zip(names, by_label, strict=True):
            assert values[f"{kind}[{name.casefold()}]"] == pytest.approx(score)


def test_fuzzy_match(compute, pair, summaries):
    from nltk.metrics.distance import edit_distance

    pairs = [(completion[:60], reference[:60]) for completion, reference in summaries[:200]]
    expected = np.mean(
        [1 - edit_distance(a.strip(), b.strip()) / max(len(a.strip()), len(b.strip())) for a, b in pairs]
    )
    assert compute("fuzzy_match", [pair(*p) for p in pairs])["fuzzy_match"] == pytest.approx(expected, abs=1e-12)


def test_length_ratio(compute, pair, summaries):
    from sacrebleu.metrics import BLEU

    score = BLEU(tokenize="none").corpus_score([c for c, _ in summaries], [[r for _, r in summaries]])
    value = compute("length_ratio", [pair(*p) for p in summaries])["length_ratio"]
    assert value == pytest.approx(score.sys_len / score.ref_len, abs=1e-12)


def test_repetition(compute, pair, summaries):
    from nltk.util import ngrams

    texts = [f"{completion} {reference} {completion}" for completion, reference in summaries]
    values = compute("repetition", [pair(text, "") for text in texts])
    shares = {}
    for size in (1, 2, 4):
        runs = [list(ngrams(text.split(), size)) for text in texts]
        shares[size] = sum(len(set(found)) for found in runs) / sum(map(len, runs))
    expected = {"distinct_1": shares[1], "distinct_2": shares[2], "repetition_rate": 1 - shares[4]}
    assert values == pytest.approx(expected, abs=1e-12)


def test_json_validity(compute, pair, json_documents):
    wrong = [
        name
        for name, text, valid in json_documents
        if compute("json_match", [pair(text, text)]) != {"json_valid": valid, "json_match": valid}
    ]
    assert len(json_documents) >= 200
    assert wrong == []


def test_contains_all(compute, pair, questions):
    values = [compute("contains_all", [pair(context, answer)], ignore_case=False) for context, answer in questions]
    assert len(values) == 1190
    assert all(value == {"contains_all": 1} for value in values)
    shifted = zip(questions, questions[7:], strict=False)
    for (context, _), (_, answer) in shifted:
        assert compute("contains_all", [pair(context, answer)], ignore_case=False)["contains_all"] == (
            answer in context
        )


def test_mean_losses(compute, read_records):
    """Perplexity, loss, bits per byte and token accuracy from the losses of real texts under a model of their letters."""
    from sklearn.metrics import accuracy_score, log_loss

    texts = [row["text"][:400] for row in read_records("c4-sample/c4_demo.jsonl")][:250]
    letters = sorted(set("".join(texts)))
    counts = np.array([sum(text.count(letter) for text in texts) for letter in letters])
    shares = counts / counts.sum()
    place = {letter: i for i, letter in enumerate(letters)}
    best = int(shares.argmax())
    predictions = [
        Prediction(
            nll_sum=float(-sum(np.log(shares[place[letter]]) for letter in text)),
            token_count=len(text),
            correct_count=sum(place[letter] == best for letter in text),
            byte_count=len(text.encode()),
        )
        for text in texts
    ]
    given = [place[letter] for text in texts for letter in text]
    loss = log_loss(given, np.tile(shares, (len(given), 1)), labels=range(len(letters)))
    num_bytes = len("".join(texts).encode())
    assert compute("loss", predictions)["loss"] == pytest.approx(loss, rel=1e-9)
    assert compute("perplexity", predictions)["perplexity"] == pytest.approx(np.exp(loss), rel=1e-9)
    bits = loss * len(given) / np.log(2) / num_bytes
    assert compute("bits_per_byte", predictions)["bits_per_byte"] == pytest.approx(bits, rel=1e-9)
    accuracy = accuracy_score(given, [best] * len(given))
    assert compute("token_accuracy", predictions)["token_accuracy"] == pytest.approx(accuracy, rel=1e-9)
