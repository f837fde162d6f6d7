"""There need be no Docker here: a folder stands for a container's root, and what the Dockerfile says is done in it."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from docker.utils.build import exclude_paths

ROOT = Path(__file__).resolve().parents[2]
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


class Dockerfile:
    """The instructions before the first FROM and of both stages; each is a pair of name and arguments."""

    def __init__(self, path: Path):
        text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
        stages: list[list[tuple[str, str]]] = [[]]
        for line in filter(str.strip, text.splitlines()):
            name, _, arguments = line.strip().partition(" ")
            if name == "FROM":
                stages.append([])
            stages[-1].append((name, arguments.strip()))
        self.start, self.build, self.final = stages
        self.defaults = dict(pair.split("=", 1) for pair in self.read_pairs(self.start, "ARG"))

    def read_pairs(self, stage: list[tuple[str, str]], name: str) -> list[str]:
        """Returns what the instructions `name` set, as NAME=VALUE."""
        return [pair for instruction, arguments in stage if instruction == name for pair in shlex.split(arguments)]

    def read_sources(self, stage: list[tuple[str, str]]) -> list[str]:
        """Returns what is copied from the context, in order."""
        copies = [arguments.split() for name, arguments in stage if name == "COPY" and not arguments.startswith("--")]
        return [source for words in copies for source in words[:-1]]


def expand(text: str, values: dict[str, str]) -> str:
    """Puts values in the place of $NAME; a name without a value is a KeyError."""
    return re.sub(r"\$\{?(\w+)\}?", lambda match: values[match[1]], text)


@dataclass
class Container:
    """A folder that stands for the root of one stage, and what was said of processes in it.

    Attributes:
        root: The folder.
        context: The build context.
        tools: Commands of the base image; those that change the system do nothing.
        arguments: Build arguments, the global ones included.
        stand_ins: What is there instead of the folders that other stages built.
        settings: Environment variables of the test's own.
    """

    root: Path
    context: Path
    tools: Path
    arguments: dict[str, str]
    stand_ins: dict[str, Path] = field(default_factory=dict)
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

    def run(self, command: list[str] | str, workdir: str | None = None, user: int | None = None):
        """Runs a command, or a line for the shell, with the environment and in the folder that the image has."""
        words = ["sh", "-c", self.outside(command)] if isinstance(command, str) else command
        environment = {name: self.outside(value) for name, value in self.environment.items()} | self.settings
        head, found, tail = environment["PATH"].partition(SYSTEM_PATH)
        assert found, "without it, the system's own commands would change this machine"
        environment["PATH"] = f"{head}{self.tools}:{SYSTEM_PATH}{tail}"
        groups = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        folder = self.outside(workdir or self.workdir)
        return subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True, check=False, **groups)

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


@pytest.fixture(scope="session")
def dockerfile():
    return Dockerfile(ROOT / "Dockerfile")


@pytest.fixture(scope="session")
def list_context():
    """The function that returns the files of a folder that are sent to the builder."""

    def list_files(folder: Path) -> set[str]:
        lines = (ROOT / ".dockerignore").read_text().splitlines()
        paths = exclude_paths(str(folder), [line for line in lines if line and not line.startswith("#")])
        # The builder reads these two itself.
        return {path for path in paths if (folder / path).is_file()} - {"Dockerfile", ".dockerignore"}

    return list_files


@pytest.fixture(scope="session")
def make_container(tmp_path_factory, dockerfile):
    """The function that makes an empty container in a folder: `make(folder, context, **more)`."""
    tools = tmp_path_factory.mktemp("tools")
    (tools / "python").symlink_to(sys._base_executable)
    for name in ("apt-get", "useradd"):
        (tools / name).write_text("#!/bin/sh\n")
        (tools / name).chmod(0o755)

    def make(root: Path, context: Path, **more) -> Container:
        return Container(root=root, context=context, tools=tools, arguments=dict(dockerfile.defaults), **more)

    return make
