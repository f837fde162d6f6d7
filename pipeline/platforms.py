"""What the wiring must know of where the nodes run: paths, the baseline's resolver, parameters, machines."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.resolver import Resolver
from tfx.types import Channel, standard_artifacts
from tfx.types.channel import BaseChannel

from components.evaluator.baseline import LatestOtherBlessedModel
from components.trainer.executor import Executor
from pipeline.code_hash import REPOSITORY_ROOT


def make_absolute(path: str) -> str:
    """Returns the path as whoever reads the lineage later needs it."""
    return path if "://" in path else os.path.abspath(path)


def locate_in_image(path: str) -> str:
    """Returns a path of this checkout as the image has it: relative to its working directory. Others stay as they are."""
    absolute = Path(make_absolute(path))
    if "://" not in path and absolute.is_relative_to(REPOSITORY_ROOT):
        return absolute.relative_to(REPOSITORY_ROOT).as_posix()
    return path


def find_other_blessed_model(candidate: BaseChannel) -> Resolver:
    """Returns the resolver of the latest blessed model but the candidate itself."""
    return Resolver(
        strategy_class=LatestOtherBlessedModel,
        candidate=candidate,
        model=Channel(type=standard_artifacts.Model),
        model_blessing=Channel(type=standard_artifacts.ModelBlessing),
    )


@dataclass(frozen=True, kw_only=True)
class Platform:
    """Where the nodes run.

    Attributes:
        locate: How a local path of the configuration is called where the nodes run.
        find_baseline: Makes the resolver of the baseline from the candidate.
        parameters: Keys of the run that get their value at its start, with TFX's `RuntimeParameter` of each.
        trainer_executor: Runs the training.
        trainer_config: What that executor must know.
        keeps_failed_outputs: Whether what a failed node has written stays; where it does not, ExampleGen copies its quarantine, and Receipt
            what it says.
        make_more_pushers: Makes nodes that push a model elsewhere too, from model and blessing.
    """

    locate: Callable[[str], str] = make_absolute
    find_baseline: Callable[[BaseChannel], Resolver] = find_other_blessed_model
    parameters: Mapping[str, Any] = field(default_factory=dict)
    trainer_executor: type[BaseExecutor] = Executor
    trainer_config: Mapping[str, Any] = field(default_factory=dict)
    keeps_failed_outputs: bool = False
    make_more_pushers: Callable[[BaseChannel, BaseChannel], list[BaseNode]] = lambda *_: []


LOCAL = Platform()
