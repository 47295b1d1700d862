"""Medians, ratios with bootstrap intervals, and the lines they are printed as."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

RESAMPLES = 2000
SEED = 7


@dataclass
class Samples:
    """Nanoseconds of the products of one case, a list for each slice."""

    slices: list[list[int]] = field(default_factory=list)

    @property
    def least(self) -> float:
        """Return the shortest, in seconds."""
        return min(min(values) for values in self.slices) / 1e9

    @property
    def medians(self) -> list[float]:
        """Return the median of each slice, in seconds."""
        return [median(values) / 1e9 for values in self.slices]

    @property
    def median(self) -> float:
        """Return the median of the medians of slices, in seconds."""
        return median(self.medians)


@dataclass(frozen=True)
class Ratio:
    """How many times longer one takes than the other, with the interval that holds it 19 times of 20."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:5.2f} [{self.low:4.2f}, {self.high:4.2f}]"


def ratio_of_medians(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """Return the ratio theirs / ours; slices of the same round stay together when rounds are drawn again."""
    if len(ours) != len(theirs):
        raise ValueError("slices come in pairs")
    generator = random.Random(SEED)
    rounds = range(len(ours))
    drawn = []
    for _ in range(RESAMPLES):
        picks = generator.choices(rounds, k=len(ours))
        drawn.append(median(theirs[pick] for pick in picks) / median(ours[pick] for pick in picks))
    drawn.sort()
    edge = RESAMPLES // 40
    return Ratio(median(theirs) / median(ours), drawn[edge], drawn[-edge - 1])


def time_text(seconds: float) -> str:
    """Return a time in a unit that leaves few digits."""
    return f"{seconds * 1e6:8.1f} us" if seconds < 1e-2 else f"{seconds * 1e3:8.2f} ms"
