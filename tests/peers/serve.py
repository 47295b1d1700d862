"""What the Python workers share: the protocol of `workers.py`, and codes made of f32 weights.

Knows no library whose products are timed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Case(Protocol):
    """A product that is ready to run."""

    weight_bytes: int
    """Bytes of one copy of the weights."""
    products_per_run: int
    """Products that one run does, each with another copy."""

    def run(self) -> None:
        """Do the timed work once."""

    def result(self) -> Floats:
        """Return `[tokens, rows]` of the first copy."""


@dataclass(frozen=True)
class Request:
    """Which case, of which size."""

    name: str
    tokens: int
    rows: int
    columns: int
    copies: int
    folder: Path

    def weights(self) -> Floats:
        """Return `[rows, columns]`."""
        return np.fromfile(self.folder / "weights.f32", np.float32).reshape(self.rows, self.columns)

    def input(self) -> Floats:
        """Return `[tokens, columns]`."""
        return np.fromfile(self.folder / "input.f32", np.float32).reshape(self.tokens, self.columns)


def round_symmetric(values: Floats, group: int, bits: int) -> tuple[NDArray[np.int8], Floats]:
    """Return signed codes of the shape of `values`, and a scale for each `group` columns."""
    largest = 2 ** (bits - 1) - 1
    grouped = values.reshape(len(values), -1, group)
    scales = np.abs(grouped).max(axis=2, keepdims=True) / largest
    scales = scales.astype(np.float16).astype(np.float32)
    codes = np.clip(np.rint(grouped / scales), -largest - 1, largest).astype(np.int8)
    return codes.reshape(values.shape), scales[:, :, 0]


def timed(case: Case, milliseconds: float) -> str:
    """Return the nanoseconds of each product; the first run counts only if it alone takes the time that is given."""
    limit = int(milliseconds * 1e6)
    clock = time.perf_counter_ns
    begin = clock()
    case.run()
    samples = [clock() - begin]
    if samples[0] < limit:
        samples.clear()
        begin = clock()
        while not samples or clock() - begin < limit:
            before = clock()
            case.run()
            samples.append(clock() - before)
    return " ".join(["timed", *(str(sample // case.products_per_run) for sample in samples)])


def serve(prepare: Callable[[Request], Case]) -> None:
    """Answer commands until standard input ends."""
    # Libraries may print: only answers go to the real standard output.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    cases: dict[str, Case] = {}
    for line in sys.stdin:
        try:
            answer = _answer(cases, prepare, line.split())
        except Exception as error:  # noqa: BLE001 - whatever a library raises is the answer
            answer = f"missing {type(error).__name__}: {error}"
        print(" ".join(answer.split()), file=answers, flush=True)


def _answer(cases: dict[str, Case], prepare: Callable[[Request], Case], words: list[str]) -> str:
    verb, name, *rest = words
    if verb == "prepare":
        case, tokens, rows, columns, copies, folder = rest
        request = Request(case, int(tokens), int(rows), int(columns), int(copies), Path(folder))
        cases[name] = prepare(request)
        cases[name].run()
        return f"ready {cases[name].weight_bytes}"
    if verb == "check":
        cases[name].result().astype(np.float32).tofile(rest[0])
        return "ready"
    if verb == "time":
        return timed(cases[name], float(rest[0]))
    if verb == "drop":
        cases.pop(name, None)
        return "ready"
    return "missing no such command"


def threads() -> int:
    """Return the threads asked for: the first argument."""
    return int(sys.argv[1])
