import pytest

from components import precision
from components.precision import resolve_dtype


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("avx2 amx_bf16 amx_tile", "mixed_bfloat16"),
        ("avx512f avx512_bf16", "mixed_bfloat16"),
        ("avx2 amx_bf16_x", "float32"),
    ],
)
def test_auto_goes_by_the_processor(tmp_path, monkeypatch, flags, expected):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: fpu {flags}\n")
    monkeypatch.setattr(precision, "_CPUINFO", tmp_path / "cpuinfo")
    assert resolve_dtype("auto") == expected
    assert resolve_dtype("float32") == "float32"
    assert resolve_dtype("bfloat16") == "bfloat16"


def test_where_the_system_does_not_say_it_is_float32(tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "_CPUINFO", tmp_path / "nothing")
    assert resolve_dtype("auto") == "float32"
