"""Cut token ids into training windows, reproducibly: batch number `step` depends on the seed and `step` alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def join_passages(
    paragraphs: Sequence[Sequence[int]], newline_id: int, end_id: int, mean_passage_length: float, seed: int
) -> np.ndarray:
    """Return one stream of token ids.

    Paragraphs are parted by a newline, and about every `mean_passage_length` paragraphs by `<|endoftext|>` instead, so that
    the model learns to write it; at the ends of the books alone it would hardly ever see it.

    Args:
        paragraphs: Token ids of each paragraph, in order.
        newline_id: Id of the newline.
        end_id: Id of `<|endoftext|>`.
        mean_passage_length: Paragraphs a passage, on average.
        seed: Seed of the cuts.
    """
    ends = np.random.default_rng(seed).random(len(paragraphs)) < 1 / mean_passage_length
    pieces = [[*ids, end_id if end else newline_id] for ids, end in zip(paragraphs, ends, strict=True)]
    return np.fromiter((token for piece in pieces for token in piece), "int32")


@dataclass(frozen=True, kw_only=True)
class WindowSampler:
    """Draws batches of windows.

    Half of the windows start with `<|endoftext|>` and then a paragraph, as prompts do. A share of the windows is made of a few
    short spans of the text repeated in random order: what comes next stands further up in the window, which rewards looking
    it up. Ordinary prose rewards that rarely, and a small model would learn it late.

    Attributes:
        stream: Token ids of the whole training text.
        newline_id: Id of the newline.
        end_id: Id of `<|endoftext|>`.
        repeat_share: Share of windows made of repeated spans.
        seed: Seed of all draws.
    """

    stream: np.ndarray
    newline_id: int
    end_id: int
    repeat_share: float
    seed: int

    def get_batch(self, step: int, batch_size: int, length: int) -> np.ndarray:
        """Return batch number `step`: (batch_size, length + 1) int32, inputs and the token after the last input."""
        generator = np.random.default_rng([self.seed, step])
        return np.stack([self._get_window(generator, length + 1) for _ in range(batch_size)])

    def _get_window(self, generator: np.random.Generator, size: int) -> np.ndarray:
        if generator.random() < self.repeat_share:
            return self._get_repeats(generator, size)
        start = int(generator.integers(0, len(self.stream) - 2 * size))
        if generator.random() < 0.5:
            return self.stream[start : start + size]
        # Move on to the next paragraph; a paragraph longer than the window leaves the start where it is.
        after = self.stream[start : start + size]
        breaks = np.flatnonzero((after == self.newline_id) | (after == self.end_id))
        start += int(breaks[0]) + 1 if len(breaks) else 0
        return np.concatenate([[self.end_id], self.stream[start : start + size - 1]]).astype("int32")

    def _get_repeats(self, generator: np.random.Generator, size: int) -> np.ndarray:
        spans = []
        for _ in range(int(generator.integers(1, 5))):
            length = int(generator.integers(4, 65))
            start = int(generator.integers(0, len(self.stream) - length))
            spans.append(self.stream[start : start + length])
        pieces: list[np.ndarray] = []
        while sum(map(len, pieces)) < size:
            pieces.append(spans[int(generator.integers(0, len(spans)))])
        return np.concatenate(pieces)[:size].astype("int32")
