"""Start, end and padding tokens in the configs."""

from types import SimpleNamespace

from components.export.hugging_face.token_ids import list_token_ids, make_generation_config


def test_several_end_tokens():
    tokenizer = SimpleNamespace(start_token_id=1, end_token_id=2, end_token2_id=5, pad_token_id=0)
    assert list_token_ids(tokenizer) == {"bos_token_id": 1, "eos_token_id": [2, 5], "pad_token_id": 2}
    assert list_token_ids(tokenizer, (7, 2))["eos_token_id"] == [7, 2]


def test_padding_is_a_token_for_it_where_there_is_one():
    tokenizer = SimpleNamespace(start_token_id=None, end_token_id=2, pad_token="<pad>", pad_token_id=0)
    assert list_token_ids(tokenizer) == {"eos_token_id": 2, "pad_token_id": 0}


def test_the_publishers_generation_config_gets_all_end_tokens():
    own = {"bos_token_id": 1, "eos_token_id": 5, "pad_token_id": 2}
    publisher = {"eos_token_id": 2, "temperature": 0.7, "pad_token_id": 0}
    assert make_generation_config(publisher, own) == {
        "bos_token_id": 1,
        "eos_token_id": [2, 5],
        "pad_token_id": 0,
        "temperature": 0.7,
    }
    assert make_generation_config({}, own) == own
