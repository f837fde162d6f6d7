"""Where a run of the local runner keeps what it writes."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Absolute paths of one pipeline below a runner's `root`.

    Attributes:
        root: The runner's root.
        name: The pipeline's name.
    """

    root: Path
    name: str

    @property
    def artifacts(self) -> Path:
        """TFX's pipeline root."""
        return self.root / "artifacts" / self.name

    @property
    def serving(self) -> Path:
        """Pushed models, one numbered folder a version: what TensorFlow Serving is pointed at."""
        return self.root / "serving" / self.name

    @property
    def checkpoints(self) -> Path:
        """Trainer checkpoints; TFX deletes the outputs of a failed node, so they live elsewhere."""
        return self.root / "checkpoints" / self.name

    @property
    def quarantine(self) -> Path:
        """Copies of the quarantine files of runs that were stopped because of them."""
        return self.root / "quarantine" / self.name

    @property
    def judgements(self) -> Path:
        """What judges have answered; shared by all pipelines of a root."""
        return self.root / "judgements"

    def log(self, run_id: str) -> Path:
        """The log file of a run: everything that its libraries print."""
        return self.root / "logs" / self.name / f"{run_id}.log"

    def report(self, run_id: str) -> Path:
        """The summary that `run` prints at its end."""
        return self.root / "logs" / self.name / f"{run_id}.summary.txt"

    def tokens_page(self, run_id: str) -> Path:
        """The page that `tokens` writes: what token cleaning kept and dropped in a run."""
        return self.root / "reports" / self.name / f"{run_id}.tokens.html"

    def report_page(self, run_id: str) -> Path:
        """The page of a run: what went in, what was decided, and why."""
        return self.root / "reports" / self.name / f"{run_id}.html"
