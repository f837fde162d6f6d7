import pytest
from keras import ops

from components.errors import UserError
from components.trainer.model import check_max_length, hash_weights, load_model


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, "which is none of them"),
        ([], r"Missing: config\.json"),
        (["config.json"], "has no weights .*git lfs pull"),
        (["config.json", "model.weights.h5"], "cannot be loaded .*save_to_preset"),
    ],
)
def test_a_folder_that_is_no_preset_says_what_is_missing(tmp_path, monkeypatch, files, message):
    monkeypatch.chdir(tmp_path)
    if files is not None:
        (tmp_path / "preset").mkdir()
        for name in files:
            (tmp_path / "preset" / name).write_text("{}")
    with pytest.raises(UserError, match=message):
        load_model("preset")


def test_a_preset_that_is_no_causal_lm_is_refused(tmp_path):
    import keras_hub

    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=8, num_layers=1, num_heads=1, hidden_dim=4, intermediate_dim=4, max_sequence_length=4
    )
    backbone.save_to_preset(str(tmp_path / "bert"))
    with pytest.raises(UserError, match="must be a causal language model"):
        load_model(str(tmp_path / "bert"))


def test_what_cannot_be_downloaded_says_what_to_do(monkeypatch):
    from keras_hub.models import CausalLM

    def offline(preset, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(CausalLM, "from_preset", offline)
    with pytest.raises(UserError, match=r"no route to host.*Check the name, the network .*give the folder's path"):
        load_model("kaggle://someone/something/keras/small")


def test_the_hash_is_of_the_weights(make_tiny_model):
    model, same, other = make_tiny_model(), make_tiny_model(), make_tiny_model(seed=1)
    assert hash_weights(model) == hash_weights(same) != hash_weights(other)
    weight = same.weights[3]
    weight.assign(weight + ops.eye(*weight.shape[:2]) * 1e-3 if len(weight.shape) == 2 else weight + 1e-3)
    assert hash_weights(model) != hash_weights(same)


def test_more_tokens_than_positions_are_refused(make_tiny_model):
    check_max_length(make_tiny_model(), 32)
    with pytest.raises(UserError, match=r"must be at most 32.*Received: 33"):
        check_max_length(make_tiny_model(), 33)
