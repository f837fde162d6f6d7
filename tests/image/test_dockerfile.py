"""What the Dockerfile, .dockerignore and `make image` say."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = {"components", "configs", "data", "pipeline"}
LOCKS = {"requirements.txt", "requirements-cuda.txt", "requirements-jax.txt", "requirements-tpu.txt"}


def git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def list_tracked() -> set[str]:
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    return {name for name in listed if name and (ROOT / name).is_file()}


def test_stages_and_base(dockerfile):
    assert [dockerfile.build[0], dockerfile.final[0]] == [("FROM", "$BASE AS build"), ("FROM", "$BASE")]
    assert re.fullmatch(
        r"docker\.io/library/python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", dockerfile.defaults["BASE"]
    )
    assert [a for name, a in dockerfile.build if name == "RUN" and "apt-get install" in a and "g++" in a]
    runs = " ".join(a for name, a in dockerfile.final if name == "RUN")
    assert not re.search(r"apt-get|install|\bpip\b|g\+\+|gcc", runs), "nothing is built in the final stage"


def test_nothing_secret_is_set(dockerfile):
    stages = dockerfile.start, dockerfile.build, dockerfile.final
    pairs = [pair for stage in stages for name in ("ARG", "ENV") for pair in dockerfile.read_pairs(stage, name)]
    names = {pair.split("=")[0] for pair in pairs}
    assert names >= {"BASE", "VARIANT", "CODE_VERSION"}
    assert not [name for name in names if re.search("KEY|TOKEN|PASSWORD|SECRET|CREDENTIAL", name)]


def test_sources_are_sent_and_there(dockerfile, list_context):
    context = list_context(ROOT)
    sources = {*dockerfile.read_sources(dockerfile.build), *dockerfile.read_sources(dockerfile.final)}
    assert sources == CODE | LOCKS | {"LICENSE"}
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


def test_a_change_repeats_only_what_depends_on_it(dockerfile):
    build, final = dockerfile.build, dockerfile.final
    for path in ("pipeline/cli.py", "configs/schema.py", "components/errors.py", "data/__init__.py"):
        assert find_first_repeated(build, changed=path) is None
        folder = path.split("/")[0]
        assert find_first_repeated(final, changed=path) == ("COPY", f"{folder} {folder}")
    copied = final.index(("COPY", "--from=build /opt/venv /opt/venv"))
    assert copied < final.index(("COPY", "data data")) < final.index(("COPY", "pipeline pipeline"))
    assert find_first_repeated(build, CODE_VERSION="1") is None
    assert find_first_repeated(final, CODE_VERSION="1") == ("ENV", "CODE_VERSION=$CODE_VERSION")
    base = next(i for i, (name, text) in enumerate(build) if name == "RUN" and "/tmp/requirements.txt" in text)
    for change in ({"VARIANT": "cuda"}, {"changed": "requirements-cuda.txt"}):
        repeated = find_first_repeated(build, **change)
        assert repeated is not None and build.index(repeated) > base, "the base lock is installed once for all variants"


def test_nothing_else_is_sent(tmp_path: Path, list_context):
    tracked = list_tracked()
    sent = {name for name in tracked if name.split("/")[0] in CODE} | LOCKS | {"LICENSE"}
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
    *_, version, tag, name, context = called = done.stdout.split()
    assert called[:1] == ["build"] and "VARIANT=cuda" in called
    assert version.removesuffix("-dirty") == f"CODE_VERSION={git('rev-parse', 'HEAD').strip()}"
    assert (tag, name, context) == ("-t", "registry:5000/team/name:1", ".")
