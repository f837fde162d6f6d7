"""The special tokens of a preset's tokenizer."""

from typing import Any

from components.receipt.rows import SpecialTokens
from components.text.tokenization import start_token_id


def find_special_tokens(tokenizer: Any) -> SpecialTokens:
    """Returns the special tokens of a KerasHub tokenizer."""
    ends = [tokenizer.end_token_id, getattr(tokenizer, "end_token2_id", None)]
    end_ids = tuple(dict.fromkeys(int(i) for i in ends if i is not None))
    start = start_token_id(tokenizer)
    special = {int(tokenizer.token_to_id(token)) for token in tokenizer.special_tokens if token}
    return SpecialTokens(
        start_id=None if start is None else int(start), end_ids=end_ids, all_ids=frozenset(special | set(end_ids))
    )
