"""How often each whole number occurs: exact where numbers are small, within 0.2 % where they are large; merged in any order."""

from dataclasses import dataclass, field
from typing import Any

# So many leading bits of a number are kept: below 2 ** 10 each number has a bin of its own, above it a bin is at most
# 2 ** -9 of the number wide. A histogram of numbers up to a billion thus has at most 11,264 bins.
_EXACT_BITS = 10
RELATIVE_ERROR = 2.0 ** (1 - _EXACT_BITS)
PERCENTS = {"p5": 5, "p25": 25, "median": 50, "p75": 75, "p95": 95}


@dataclass
class Histogram:
    """Counts of numbers from 0 on.

    Attributes:
        counts: By the lowest number of a bin.
        total: Sum of the numbers.
        lowest: Smallest number; None without any.
        highest: Largest number; None without any.
    """

    counts: dict[int, int] = field(default_factory=dict)
    total: int = 0
    lowest: int | None = None
    highest: int | None = None

    @property
    def size(self) -> int:
        """How many numbers were added."""
        return sum(self.counts.values())

    def add(self, number: int) -> None:
        """Adds one number."""
        shift = max(number.bit_length() - _EXACT_BITS, 0)
        low = number >> shift << shift
        self.counts[low] = self.counts.get(low, 0) + 1
        self._widen(number, number)
        self.total += number

    def merge(self, other: "Histogram") -> None:
        """Adds all numbers of another histogram."""
        for low, count in other.counts.items():
            self.counts[low] = self.counts.get(low, 0) + count
        self.total += other.total
        if other.lowest is not None and other.highest is not None:
            self._widen(other.lowest, other.highest)

    def quantile(self, percent: int) -> int | None:
        """Returns the smallest number that at least `percent` % of all numbers do not exceed; None without numbers.

        It is exact below 1,024, and above it too small by at most `RELATIVE_ERROR` of itself.
        """
        if self.lowest is None or self.highest is None:
            return None
        rank = max(-(-percent * self.size // 100), 1)
        for low in sorted(self.counts):
            rank -= self.counts[low]
            if rank <= 0:
                return self.highest if percent == 100 else max(low, self.lowest)
        raise AssertionError("ranks go up to the size")

    def count_up_to(self, number: int) -> int:
        """Returns how many numbers are at most `number`; a bin counts by its lowest number."""
        return sum(count for low, count in self.counts.items() if low <= number)

    def describe(self) -> dict[str, Any]:
        """Returns smallest, largest, mean and quantiles; all None without numbers."""
        size = self.size
        return {
            "min": self.lowest,
            **{name: self.quantile(percent) for name, percent in PERCENTS.items()},
            "max": self.highest,
            "mean": self.total / size if size else None,
        }

    def _widen(self, lowest: int, highest: int) -> None:
        self.lowest = lowest if self.lowest is None else min(self.lowest, lowest)
        self.highest = highest if self.highest is None else max(self.highest, highest)
