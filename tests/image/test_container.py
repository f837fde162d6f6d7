"""What the stages of the image do, and how programs find themselves in it."""

import ast
import hashlib
import os
import re
import shutil
import sys
import tempfile
import zipfile
from importlib import util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VARIANT_LOCKS = {"requirements-cuda.txt", "requirements-jax.txt", "requirements-tpu.txt"}


@pytest.fixture(scope="module")
def container(dockerfile, list_context, make_container):
    """The final stage, whose own check has loaded TFX once. It lies where other users may look into it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        context = Path(folder, "context")
        for name in list_context(ROOT):
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, context / name)
        made = make_container(Path(folder, "root"), context, stand_ins={"/opt/venv": Path(sys.prefix)})
        made.arguments["CODE_VERSION"] = "0123abc"
        made.follow(dockerfile.final)
        for place in ("/home/pipeline", "/cache", "/pipeline/runs", "/tmp"):
            left = list(Path(made.outside(place)).iterdir())
            assert not left, f"the check at the end of the build leaves {left}, which another user could not change"
        yield made


def make_wheel(folder: Path, name: str) -> str:
    """Writes a package without a line of code; returns its line in a lock."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        # Without `--no-deps` this one would be asked for.
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: missing\n"
        wheel.writestr(f"{info}/METADATA", head)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture
def builder(tmp_path: Path, make_container):
    """The build stage, with locks of one tiny package each; nothing is asked of a network."""
    wheels, context = tmp_path / "wheels", tmp_path / "context"
    wheels.mkdir()
    context.mkdir()
    for lock in {"requirements.txt", *VARIANT_LOCKS}:
        (context / lock).write_text(make_wheel(wheels, lock.removesuffix(".txt").replace("-", "_")))
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": os.devnull}
    return make_container(tmp_path / "root", context, settings=offline)


@pytest.mark.parametrize(
    ("variant", "installed"),
    [
        (None, {"requirements"}),
        ("jax", {"requirements", "requirements_jax"}),
        ("cuda", {"requirements", "requirements_cuda"}),
        ("tpu", {"requirements", "requirements_tpu"}),
    ],
)
def test_build_installs_the_locks(builder, dockerfile, variant: str | None, installed: set[str]):
    if variant:
        builder.arguments["VARIANT"] = variant
    builder.follow(dockerfile.build)
    folder = builder.root / "opt/venv/lib/python3.11/site-packages"
    assert {path.name.split("-")[0] for path in folder.glob("requirements*.dist-info")} == installed


@pytest.mark.parametrize(
    ("lock", "instead", "message"),
    [
        ("requirements.txt", f"--hash=sha256:{'0' * 64}", "DO NOT MATCH THE HASHES"),
        ("requirements.txt", "", "Hashes are required"),
        ("requirements-cuda.txt", "", "Hashes are required"),
    ],
)
def test_build_takes_only_what_is_locked(builder, dockerfile, lock: str, instead: str, message: str):
    builder.arguments["VARIANT"] = "cuda"
    path = builder.context / lock
    path.write_text(re.sub("--hash=.*", instead, path.read_text()))
    with pytest.raises(AssertionError, match=message):
        builder.follow(dockerfile.build)


def test_build_ends_at_an_unknown_variant(builder, dockerfile):
    builder.arguments["VARIANT"] = "gpu"
    with pytest.raises(AssertionError, match=r"requirements-gpu\.txt"):
        builder.follow(dockerfile.build)


def test_entry_point_shows_the_commands(container):
    done = container.run(container.commands["entrypoint"] + container.commands["cmd"])
    assert done.returncode == 0, done.stderr
    assert {"run", "validate", "lineage", "generate"} <= set(re.findall(r"^  ([a-z-]+) ", done.stdout, re.MULTILINE))


def test_commands_of_a_cluster_find_the_code_of_the_image(container):
    modules = "pipeline.cli", "components.errors", "configs.schema", "data"
    code = f"import sys, {', '.join(modules)}\nprint(*[sys.modules[name].__file__ for name in {modules}], sys.prefix)"
    # A step may start anywhere.
    for workdir in (None, "/tmp"):
        done = container.run(["python", "-c", code], workdir)
        paths = ["pipeline/cli.py", "components/errors.py", "configs/schema.py", "data/__init__.py"]
        places = [*(f"/pipeline/{path}" for path in paths), "/opt/venv"]
        assert done.stdout.split() == [container.outside(place) for place in places], done.stderr


def test_steps_start_a_command_that_is_there(container):
    """TFX's steps and training jobs replace the entry point by `python -m MODULE`."""
    spec = util.find_spec("tfx")
    assert spec is not None and spec.submodule_search_locations is not None
    tfx = Path(spec.submodule_search_locations[0])
    commands = {
        "KUBEFLOW_TFX_CMD": "orchestration/kubeflow/v2/kubeflow_v2_dag_runner.py",
        "_CONTAINER_COMMAND": "extensions/google_cloud_ai_platform/training_clients.py",
    }
    for constant, path in commands.items():
        assigned = [node for node in ast.parse((tfx / path).read_text()).body if isinstance(node, ast.Assign)]
        (value,) = [node.value for node in assigned if ast.unparse(node.targets[0]) == constant]
        python, option, module = ast.literal_eval(value)
        assert (python, option) == ("python", "-m")
        assert (tfx.parent / f"{module.replace('.', '/')}.py").is_file()
    found = container.run("command -v python").stdout.strip()
    assert found == container.outside("/opt/venv/bin/python")


def test_settings(container):
    assert container.user == "1000"
    assert container.workdir == container.environment["PYTHONPATH"] == "/pipeline"
    assert container.environment["PATH"] == "/opt/venv/bin:/usr/local/bin:/usr/bin:/bin"
    assert container.environment["CODE_VERSION"] == container.labels["org.opencontainers.image.revision"] == "0123abc"
    assert container.labels["org.opencontainers.image.base.name"] == container.arguments["BASE"]
    holds = {path.name for path in Path(container.outside("/pipeline")).iterdir()}
    assert holds == {"components", "configs", "data", "pipeline", "LICENSE", "requirements.txt", "runs"}


def test_libraries_keep_what_they_download_in_one_folder(container):
    code = """if True:
        import getpass, pathlib, huggingface_hub.constants, kagglehub.config, keras.src.backend.config
        print(keras.src.backend.config.keras_home(), kagglehub.config.get_cache_folder(), huggingface_hub.constants.HF_HOME)
        print(pathlib.Path.home(), getpass.getuser())"""
    done = container.run(["python", "-c", code])
    folders = ["/cache/keras", "/cache/kagglehub", "/cache/huggingface", "/home/pipeline"]
    assert done.stdout.split() == [*map(container.outside, folders), "pipeline"], done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_any_user_may_write_where_it_must(container):
    folders = '"$HOME/a" "$XDG_CACHE_HOME/a" runs/a'
    done = container.run(f"id -u && mkdir {folders} && rmdir {folders}", user=54321)
    assert (done.stdout, done.stderr) == ("54321\n", "")
    assert container.run("mkdir pipeline/a", user=54321).returncode, "the code belongs to root"
