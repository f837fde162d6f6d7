"""Samplers: what they draw, how often, and that a draw depends on seed and prompt alone."""

import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from components.trainer import decoding
from components.trainer.samplers import Beam, Greedy, TopK, TopP, find_option_problems, make_sampler
from components.trainer.sampling import make_chooser

PROBABILITIES = np.array([0.1, 0.4, 0.05, 0.3, 0.15])
COUNT = 20_000


def _frequencies(sampler, probabilities=PROBABILITIES):
    chooser = make_chooser(sampler, 0)
    logits = tf.constant(np.tile(np.log(probabilities), (COUNT, 1)), tf.float32)
    draws = tf.constant(np.random.default_rng(0).uniform(size=(COUNT, 1)), tf.float32)
    chosen = chooser(logits, draws, tf.zeros([COUNT], tf.int32)).numpy()
    return np.bincount(chosen, minlength=len(probabilities)) / COUNT


def _normalized(kept, power=1.0):
    weights = np.where(np.isin(np.arange(5), kept), PROBABILITIES**power, 0)
    return weights / weights.sum()


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [
        (Greedy(), _normalized([1])),
        (TopK(k=1), _normalized([1])),
        (TopK(k=3), _normalized([1, 3, 4])),
        (TopK(k=99), PROBABILITIES),
        (TopK(k=2, temperature=0.5), _normalized([1, 3], 2.0)),
        (TopP(p=0.3), _normalized([1])),
        (TopP(p=0.69), _normalized([1, 3])),
        (TopP(p=0.71), _normalized([1, 3, 4])),
        (TopP(p=1.0), PROBABILITIES),
        (TopP(p=1.0, temperature=2.0), _normalized(range(5), 0.5)),
    ],
)
def test_frequencies_are_the_probabilities(sampler, expected):
    found = _frequencies(sampler)
    assert np.abs(found - expected).max() < 4 * np.sqrt(0.25 / COUNT)
    assert set(np.flatnonzero(found)) == set(np.flatnonzero(expected))


def test_draw_of_one_is_never_a_token_that_is_left_out():
    chooser = make_chooser(TopP(p=0.69), 0)
    logits = tf.math.log(tf.constant([PROBABILITIES], tf.float32))
    for draw in (0.0, 1 - 2**-24, 1.0):
        assert int(chooser(logits, tf.constant([[draw]]), tf.constant([0]))[0]) in (1, 3)


def test_draws_depend_on_seed_and_prompt_alone():
    model = keras_hub.models.GPT2CausalLM(
        keras_hub.models.GPT2Backbone(
            vocabulary_size=61, num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=8, max_sequence_length=64
        )
    )
    prompts = np.random.default_rng(0).integers(1, 61, (3, 6)).astype(np.int32)
    lengths = np.array([6, 3, 5], np.int32)

    def sample(rows, seed):
        return decoding.generate_tokens(model, prompts[rows], lengths[rows], 12, [0], TopP(), seed)[0].numpy().tolist()

    together = sample([0, 1, 2], 7)
    assert together == [*sample([0], 7), *sample([1], 7), *sample([2], 7)]
    assert together[::-1] == sample([2, 1, 0], 7)
    assert together != sample([0, 1, 2], 8)
    assert len({tuple(row) for row in together}) == 3


@pytest.mark.parametrize(
    ("name", "options", "problems"),
    [
        ("nucleus", {}, {"name": "unknown sampler"}),
        ("top_k", {"k": 0, "temperature": 0}, {"k": "at least 1", "temperature": "above 0"}),
        ("top_k", {"k": True}, {"k": "Received: True"}),
        ("top_p", {"p": 1.5, "q": 1}, {"p": "at most 1", "q": "unknown option"}),
        ("beam", {"beams": 1}, {"beams": "at least 2"}),
        ("greedy", {"temperature": 1.0}, {"temperature": "It has no options"}),
    ],
)
def test_options_are_checked(name, options, problems):
    found = find_option_problems(name, options)
    assert found.keys() == problems.keys()
    assert all(part in found[key] for key, part in problems.items())


def test_make_sampler():
    assert make_sampler({"name": "top_k", "k": 5}) == TopK(k=5)
    assert make_sampler({"name": "beam"}) == Beam()
    assert make_sampler({"name": "top_p", "p": 0.5, "temperature": 0.7}) == TopP(p=0.5, temperature=0.7)
