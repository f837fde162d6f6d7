"""`validate`, of the files of runs and of runners."""

from collections.abc import Iterator
from pathlib import Path

from configs.load import ConfigError, dump_config, load_runner
from configs.schema import RunConfig
from pipeline.validate import load_config

from .words import WORDS

_CONFIGS = Path(__file__).resolve().parents[3] / "configs"


class Configuration:
    """`validate`: a run's or a runner's file, and `--set`.

    An input is a byte that chooses which, the file, and after each NUL one `--set`.
    """

    def __init__(self, folder: Path):
        self._path = folder / "configuration.yaml"
        self._again = folder / "again.yaml"

    def __call__(self, data: bytes) -> None:
        if not data:
            return
        content, *rest = data[1:].split(b"\0")
        overrides = [text.decode("utf-8", "replace") for text in rest]
        self._path.write_bytes(content)
        try:
            if data[0] % 4 == 0:
                load_runner(str(self._path), overrides)
                return
            config = load_config(str(self._path), overrides)
        except ConfigError as error:
            for problem in error.problems:
                assert problem.message.strip(), error
                assert len(str(problem)) < 4000, error
            return
        self._again.write_text(dump_config(config), encoding="utf-8")
        assert load_config(str(self._again)) == config

    def list_seeds(self) -> Iterator[bytes]:
        """All files of the project, and one line for each section."""
        for path in sorted((_CONFIGS / "runs").glob("*.yaml")):
            yield b"\1" + path.read_bytes() + b"\0train.seed=1\0text.max_length=64"
        for path in sorted((_CONFIGS / "runners").glob("*.yaml")):
            yield b"\0" + path.read_bytes() + b"\0root=runs"
        yield b"\1data: {path: data/sample/instructions.jsonl}\nmodel: {preset: gpt2_base_en}\n"

    def list_words(self) -> list[str]:
        """Every key there is, and YAML's own signs."""
        schema = RunConfig.model_json_schema()
        parts = (schema, *schema["$defs"].values())
        return [
            *WORDS["configuration"],
            *sorted({f"{name}: " for part in parts for name in part.get("properties", {})}),
        ]
