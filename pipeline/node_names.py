"""The names of a run's containers, known without TFX, which takes half a minute to load.

The nodes are made in `pipeline.pipeline` and `pipeline.training_nodes`; a test compares.
"""

from configs.runner_schema import ClusterRunnerConfig, VertexRunnerConfig
from configs.schema import RunConfig

# The container on Kubeflow Pipelines that says whether the others are needed; no node of TFX.
RUN_CHECK = "RunCheck"
_READ = ["ExampleGen", "StatisticsGen", "SchemaGen", "ExampleValidator", "Tokenizer"]
_PREDICT = ["CandidatePredictor", "PresetPredictor", "BaselinePredictor"]
_GENERAL = ["GeneralExampleGen", "GeneralTokenizer", "GeneralCandidatePredictor", "GeneralPresetPredictor"]
_TRAIN = ["Transform", "Receipt", "Trainer"]
_SCORED = ["TokenScorer", "CleaningReport", *_TRAIN]


def list_node_names(config: RunConfig, runner: ClusterRunnerConfig) -> list[str]:
    """Returns the names of all containers that a runner starts: its nodes, and on Kubeflow Pipelines `RUN_CHECK`."""
    # Vertex AI resolves by itself, and has no check.
    check, resolver = ([], []) if isinstance(runner, VertexRunnerConfig) else ([RUN_CHECK], ["BaselineResolver"])
    general = _GENERAL if config.evaluation.general else []
    endpoint = ["EndpointPusher"] if isinstance(runner, VertexRunnerConfig) and runner.endpoint else []
    before = [*check, *_READ, *_list_training(config), "PresetImporter", *resolver]
    return [*before, *_PREDICT, *general, "Evaluator", "Pusher", *endpoint]


def _list_training(config: RunConfig) -> list[str]:
    cleaning = config.token_cleaning
    match cleaning.strategy:
        case "none":
            return ["TokenizedSchema", *_TRAIN]
        case "fixed" if cleaning.reference.preset is None:
            reference = [f"Reference{name}" for name in _TRAIN]
            return ["Partitioner", "TokenizedSchema", *reference, "ScoredSchema", *_SCORED]
        case "self_evolving":
            names = ["Partitioner", "TokenizedSchema", *(f"Round0{name}" for name in _TRAIN), "ScoredSchema"]
            rounds = [f"Round{i}" for i in range(1, cleaning.parts - 1)]
            return names + [f"{prefix}{name}" for prefix in (*rounds, "") for name in _SCORED]
        case _:
            return ["ScoredSchema", *_SCORED]
