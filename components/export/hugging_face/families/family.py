"""What is needed to write the models of one family in Hugging Face's layout."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from components.export.hugging_face.tensors import Tensor


@dataclass(frozen=True, kw_only=True)
class Family:
    """A family of models.

    Attributes:
        title: As a reader knows it.
        list_tensors: The weights of a backbone.
        list_numbers: What the mathematics uses, by the names of `config.json`, with `model_type` and `architectures`.
            A publisher's config that states one of them otherwise is an error.
        list_rewritten: Likewise, but what there are several forms of, so that the publisher's is replaced.
        list_defaults: What is written only where no publisher's config says it.
    """

    title: str
    list_tensors: Callable[[Any], Iterable[Tensor]]
    list_numbers: Callable[[Any], dict[str, Any]]
    list_rewritten: Callable[[Any], dict[str, Any]]
    list_defaults: Callable[[Any], dict[str, Any]]
