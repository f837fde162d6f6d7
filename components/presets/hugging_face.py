"""What a folder in Hugging Face's layout holds, before anything of it is loaded."""

from dataclasses import dataclass
from pathlib import Path

from components.presets.families import FAMILIES, find_family_problem, read_backbone_arguments
from components.presets.side_files import read_json_object
from components.presets.tokenizer_files import find_tokenizer_problems
from components.presets.weight_files import Weights, count_bytes, read_weights


@dataclass(frozen=True, kw_only=True)
class FolderReport:
    """What is known of a folder.

    Attributes:
        model_type: As `config.json` says.
        title: What people call the family; "" if it is not known.
        num_parameters: Values in its weights.
        problems: What is wrong with it, each a sentence.
    """

    model_type: str
    title: str
    num_parameters: int
    problems: tuple[str, ...]

    def count_bytes(self, dtype_bytes: int) -> int:
        """Returns how many bytes the weights take in memory, in a dtype of so many bytes a value."""
        return dtype_bytes * self.num_parameters


def inspect_folder(folder: str | Path, *, with_weights: bool = True) -> FolderReport:
    """Reads a folder's `config.json`, the headers of its weights and the vocabulary of its tokenizer.

    Args:
        folder: Local, in Hugging Face's layout (`side_files.is_hugging_face_folder`).
        with_weights: False where they have not been downloaded yet.
    """
    config = read_json_object(Path(folder) / "config.json") or {}
    weights = read_weights(folder) if with_weights else Weights({}, ())
    problems = []
    family_problem = find_family_problem(config)
    family = FAMILIES.get(str(config.get("model_type")))
    if family_problem is not None or family is None:
        problems.append(f"config.json: {family_problem}")
    else:
        problems += [f"config.json: {problem}" for problem in read_backbone_arguments(config)[1]]
        problems += find_tokenizer_problems(folder, family, config)
    problems += weights.problems
    return FolderReport(
        model_type=str(config.get("model_type")),
        title=family.title if family else "",
        num_parameters=count_bytes(weights.tensors, 1),
        problems=tuple(problems),
    )
