import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from components.errors import UserError
from components.methods import make_method
from components.trainer.fine_tuner import FineTuner
from components.trainer.rematerialize import rematerialize


def train(make_tiny_model, make_engine, make_datasets, section, *, remat, method):
    model = make_tiny_model(dropout=0.2)
    make_method(method, {}).apply(model)
    if remat:
        rematerialize(model)
    engine = make_engine(FineTuner(model), section, 3)
    data, _ = make_datasets(accumulation_steps=2, bucket_boundaries=())
    losses = [engine.train(step).loss for step in data.iterate(last=3)]
    weights = {id(v) for v in engine.tuner.weights}
    generators = [v for v in engine.tuner.variables if id(v) not in weights]
    return [losses, *([ops.convert_to_numpy(v) for v in group] for group in (generators, engine.tuner.weights))]


@pytest.mark.parametrize("method", ["full", "lora"])
def test_losses_weights_and_generators_stay_the_same(
    make_tiny_model, make_engine, make_datasets, train_section, method
):
    common = (make_tiny_model, make_engine, make_datasets, train_section)
    plain = train(*common, remat=False, method=method)
    checkpointed = train(*common, remat=True, method=method)
    np.testing.assert_allclose(checkpointed[0], plain[0], rtol=1e-6)
    assert len(set(plain[0])) == 3
    for mine, theirs in zip(checkpointed[1], plain[1], strict=True):
        np.testing.assert_array_equal(mine, theirs)  # so the next step draws the same, too
    for mine, theirs in zip(checkpointed[2], plain[2], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6)


def test_blocks_are_computed_twice(make_tiny_model):
    def count_attentions(remat):
        model = make_tiny_model(dropout=0.2)
        if remat:
            rematerialize(model)
        tuner = FineTuner(model)
        inputs = {"token_ids": tf.ones((2, 8), tf.int32), "padding_mask": tf.ones((2, 8), tf.int32)}

        @tf.function
        def compute():
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tuner(inputs, training=True))
            return tape.gradient(loss, [v.value for v in tuner.trainable_variables])

        operations = compute.get_concrete_function().graph.get_operations()
        softmaxes = [o for o in operations if o.type == "Softmax" and "gradient" not in o.name]
        return len(softmaxes)

    assert count_attentions(True) == 2 * count_attentions(False) == 4, "each block's attention is computed twice"


def test_evaluation_computes_nothing_twice(make_tiny_model):
    model = make_tiny_model(dropout=0.2)
    inputs = {"token_ids": np.ones((2, 8), "int32"), "padding_mask": np.ones((2, 8), "int32")}
    before = ops.convert_to_numpy(model(inputs, training=False))
    rematerialize(model)
    np.testing.assert_array_equal(ops.convert_to_numpy(model(inputs, training=False)), before)


def test_blocks_that_are_not_known_are_an_error():
    import keras

    token_ids = keras.Input((None,), dtype="int32")
    model = keras.Model(token_ids, keras.layers.Embedding(4, 2)(token_ids))
    model.backbone = keras.layers.Dense(1)
    with pytest.raises(UserError, match=r"needs a backbone with `transformer_layers`\. Received: Dense"):
        rematerialize(model)
