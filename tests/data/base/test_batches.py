import numpy as np
import pytest

from data.base.batches import WindowSampler, join_passages

NEWLINE, END = 10, 99


def test_join_passages_parts_paragraphs_by_newline_or_end() -> None:
    paragraphs = [[1, 2], [3], [4, 5, 6]] * 200
    stream = join_passages(paragraphs, NEWLINE, END, mean_passage_length=4.0, seed=0)
    assert [token for token in stream if token not in (NEWLINE, END)] == [token for ids in paragraphs for token in ids]
    num_ends = int((stream == END).sum())
    assert num_ends + int((stream == NEWLINE).sum()) == len(paragraphs)
    assert 100 < num_ends < 200


def make_sampler(**changes: object) -> WindowSampler:
    # Paragraphs of seven tokens that count upwards, so that any token tells where it comes from.
    stream = np.arange(1000, 9000, dtype="int32")
    stream[7::8] = NEWLINE
    arguments = {"stream": stream, "newline_id": NEWLINE, "end_id": END, "repeat_share": 0.0, "seed": 3}
    return WindowSampler(**(arguments | changes))


def test_batches_depend_on_seed_and_step_alone() -> None:
    sampler = make_sampler(repeat_share=0.5)
    sampler.get_batch(1, 4, 32)
    np.testing.assert_array_equal(sampler.get_batch(7, 4, 32), make_sampler(repeat_share=0.5).get_batch(7, 4, 32))
    assert not np.array_equal(sampler.get_batch(7, 4, 32), sampler.get_batch(8, 4, 32))
    assert not np.array_equal(sampler.get_batch(7, 4, 32), make_sampler(seed=4).get_batch(7, 4, 32))


@pytest.mark.parametrize("repeat_share", [0.0, 1.0])
def test_batch_has_one_token_more_than_the_length(repeat_share: float) -> None:
    batch = make_sampler(repeat_share=repeat_share).get_batch(0, 5, 64)
    assert batch.shape == (5, 65)
    assert batch.dtype == np.int32


def test_half_of_the_windows_start_like_a_prompt() -> None:
    batch = make_sampler().get_batch(0, 400, 32)
    starts = batch[:, 0] == END
    assert 150 < starts.sum() < 250
    # Right after the end token comes the first token of a paragraph.
    assert (batch[starts, 1] % 8 == 1000 % 8).all()


def test_ordinary_windows_are_consecutive_text() -> None:
    for window in make_sampler().get_batch(0, 50, 32):
        text = window[1:] if window[0] == END else window
        words = np.flatnonzero(text != NEWLINE)
        assert (np.diff(text[words]) == np.diff(words)).all()


def test_repeat_windows_hold_few_distinct_tokens() -> None:
    ordinary, repeats = make_sampler().get_batch(0, 50, 512), make_sampler(repeat_share=1.0).get_batch(0, 50, 512)
    assert np.median([len(set(window)) for window in ordinary]) > 400
    assert max(len(set(window)) for window in repeats) <= 4 * 64
