"""The image. There need be no Docker here: a folder stands for a container's root, and what the Dockerfile says is done in it."""

import ast
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path

import pytest
from docker.utils.build import exclude_paths

ROOT = Path(__file__).resolve().parent.parent
CODE = {"components", "configs", "data", "pipeline"}
VARIANT_LOCKS = {"requirements-cuda.txt", "requirements-jax.txt", "requirements-tpu.txt"}
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


def read_stages() -> list[list[tuple[str, str]]]:
    """Returns what stands before the first FROM, then each stage; an instruction is (name, arguments)."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    stages: list[list[tuple[str, str]]] = [[]]
    for line in filter(str.strip, text.splitlines()):
        name, _, arguments = line.strip().partition(" ")
        if name == "FROM":
            stages.append([])
        stages[-1].append((name, arguments.strip()))
    return stages


GLOBAL, BUILD, FINAL = read_stages()


def expand(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda match: values[match[1]], text)


def read_pairs(stage: list[tuple[str, str]], name: str) -> list[str]:
    return [pair for instruction, arguments in stage if instruction == name for pair in shlex.split(arguments)]


def read_sources(stage: list[tuple[str, str]]) -> list[str]:
    """Returns what is copied from the context, in order."""
    copies = [arguments.split() for name, arguments in stage if name == "COPY" and not arguments.startswith("--")]
    return [source for words in copies for source in words[:-1]]


@dataclass
class Container:
    """A folder that stands for the root of one stage, and what was said of processes in it.

    Attributes:
        root: The folder.
        context: The build context.
        stand_ins: What is there instead of the folders that other stages built.
        tools: Commands of the base image, or what stands in for them.
        arguments: Build arguments, the global ones included.
        settings: Environment variables of the test's own.
    """

    root: Path
    context: Path
    stand_ins: dict[str, Path]
    tools: Path
    arguments: dict[str, str]
    settings: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": SYSTEM_PATH})
    declared: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "root"
    labels: dict[str, str] = field(default_factory=dict)
    commands: dict[str, list[str]] = field(default_factory=dict)

    def outside(self, text: str) -> str:
        """Puts every absolute path in `text` below the root, so that nothing else is touched; programs of the system stay."""
        return re.sub(r"(?<![\w.*/-])/(?!(?:usr|bin)\b)(?=\w|$)", f"{self.root}/", text)

    def run(self, command: list[str] | str, workdir: str | None = None, user: int | None = None) -> subprocess.CompletedProcess[str]:
        """Runs a command, or a line for the shell, with the environment and in the folder that the image has."""
        words = ["sh", "-c", self.outside(command)] if isinstance(command, str) else command
        environment = {name: self.outside(value) for name, value in self.environment.items()} | self.settings
        head, found, tail = environment["PATH"].partition(SYSTEM_PATH)
        assert found, "without it, the system's own commands would change this machine"
        environment["PATH"] = f"{head}{self.tools}:{SYSTEM_PATH}{tail}"
        groups = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        return subprocess.run(
            words, env=environment, cwd=self.outside(workdir or self.workdir), capture_output=True, text=True, check=False, **groups
        )  # fmt: skip

    def follow(self, stage: list[tuple[str, str]]) -> None:
        """Does what a stage says; a RUN that fails is an AssertionError, as it ends a build."""
        (self.root / "tmp").mkdir(parents=True)
        (self.root / "tmp").chmod(0o1777)
        for name, arguments in stage:
            getattr(self, f"_do_{name.lower()}")(arguments)

    def _do_from(self, arguments: str) -> None:
        expand(arguments, self.arguments)

    def _do_arg(self, arguments: str) -> None:
        name, _, default = arguments.partition("=")
        self.declared[name] = self.arguments.get(name, default)

    def _do_env(self, arguments: str) -> None:
        pairs = [expand(pair, self.declared | self.environment) for pair in shlex.split(arguments)]
        self.environment |= dict(pair.split("=", 1) for pair in pairs)

    def _do_label(self, arguments: str) -> None:
        pairs = [expand(pair, self.declared | self.environment) for pair in shlex.split(arguments)]
        self.labels |= dict(pair.split("=", 1) for pair in pairs)

    def _do_workdir(self, arguments: str) -> None:
        self.workdir = arguments
        Path(self.outside(arguments)).mkdir(parents=True, exist_ok=True)

    def _do_user(self, arguments: str) -> None:
        self.user = arguments

    def _do_run(self, arguments: str) -> None:
        declared = "".join(f"{name}={shlex.quote(value)}; " for name, value in self.declared.items())
        done = self.run(declared + arguments)
        assert done.returncode == 0, f"RUN {arguments}\n{done.stdout}{done.stderr}"

    def _do_copy(self, arguments: str) -> None:
        *sources, target = arguments.split()
        into = Path(self.outside(target)) if target.startswith("/") else Path(self.outside(self.workdir), target)
        if sources[0].startswith("--from="):
            into.parent.mkdir(parents=True, exist_ok=True)
            into.symlink_to(self.stand_ins[sources[1]])
            return
        for source in (self.context / source for source in sources):
            if source.is_dir():
                shutil.copytree(source, into, dirs_exist_ok=True)
            else:
                shutil.copy(source, into)

    def _do_entrypoint(self, arguments: str) -> None:
        self.commands["entrypoint"] = json.loads(arguments)

    def _do_cmd(self, arguments: str) -> None:
        self.commands["cmd"] = json.loads(arguments)


def list_context(folder: Path) -> set[str]:
    """Returns the files that are sent to the builder."""
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    paths = exclude_paths(str(folder), patterns)
    # The builder reads these two itself.
    return {path for path in paths if (folder / path).is_file()} - {"Dockerfile", ".dockerignore"}


def list_tracked() -> set[str]:
    done = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()}


def make_context(folder: Path) -> Path:
    for name in list_context(ROOT):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`python` of the base image, and commands that change the system, which do nothing here."""
    folder = tmp_path_factory.mktemp("tools")
    (folder / "python").symlink_to(sys._base_executable)  # type: ignore[attr-defined]
    for name in ("apt-get", "useradd"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def container(tools: Path) -> Iterator[Container]:
    """The final stage, whose own check has loaded TFX once. It lies where other users may look into it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        context = make_context(Path(folder, "context"))
        arguments = dict(pair.split("=", 1) for pair in read_pairs(GLOBAL, "ARG")) | {"CODE_VERSION": "0123abc"}
        made = Container(Path(folder, "root"), context, {"/opt/venv": Path(sys.prefix)}, tools, arguments)
        made.follow(FINAL)
        for place in ("/home/pipeline", "/cache", "/pipeline/runs", "/tmp"):
            left = list(Path(made.outside(place)).iterdir())
            assert not left, f"the check at the end of the build leaves {left}, which another user could not change"
        yield made


# --- What it says


def test_stages_and_base():
    assert [BUILD[0], FINAL[0]] == [("FROM", "$BASE AS build"), ("FROM", "$BASE")]
    (base,) = read_pairs(GLOBAL, "ARG")
    assert re.fullmatch(r"BASE=docker\.io/library/python:3\.11\.\d+-slim-bookworm", base)
    assert [a for name, a in BUILD if name == "RUN" and "apt-get install" in a and "g++" in a]
    runs = " ".join(a for name, a in FINAL if name == "RUN")
    assert not re.search(r"apt-get|install|\bpip\b|g\+\+|gcc", runs), "nothing is built in the final stage"


def test_nothing_secret_is_set():
    names = [pair.split("=")[0] for stage in (GLOBAL, BUILD, FINAL) for i in ("ARG", "ENV") for pair in read_pairs(stage, i)]
    assert {"BASE", "VARIANT", "CODE_VERSION"} <= set(names)
    assert not [name for name in names if re.search("KEY|TOKEN|PASSWORD|SECRET|CREDENTIAL", name)]


def test_sources_are_sent_and_there():
    context = list_context(ROOT)
    sources = {*read_sources(BUILD), *read_sources(FINAL)}
    assert sources == CODE | VARIANT_LOCKS | {"LICENSE", "requirements.txt"}
    for source in sources:
        assert [name for name in context if name == source or name.startswith(f"{source}/")], source


def make_keys(stage: list[tuple[str, str]], changed: str = "", **arguments: str) -> list[str]:
    """Returns what a builder's cache goes by: all before an instruction, its files, and the arguments that are declared."""
    keys, declared = [""], {}
    for name, text in stage:
        words = text.split()
        if name == "ARG":
            declared[words[0].split("=")[0]] = arguments.get(words[0].split("=")[0], "")
        elif name == "COPY" and any(changed.split("/")[0] == word for word in words):
            text += " changed"
        keys.append(f"{keys[-1]}\n{name} {text} {declared if name in ('RUN', 'ENV', 'LABEL') else ''}")
    return keys[1:]


def find_first_repeated(stage: list[tuple[str, str]], **change: str) -> tuple[str, str] | None:
    pairs = zip(stage, make_keys(stage), make_keys(stage, **change), strict=True)
    return next((instruction for instruction, old, new in pairs if old != new), None)


def test_a_change_repeats_only_what_depends_on_it():
    for path in ("pipeline/cli.py", "configs/schema.py", "components/errors.py", "data/__init__.py"):
        assert find_first_repeated(BUILD, changed=path) is None
        folder = path.split("/")[0]
        assert find_first_repeated(FINAL, changed=path) == ("COPY", f"{folder} {folder}")
    copied = FINAL.index(("COPY", "--from=build /opt/venv /opt/venv"))
    assert copied < FINAL.index(("COPY", "data data")) < FINAL.index(("COPY", "pipeline pipeline"))
    assert find_first_repeated(BUILD, CODE_VERSION="1") is None
    assert find_first_repeated(FINAL, CODE_VERSION="1") == ("ENV", "CODE_VERSION=$CODE_VERSION")
    base = next(i for i, (name, text) in enumerate(BUILD) if name == "RUN" and "/tmp/requirements.txt" in text)
    for change in ({"VARIANT": "cuda"}, {"changed": "requirements-cuda.txt"}):
        repeated = find_first_repeated(BUILD, **change)
        assert repeated is not None and BUILD.index(repeated) > base, "the base lock is installed once for all variants"


def test_nothing_else_is_sent(tmp_path: Path):
    tracked = list_tracked()
    sent = {name for name in tracked if name.split("/")[0] in CODE} | VARIANT_LOCKS | {"LICENSE", "requirements.txt"}
    private = [
        "runs/serving/a/1/saved_model.pb", ".venv/bin/python", ".git/config", ".env", "key.json", "models/a.h5",
        "pipeline/__pycache__/a.pyc", "components/trainer/__pycache__/a.pyc", "data/.env", "configs/runs/.a.yaml.swp",
        "data/sample/.ipynb_checkpoints/a", "pipeline.env", "requirements-dev.txt", "requirements.in",
    ]  # fmt: skip
    for name in {*tracked, *private}:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert {name.split("/")[0] for name in tracked} > {"tests", "docs", "Makefile"}
    assert list_context(tmp_path) == sent


# --- What it does


def make_wheel(folder: Path, name: str) -> str:
    """Writes a package without a line of code; returns its line in a lock."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: missing\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture
def builder(tmp_path: Path, tools: Path) -> Container:
    """The build stage, with locks of one tiny package each; nothing is asked of a network."""
    wheels, context = tmp_path / "wheels", tmp_path / "context"
    wheels.mkdir()
    context.mkdir()
    for lock in {"requirements.txt", *VARIANT_LOCKS}:
        (context / lock).write_text(make_wheel(wheels, lock.removesuffix(".txt").replace("-", "_")))
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": os.devnull}
    arguments = dict(pair.split("=", 1) for pair in read_pairs(GLOBAL, "ARG"))
    return Container(tmp_path / "root", context, {}, tools, arguments, offline)


@pytest.mark.parametrize(
    ("variant", "installed"),
    [
        (None, {"requirements"}),
        ("cpu", {"requirements"}),
        ("jax", {"requirements", "requirements_jax"}),
        ("cuda", {"requirements", "requirements_cuda"}),
        ("tpu", {"requirements", "requirements_tpu"}),
    ],
)
def test_build_installs_the_locks(builder: Container, variant: str | None, installed: set[str]):
    if variant:
        builder.arguments["VARIANT"] = variant
    builder.follow(BUILD)
    folder = builder.root / "opt/venv/lib/python3.11/site-packages"
    assert {path.name.split("-")[0] for path in folder.glob("requirements*.dist-info")} == installed


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-cuda.txt"])
def test_build_refuses_another_file_than_the_locked_one(builder: Container, lock: str):
    builder.arguments["VARIANT"] = "cuda"
    path = builder.context / lock
    path.write_text(re.sub("sha256:.*", "sha256:" + "0" * 64, path.read_text()))
    with pytest.raises(AssertionError, match="DO NOT MATCH THE HASHES"):
        builder.follow(BUILD)


def test_build_ends_at_an_unknown_variant(builder: Container):
    builder.arguments["VARIANT"] = "gpu"
    with pytest.raises(AssertionError, match=r"requirements-gpu\.txt"):
        builder.follow(BUILD)


def test_entry_point_shows_the_commands(container: Container):
    done = container.run(container.commands["entrypoint"] + container.commands["cmd"])
    assert done.returncode == 0, done.stderr
    assert {"run", "validate", "lineage", "generate"} <= set(re.findall(r"^  ([a-z-]+) ", done.stdout, re.MULTILINE))


def test_commands_of_a_cluster_find_the_code_of_the_image(container: Container):
    modules = "pipeline.cli", "components.errors", "configs.schema", "data"
    code = f"import sys, {', '.join(modules)}\nfor name in {modules}: print(sys.modules[name].__file__)\nprint(sys.prefix)"
    # A step may start anywhere.
    for workdir in (None, "/tmp"):
        done = container.run(["python", "-c", code], workdir)
        paths = ["pipeline/cli.py", "components/errors.py", "configs/schema.py", "data/__init__.py"]
        assert done.stdout.split() == [*(container.outside(f"/pipeline/{path}") for path in paths), container.outside("/opt/venv")]


def test_steps_start_a_command_that_is_there(container: Container):
    """TFX's steps and training jobs replace the entry point by `python -m MODULE`."""
    spec = util.find_spec("tfx")
    assert spec is not None and spec.submodule_search_locations is not None
    tfx = Path(spec.submodule_search_locations[0])
    found = {}
    for name in ("orchestration/kubeflow/v2/kubeflow_v2_dag_runner.py", "extensions/google_cloud_ai_platform/training_clients.py"):
        for node in ast.parse((tfx / name).read_text()).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in {"KUBEFLOW_TFX_CMD", "_CONTAINER_COMMAND"}:
                found[name] = list(ast.literal_eval(node.value))
    assert len(found) == 2
    for python, option, module in found.values():
        assert (python, option) == ("python", "-m")
        assert (tfx.parent / f"{module.replace('.', '/')}.py").is_file()


def test_settings(container: Container):
    assert container.user == "1000"
    assert container.workdir == container.environment["PYTHONPATH"] == "/pipeline"
    assert container.environment["PATH"] == f"/opt/venv/bin:{SYSTEM_PATH}"
    assert container.environment["CODE_VERSION"] == container.labels["org.opencontainers.image.revision"] == "0123abc"
    assert container.labels["org.opencontainers.image.base.name"] == container.arguments["BASE"]
    assert {path.name for path in Path(container.outside("/pipeline")).iterdir()} == {*CODE, "LICENSE", "requirements.txt", "runs"}


def test_libraries_keep_what_they_download_in_one_folder(container: Container):
    code = """if True:
        import getpass, pathlib, huggingface_hub.constants, kagglehub.config, keras.src.backend.config
        print(keras.src.backend.config.keras_home(), kagglehub.config.get_cache_folder(), huggingface_hub.constants.HF_HOME)
        print(pathlib.Path.home(), getpass.getuser())"""
    done = container.run(["python", "-c", code])
    folders = ["/cache/keras", "/cache/kagglehub", "/cache/huggingface", "/home/pipeline"]
    assert done.stdout.split() == [*map(container.outside, folders), "pipeline"], done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_any_user_may_write_where_it_must(container: Container):
    folders = '"$HOME/a" "$XDG_CACHE_HOME/a" runs/a'
    done = container.run(f"id -u && mkdir {folders} && rmdir {folders}", user=54321)
    assert (done.stdout, done.stderr) == ("54321\n", "")
    assert container.run("mkdir pipeline/a", user=54321).returncode, "the code belongs to root"


# --- make image


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "IMAGE must be a name with a tag"),
        (["IMAGE=registry:5000/name"], "Received: 'registry:5000/name'"),
        (["IMAGE=name:1", "VARIANT=gpu"], "VARIANT must be cpu, jax, cuda or tpu. Received: 'gpu'"),
        (["IMAGE=name:1", "DOCKER=no-such-docker"], "there is no command 'no-such-docker'"),
    ],
)
def test_make_image_says_what_is_missing(words: list[str], message: str):
    done = subprocess.run(["make", "image", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr


def test_make_image_calls_docker(tmp_path: Path):
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    docker.chmod(0o755)
    words = ["make", "-s", "image", "IMAGE=registry:5000/team/name:1", "VARIANT=cuda", f"DOCKER={docker}"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    *_, version, tag, name, context = called = done.stdout.split()
    assert called[:1] == ["build"] and "VARIANT=cuda" in called
    assert version.removesuffix("-dirty") == f"CODE_VERSION={head}"
    assert (tag, name, context) == ("-t", "registry:5000/team/name:1", ".")
