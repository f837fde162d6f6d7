"""Writes the golden files: the default run as it is compiled for both clusters.

    python tests/golden/write_specs.py

Hashes of code and presets are left out, since every edit changes them. Look at the difference before you commit it.
"""

import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

CONFIG = "configs/runs/tiny_gpt2_en_lora.yaml"
RUNNERS = ("kubeflow", "vertex")
IMAGE = "registry.example/lm-fine-tuning:1.0"
_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")


def get_golden_path(runner: str) -> Path:
    """Returns the golden file of a runner."""
    return Path(__file__).with_name(f"{runner}.yaml")


def compile_golden(runner_name: str, log_path: Path) -> str:
    """Returns the compiled pipeline without what every edit changes, and without kfp's comments."""
    from configs.load import load_runner
    from pipeline.cluster_commands import compile_run
    from pipeline.runner_checks import require_valid_run
    from pipeline.validate import load_config

    config = load_config(str(ROOT / CONFIG))
    runner = load_runner(str(ROOT / "configs" / "runners" / f"{runner_name}.yaml"), [f"image={IMAGE}"])
    compiled = compile_run(require_valid_run(config, CONFIG, runner), CONFIG, runner, log_path)
    lines = [line for line in compiled.text.splitlines() if not line.startswith("#")]
    return _DIGEST.sub("<sha256>", "\n".join(lines)) + "\n"


def main() -> None:
    """Writes both files."""
    with tempfile.TemporaryDirectory() as folder:
        for runner in RUNNERS:
            get_golden_path(runner).write_text(compile_golden(runner, Path(folder) / "log"), encoding="utf-8")
            print(get_golden_path(runner))


if __name__ == "__main__":
    main()
