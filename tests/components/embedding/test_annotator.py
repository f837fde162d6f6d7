"""Greedy matching of an encoder's embeddings, with a small encoder of random weights."""

import keras
import keras_hub
import numpy as np
import pytest

from components.embedding.annotator import EmbeddingAnnotator, compare
from components.errors import UserError
from components.metrics.embedding_similarity import EmbeddingSimilarity
from components.metrics.metric import Prediction

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "dog", "sat", "ran", "."]


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    keras.utils.set_random_seed(0)
    folder = str(tmp_path_factory.mktemp("bert"))
    tokenizer = keras_hub.models.BertTokenizer(vocabulary=WORDS, lowercase=True)
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=len(WORDS), num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=8, max_sequence_length=12
    )
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=12)
    keras_hub.models.BertTextClassifier(backbone=backbone, num_classes=2, preprocessor=preprocessor).save_to_preset(
        folder
    )
    return folder


def test_compare_is_greedy_matching():
    completion, reference = np.eye(3)[[0, 1]], np.eye(3)[[1, 2, 2]]
    precision, recall, f1 = compare(completion, reference)
    assert (precision, recall) == (1 / 2, pytest.approx(1 / 3))
    assert f1 == pytest.approx(2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))
    assert compare(np.zeros((0, 3)), reference) == (0, 0, 0)
    assert compare(np.zeros((0, 3)), np.zeros((0, 3))) == (1, 1, 1)
    assert compare(np.eye(2)[:1], np.eye(2)[1:]) == (0, 0, 0)


def test_equal_texts_and_the_layer_behind(preset):
    annotator = EmbeddingAnnotator(EmbeddingSimilarity(preset=preset))
    pairs = [("the cat sat", "the cat sat"), ("the cat sat", "the dog ran ."), ("", "the cat"), ("", "")]
    examples = [{"candidate": Prediction(completion=c, reference=r)} for c, r in pairs]
    scores = [found["candidate"] for found in annotator.annotate(examples)]
    assert scores[0] == pytest.approx(dict.fromkeys(scores[0], 1.0), abs=1e-5)
    assert 0 < scores[1]["embedding_f1"] < 0.999
    assert (scores[2]["embedding_f1"], scores[3]["embedding_f1"]) == (0, 1)

    backbone = keras_hub.models.Backbone.from_preset(preset)

    def embed(text):
        ids = [2, *(WORDS.index(word) for word in text.split()), 3]
        inputs = {
            "token_ids": np.array([ids]),
            "segment_ids": np.zeros((1, len(ids))),
            "padding_mask": np.ones((1, len(ids))),
        }
        vectors = np.asarray(backbone(inputs)["sequence_output"])[0, 1:-1]
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

    similarity = embed("the cat sat") @ embed("the dog ran .").T
    assert scores[1]["embedding_precision"] == pytest.approx(similarity.max(1).mean(), abs=1e-5)
    assert scores[1]["embedding_recall"] == pytest.approx(similarity.max(0).mean(), abs=1e-5)


def test_preset_that_is_no_encoder(tmp_path):
    with pytest.raises(UserError, match="must be an encoder that KerasHub knows"):
        EmbeddingAnnotator(EmbeddingSimilarity(preset=str(tmp_path)))
