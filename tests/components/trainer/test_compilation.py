"""When XLA pays, and how many lengths."""

import pytest

from components.trainer import compilation
from components.trainer.compilation import plan_compilation
from components.trainer.lengths import plan_lengths

GPT2 = {"num_layers": 12, "num_frozen": 124_000_000, "num_trainable": 1_000_000}


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch, tmp_path):
    monkeypatch.setattr(compilation, "count_cores", lambda: 2)
    monkeypatch.setattr(compilation, "_CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text("processor : 0\nflags\t\t: fpu avx avx2 fma\n")


@pytest.mark.parametrize(("num_positions", "expected"), [(1_000, False), (1_000_000, True)])
def test_auto_compiles_where_more_is_saved_than_spent(num_positions, expected):
    plan = plan_compilation("auto", num_positions=num_positions, **GPT2)
    assert plan.jit_compile is expected
    assert (plan.positions_per_length > 0) is expected


def test_cpus_with_avx512_compile_only_when_told(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor : 0\nflags\t\t: fpu avx avx2 fma avx512f avx512bw\n")
    assert not plan_compilation("auto", num_positions=10**9, **GPT2).jit_compile
    assert plan_compilation(True, num_positions=10**9, **GPT2).jit_compile
    (tmp_path / "cpuinfo").unlink()
    assert plan_compilation("auto", num_positions=10**9, **GPT2).jit_compile


def test_lengths_that_are_given_must_all_pay():
    assert plan_compilation("auto", num_positions=100_000, **GPT2).jit_compile
    assert not plan_compilation("auto", num_positions=100_000, num_lengths=7, **GPT2).jit_compile


def test_a_choice_is_kept():
    assert plan_compilation(True, num_positions=1, **GPT2).jit_compile
    assert not plan_compilation(False, num_positions=10**9, **GPT2).jit_compile


def test_nineteen_seconds_of_two_cores_are_about_four_thousand_positions():
    assert 3_000 < plan_compilation(True, num_positions=1, **GPT2).positions_per_length < 5_000


def test_trained_parameters_cost_more_than_frozen_ones():
    full = plan_compilation(True, num_layers=12, num_frozen=0, num_trainable=125_000_000, num_positions=1)
    lora = plan_compilation(True, num_positions=1, **GPT2)
    assert full.positions_per_length == pytest.approx(lora.positions_per_length * 4 / 6, rel=0.01)


def test_a_length_must_save_what_it_costs():
    counts = [0] * 8 + [100] + [0] * 7 + [100]  # examples of 8 and of 16 positions; padding to 16 costs 800
    assert plan_lengths(counts, 4, 16, 4, cost_of_length=799) == (8, 16)
    assert plan_lengths(counts, 4, 16, 4, cost_of_length=801) == (16,)
