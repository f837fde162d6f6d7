import pytest
import tensorflow as tf

from components.trainer.engine import StepResult
from components.trainer.state import TrainState
from components.trainer.tensorboard import TensorBoardWriter


def test_scalars_of_steps_and_evaluations(tmp_path):
    writer = TensorBoardWriter(str(tmp_path))
    state = TrainState(eval_loss=4.0)
    writer.on_evaluation(state)
    for step in (1, 2):
        state.step, state.tokens_seen = step, 100 * step
        writer.on_step(state, StepResult(3.0 - step, 8.0), learning_rate=0.5)
    writer.close()
    (path,) = tmp_path.iterdir()
    read = {}
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        event = tf.compat.v1.Event.FromString(record)
        for value in event.summary.value:
            assert value.metadata.plugin_data.plugin_name in ("scalars", "")  # stands in a tag's first record only
            read[value.tag, event.step] = float(tf.make_ndarray(value.tensor))
    speed = read.pop(("tokens_per_second", 2))
    assert speed > 0
    assert read == pytest.approx(
        {
            ("eval_loss", 0): 4.0,
            ("loss", 1): 2.0,
            ("loss", 2): 1.0,
            ("gradient_norm", 1): 8.0,
            ("gradient_norm", 2): 8.0,
            ("learning_rate", 1): 0.5,
            ("learning_rate", 2): 0.5,
        }
    )
