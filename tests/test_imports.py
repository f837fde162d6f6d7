"""The layer rule: a module imports only from lower layers, and siblings do not import each other.

A new component folder needs no entry here; a new module of `pipeline/` only if others of `pipeline/` stand on it, or it
on them.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# From the lowest layer up. A unit is in the layer that names it, else in the one whose pattern fits it.
LAYERS: tuple[tuple[str, ...], ...] = (
    (
        "components.conditions",
        "components.console_line",
        "components.damage",
        "components.addresses",
        "components.datasets",
        "components.errors",
        "components.git_lfs",
        "components.harmless",
        "components.options",
        "components.owned_folders",
        "components.places",
        "components.precision",
        "components.provenance",
        "components.runtime",
        "components.storage",
    ),
    ("configs",),
    ("components.presets",),
    ("components.models",),
    ("components.content", "components.local_copies", "components.text"),
    ("components.export", "components.methods", "components.metrics", "components.splits"),
    ("components.*", "data.*"),
    (
        "pipeline.beam",
        "pipeline.code_hash",
        "pipeline.console",
        "pipeline.cron",
        "pipeline.environment",
        "pipeline.export_checks",
        "pipeline.html",
        "pipeline.metadata_connection",
        "pipeline.paths",
        "pipeline.preset_checks",
        "pipeline.receipt_report",
        "pipeline.serving",
        "pipeline.tokens_report",
    ),
    (
        "pipeline.execution",
        "pipeline.file_checks",
        "pipeline.platforms",
        "pipeline.template_checks",
        "pipeline.validate_cleaning",
    ),
    ("pipeline.lineage",),
    ("pipeline.specs", "pipeline.training_nodes", "pipeline.repeats", "pipeline.tokens_store"),
    ("pipeline.*",),  # wiring, checks and records
    ("pipeline.receipt_view",),
    ("pipeline.*_runner", "pipeline.receipt_page", "pipeline.report_store", "pipeline.tokens_page"),
    ("pipeline.kubeflow", "pipeline.vertex", "pipeline.report_page", "pipeline.summary"),
    ("pipeline.runner_checks", "pipeline.run_command"),
    ("pipeline.benchmark_command", "pipeline.cluster_commands", "pipeline.export_command"),
    ("pipeline.schedule_commands",),
    ("pipeline.cli_options",),
    ("pipeline.cluster_cli", "pipeline.export_cli", "pipeline.lineage_cli", "pipeline.receipt_cli"),
    ("pipeline.cli",),
    ("pipeline.__main__",),
)
SIBLINGS_ALLOWED = {
    ("components.tuner", "components.trainer"),  # trials are short trainings
    ("components.preset_importer", "components.trainer"),  # same model card, no training
    ("components.predictor", "components.trainer"),  # a preset is asked by the functions that are exported
    ("components.benchmark", "components.trainer"),  # likewise
    ("components.token_scorer", "components.trainer"),  # same loading and output layer, no training
    ("components.judge", "components.trainer"),  # a preset that judges is asked as any other
    ("components.evaluator", "components.judge"),
    ("components.evaluator", "components.embedding"),
    ("components.benchmark", "components.evaluator"),  # same measuring, no gate
    ("components.benchmark", "components.predictor"),  # same losses of choices
    ("components.cleaning_report", "components.partitioner"),  # tells which examples the reference has seen
    ("components.cleaning_report", "components.transform"),  # states the error bound of its cut
}
# Reading TFRecords, exporting, and the functions that TFX calls. All other modules of the training core are pure Keras 3,
# so that they run on JAX as well.
TENSORFLOW_ALLOWED = {
    f"components.trainer.{name}"
    for name in (
        "data",
        "statistics",
        "export",
        "signatures",
        "graph_text",
        "chunks",
        "slice_update",
        "decoding",
        "block_functions",
        "graph_memory",
        "kv_cache",
        "sampling",
        "graph_tokenizer",
        "graph_merges",
        "graph_words",
        "verify_export",
        "module",
        "executor",
        "component",
        "vertex_executor",
        "tensorflow_engine",
    )
}
TENSORFLOW = (
    "tensorflow",
    "tensorflow_text",
    "tfx",
    "apache_beam",
    "tensorflow_transform",
    "tensorflow_model_analysis",
)
RUNS_CODE_FROM_DATA = ("pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib")


def get_unit(module: str) -> str:
    """Returns what counts as one: `configs`, a folder of components/ or data/, a module of pipeline/."""
    return "configs" if module.split(".")[0] == "configs" else ".".join(module.split(".")[:2])


def get_layer(unit: str) -> int | None:
    exact = [level for level, names in enumerate(LAYERS) if unit in names]
    # `pipeline.*_runner` is more particular than `pipeline.*`: the longest pattern decides.
    fitting = [(len(name), level) for level, names in enumerate(LAYERS) for name in names if fnmatch(unit, name)]
    return exact[0] if exact else max(fitting, default=(0, None))[1]


def list_imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yields line and full name of every import, also of those inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{prefix}.{alias.name}") for alias in node.names)


def find_layer_violations(module: str, tree: ast.AST) -> Iterator[str]:
    unit = get_unit(module)
    for line, name in list_imports(tree):
        if name.startswith("."):
            yield f"line {line}: relative import {name}"
        if name.split(".")[0] not in ("configs", "components", "pipeline", "data"):
            continue
        other = get_unit(name)
        if other == unit or (unit, other) in SIBLINGS_ALLOWED:
            continue
        level, other_level = get_layer(unit), get_layer(other)
        if level is None or other_level is None:
            yield f"line {line}: {unit if level is None else other} is in no layer"
        elif other_level >= level:
            yield f"line {line}: {unit} (layer {level}) imports {name} (layer {other_level})"
        elif other == "configs" and unit.startswith("components."):
            yield f"line {line}: {unit} imports {name}: components receive plain dicts, which TFX records"


def find_tensorflow_imports(tree: ast.Module) -> Iterator[str]:
    """Yields imports of TensorFlow that happen when the module itself is imported."""
    # Functions and `if TYPE_CHECKING:` do not run then; other compound statements do.
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (f"line {n}: {name}" for n, name in list_imports(node) if name.split(".")[0] in TENSORFLOW)
        waiting.extend(ast.iter_child_nodes(node))


def find_code_execution(tree: ast.AST) -> Iterator[str]:
    """Yields what would let a data or model file run code."""
    for line, name in list_imports(tree):
        if name.split(".")[0] in RUNS_CODE_FROM_DATA:
            yield f"line {line}: imports {name}"
    safe_loaders = {"yaml.SafeLoader", "yaml.CSafeLoader", "NumberLoader"}  # the last one is of configs.load
    safe_loaders |= {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and safe_loaders & set(map(ast.unparse, node.bases))
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        given = [ast.unparse(value) for value in (*node.args, *(keyword.value for keyword in node.keywords))]
        if called in ("yaml.load", "yaml.load_all") and safe_loaders & set(given):
            continue
        if called in ("eval", "exec", "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.unsafe_load_all"):
            yield f"line {node.lineno}: calls {called}"
        for keyword in node.keywords:
            allowed = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
            if keyword.arg == "allow_pickle" and allowed:
                yield f"line {node.lineno}: calls {called} with allow_pickle=True"


def list_modules() -> dict[str, ast.Module]:
    modules = {}
    for folder in ("configs", "components", "pipeline", "data"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            modules[name] = ast.parse(path.read_text(encoding="utf-8"))
    return modules


MODULES = list_modules()


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module: str):
    assert list(find_layer_violations(module, MODULES[module])) == []


@pytest.mark.parametrize("module", MODULES)
def test_no_file_can_run_code(module: str):
    assert list(find_code_execution(MODULES[module])) == []


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith(("components.methods", "components.trainer"))])
def test_training_core_is_pure_keras(module: str):
    if module in TENSORFLOW_ALLOWED:
        return
    assert list(find_tensorflow_imports(MODULES[module])) == []


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("pipeline.lineage")])
def test_lineage_never_imports_tensorflow(module: str):
    names = [name for _, name in list_imports(MODULES[module])]
    assert not [name for name in names if name.split(".")[0] in (*TENSORFLOW, "keras", "keras_hub")]


@pytest.mark.parametrize(
    "module",
    [
        "pipeline.lineage.collect_view",
        "pipeline.lineage.trace_view",
        "pipeline.lineage.verify_view",
        "pipeline.tokens_view",
        "pipeline.tokens_page",
        "pipeline.receipt_page",
        "pipeline.receipt_cli",
        "pipeline.cli",
        "pipeline.validate",
        # TFX is imported by the children of these.
        "pipeline.run_command",
        "pipeline.schedule_commands",
        "pipeline.kubeflow.check_run",
        "pipeline.kubeflow.run_node",
    ],
)
def test_quick_commands_import_quickly(module: str):
    """Help, validation and lineage answer at once: importing TensorFlow or TFX takes half a minute."""
    code = f"import sys, {module}; print([m for m in {(*TENSORFLOW, 'keras', 'keras_hub')} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("components.text.cleaning", "from components.trainer import fit", "(layer 4) imports components.trainer.fit"),
        ("components.tokenizer.executor", "import components.trainer.fit", "(layer 6) imports components.trainer.fit"),
        ("components.tuner.module", "import components.trainer.fit", None),
        ("components.trainer.fit", "from configs import schema", "components receive plain dicts"),
        ("components.trainer.fit", "from . import data", "relative import"),
        ("configs.load", "from configs import schema", None),
        ("pipeline.pipeline", "def f():\n  from pipeline import local_runner", "imports pipeline.local_runner"),
        ("pipeline.kubeflow_runner", "from pipeline.pipeline import create_pipeline", None),
        ("pipeline.kubeflow_runner", "from pipeline import local_runner", "imports pipeline.local_runner"),
        ("pipeline.lineage", "from pipeline.lineage import store", None),
    ],
)
def test_the_layer_check_itself(module: str, source: str, expected: str | None):
    found = list(find_layer_violations(module, ast.parse(source)))
    assert found == [] if expected is None else expected in found[0]


def test_the_other_checks_themselves():
    tree = ast.parse(
        "import pickle\neval('1')\nnp.load(f, allow_pickle=True)\nmodel.eval()\nnp.load(f, allow_pickle=False)\n"
        "yaml.load_all(f, yaml.Loader)\nyaml.load_all(f, yaml.CSafeLoader)"
    )
    assert len(list(find_code_execution(tree))) == 4
    tree = ast.parse("try:\n  import tensorflow as tf\nexcept ImportError: pass\ndef f():\n  import tfx")
    assert list(find_tensorflow_imports(tree)) == ["line 2: tensorflow"]
