"""Handles of the hub in what is compiled for a cluster: each names a commit, as each image has a tag that does not move."""

from typing import Any

from rich.console import Console

from components.presets.handles import HUB, fetch_snapshot, is_pinned, pin_handle
from configs.schema import RunConfig


def pin_presets(config: RunConfig, console: Console) -> RunConfig:
    """Returns the run with the commit that each `hf://` handle names now, and prints them.

    A container has no cache of the hub: each would take the state that is newest when it starts, and a scheduled run another one than
    the last. The hub is asked; without it, what this machine has counts.

    Raises:
        UserError: The hub cannot be asked, and this machine has nothing of it.
    """
    content: dict[str, Any] = config.model_dump(mode="json")
    sections = [content["model"], content["token_cleaning"]["reference"], *content["evaluation"]["metrics"]]
    for section in sections:
        preset = section.get("preset") or ""
        if preset.startswith(HUB) and not is_pinned(preset):
            section["preset"] = pin_handle(preset, fetch_snapshot(preset, with_weights=False).commit)
            told = f"Pinned to the commit of now: {section['preset']}"
            console.print(told, style="dim", soft_wrap=True, markup=False, highlight=False)
    return RunConfig.model_validate(content)
