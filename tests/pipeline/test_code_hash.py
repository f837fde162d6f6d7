"""An edit anywhere in what a node runs changes its hash, and nothing else does."""

import pytest

from pipeline import code_hash


@pytest.fixture
def project(tmp_path, monkeypatch):
    files = {
        "components/__init__.py": "",
        "components/a/__init__.py": "",
        "components/a/module.py": "from components.b import thing\nimport os\n",
        "components/b.py": "def thing():\n    from components import lazy\n",
        "components/lazy.py": "",
        "components/other.py": "",
        "components/a/words.json": "[]",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(code_hash, "REPOSITORY_ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("edited", "changes"),
    [
        ("components/a/module.py", True),
        ("components/b.py", True),
        ("components/lazy.py", True),
        ("components/a/__init__.py", True),
        ("components/other.py", False),
        ("components/a/words.json", True),
    ],
)
def test_an_edit(project, edited, changes):
    before = code_hash.hash_code("components.a.module")
    assert before == code_hash.hash_code("components.a.module")
    (project / edited).write_text((project / edited).read_text() + "# edited\n")
    assert (before != code_hash.hash_code("components.a.module")) == changes


def test_an_unknown_module(project):
    with pytest.raises(ValueError, match=r"components\.none"):
        code_hash.hash_code("components.none")


def test_hash_folder(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x").write_text("1")
    (tmp_path / ".hidden").write_text("1")
    before = code_hash.hash_folder(tmp_path)
    (tmp_path / ".hidden").write_text("2")
    assert code_hash.hash_folder(tmp_path) == before
    (tmp_path / "sub" / "x").write_text("2")
    assert code_hash.hash_folder(tmp_path) != before
    (tmp_path / "sub" / "x").write_text("1")
    (tmp_path / "sub" / "x").rename(tmp_path / "sub" / "y")
    assert code_hash.hash_folder(tmp_path) != before
