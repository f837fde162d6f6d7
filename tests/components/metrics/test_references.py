"""Metrics against the implementations that the field uses, on real pairs."""

import warnings

import numpy as np
import pytest


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


def test_classification(compute, pair, labels):
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    given, wanted = zip(*labels, strict=True)
    values = compute("classification", [pair(*p) for p in labels])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        macro = precision_recall_fscore_support(wanted, given, average="macro", zero_division=0)
        names = sorted(set(given) | set(wanted))
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
