"""Rows by hand."""

import numpy as np
import pytest

from components.receipt.rows import Row, SpecialTokens

# Ids below 10 are special: 1 starts a sequence, 2 and 3 end it.
TOKENS = SpecialTokens(start_id=1, end_ids=(2, 3), all_ids=frozenset({1, 2, 3, 4}))


@pytest.fixture
def tokens():
    return TOKENS


@pytest.fixture
def make_row():
    """Returns a function from ids and weights to a row; the first weight must be 0."""

    def make(example_id, token_ids, weight, *, response=None, cut=(0, 0), specials=None):
        weight = np.array(weight, np.float32)
        return Row(
            example_id=example_id,
            token_ids=np.array(token_ids, np.int64),
            weight=weight,
            num_response_tokens=int((weight > 0).sum()) if response is None else response,
            tokens_cut=cut,
            template_specials=specials,
        )

    return make
