"""The table of benchmarks."""

from components.benchmark.suites.bbq import Bbq
from components.benchmark.suites.gsm8k import Gsm8k
from components.benchmark.suites.humaneval import HumanEval
from components.benchmark.suites.ifeval import IfEval
from components.benchmark.suites.mmlu import Mmlu
from components.benchmark.suites.squad import Squad
from components.benchmark.suites.suite import Suite
from components.benchmark.suites.truthfulqa import TruthfulQaMc1, TruthfulQaMc2

SUITES: dict[str, Suite] = {
    "gsm8k": Gsm8k(),
    "mmlu": Mmlu(),
    "bbq": Bbq(),
    "squad": Squad(),
    "truthfulqa_mc1": TruthfulQaMc1(),
    "truthfulqa_mc2": TruthfulQaMc2(),
    "humaneval": HumanEval(),
    "ifeval": IfEval(),
}
