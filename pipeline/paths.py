"""Where runs keep what they write."""

import re
from dataclasses import dataclass
from pathlib import Path

from components.errors import UserError
from configs.runner_schema import ClusterRunnerConfig, LocalRunnerConfig

# Parameters of a compiled pipeline beside keys of the run: the root of all places, and where models are pushed to.
PIPELINE_ROOT = "pipeline_root"
PUSH_DESTINATION = "push_destination"


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the nodes of one pipeline write: local folders, or addresses in a bucket.

    Attributes:
        artifacts: TFX's pipeline root.
        serving: Pushed models, one numbered folder a version: what TensorFlow Serving is pointed at.
        checkpoints: Trainer checkpoints; TFX deletes the outputs of a failed node, so they live elsewhere.
        quarantine: Copies of the quarantine files of runs that were stopped because of them.
        receipts: Receipts of runs that were stopped by one of their rules: `<run id>.<node>.json`.
        judgements: What judges have answered; shared by all pipelines of a root.
    """

    artifacts: str
    serving: str
    checkpoints: str
    quarantine: str
    receipts: str
    judgements: str


def make_places(root: str, name: str) -> Places:
    """Returns the places of the pipeline `name` below `root`, a folder or an address."""
    root = root.rstrip("/")
    return Places(
        artifacts=f"{root}/artifacts/{name}",
        serving=f"{root}/serving/{name}",
        checkpoints=f"{root}/checkpoints/{name}",
        quarantine=f"{root}/quarantine/{name}",
        receipts=f"{root}/receipts/{name}",
        judgements=f"{root}/judgements",
    )


def require_plain(name: str) -> str:
    """Returns the name of a pipeline or a run that may be that of a file.

    Raises:
        UserError: It may not.
    """
    if not name or "/" in name or "\0" in name or name in (".", ".."):
        raise UserError(
            f"names of pipelines and runs must be names that files can have. Received: {name!r}, as the metadata store has it. Whoever "
            "wrote that store must not choose where files go: name a file for the output."
        )
    return name


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Absolute paths of one pipeline below a runner's `root`.

    Attributes:
        root: The runner's root.
        name: The pipeline's name.
    """

    root: Path
    name: str

    def __post_init__(self) -> None:
        """Refuses a name that would lead out of the root: in a store that somebody else has written, it may."""
        require_plain(self.name)

    @property
    def places(self) -> Places:
        """Where the nodes write."""
        return make_places(str(self.root), self.name)

    @property
    def serving(self) -> Path:
        """Pushed models."""
        return Path(self.places.serving)

    def logs(self, run_id: str) -> Path:
        """The folder of a run's logs: one file a node, and one of the runner itself."""
        return self.root / "logs" / self.name / require_plain(run_id)

    def log(self, run_id: str) -> Path:
        """The runner's own log."""
        return self.logs(run_id) / "run.log"

    def node_log(self, run_id: str, node_id: str) -> Path:
        """Everything that a node and its libraries print."""
        return self.logs(run_id) / f"{node_id}.log"

    def report(self, run_id: str) -> Path:
        """The summary that `run` prints at its end."""
        return self.logs(run_id) / "summary.txt"

    def tokens_page(self, run_id: str) -> Path:
        """The page that `tokens` writes: what token cleaning kept and dropped in a run."""
        return self.root / "reports" / self.name / f"{require_plain(run_id)}.tokens.html"

    def stopped_receipt(self, run_id: str, node_id: str) -> Path:
        """The receipt of a run that was stopped by one of its rules, and of no other run."""
        return Path(self.places.receipts) / f"{run_id}.{node_id}.json"

    def receipt_page(self, run_id: str) -> Path:
        """The page that `receipt` writes: what the loss of a run's trainings sees."""
        return self.root / "reports" / self.name / f"{require_plain(run_id)}.receipt.html"

    def report_page(self, run_id: str) -> Path:
        """The page of a run: what went in, what was decided, and why."""
        return self.root / "reports" / self.name / f"{require_plain(run_id)}.html"


def make_lineage_path(root: Path, pipeline_name: str, name: str) -> Path:
    """Returns where a drawing of the lineage goes.

    Args:
        root: The runner's root.
        pipeline_name: The pipeline that it is about; empty if it is about several.
        name: Of the drawing, with the end that tells its format.
    """
    # Names of a store that somebody else wrote must not lead out of the folder.
    folder, file = (re.sub(r"[^\w.-]|^\.+", "_", text) for text in (pipeline_name, name))
    stem, dot, suffix = file.rpartition(".")
    return root / "reports" / folder / f"{stem}.lineage{dot}{suffix}"


def find_root(runner: LocalRunnerConfig | ClusterRunnerConfig) -> str:
    """Returns the folder that pages are written below: the runner's own, or for a cluster the local default."""
    return runner.root if isinstance(runner, LocalRunnerConfig) else "runs"
