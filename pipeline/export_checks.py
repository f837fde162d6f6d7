"""Whether a run's model can be written in the formats that it asks for, as far as its preset says so without being loaded."""

import json
from pathlib import Path
from typing import Any

from components.export.formats import BACKBONES, HUGGING_FACE, MODEL_TYPES, explain_families
from configs.load import Problem
from configs.schema import ExportSection, ModelSection


def find_export_problems(export: ExportSection, model: ModelSection) -> list[Problem]:
    """Returns why a format cannot be written; of a preset that is no local folder this is found out when it is loaded."""
    if HUGGING_FACE not in export.formats:
        return []
    problem = find_family_problem(model.preset)
    return [Problem("export.formats", problem)] if problem else []


def find_family_problem(preset: str) -> str | None:
    """Returns why a preset cannot be written for transformers; None if it can, or if it does not say of which family it is."""
    family = _read_family(Path(preset))
    return None if family is None or family in (*BACKBONES, *MODEL_TYPES) else explain_families(family)


def _read_family(folder: Path) -> str | None:
    try:
        config: Any = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        family = config["class_name"] if "class_name" in config else config["model_type"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return family if isinstance(family, str) else None
