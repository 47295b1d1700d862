"""Times our kernels and those of other libraries in alternate short slices, and prints the ratios.

For each pair slices go ours, theirs, theirs, ours, …, with the rulers once in each round. Before, every product is
compared with one in f64. `run` builds what is started here; README.md says what rows mean.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from contests import CONTESTS, Contest
from figures import Samples, ratio_of_medians, time_text
from workers import Missing, Worker, Workers, programs

OURS = "ours"
RULERS = {"ruler-fma": "Gflop/s", "ruler-integer": "GMAC/s", "ruler-stream": "GB/s"}


@dataclass
class Entry:
    """A case that is ready to be timed."""

    worker: Worker
    name: str
    weight_bytes: int
    error: float

    def time(self, milliseconds: float) -> list[int]:
        """Time one slice."""
        return [int(word) for word in self.worker.ask(f"time {self.name} {milliseconds}")]


@dataclass
class Pair:
    """Slices of ours and of a peer."""

    ours: Samples = field(default_factory=Samples)
    theirs: Samples = field(default_factory=Samples)


@contextmanager
def guarded(guard: list[str]) -> Iterator[None]:
    """Hold `guard`, a command that runs another while the machine is left alone, as long as the block lasts."""
    if not guard:
        yield
        return
    with subprocess.Popen([*guard, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        if holder.stdin is None or holder.stdout is None:
            raise RuntimeError("the guard has no pipes")
        holder.stdin.write("begin\n")
        holder.stdin.flush()
        holder.stdout.readline()
        try:
            yield
        finally:
            holder.stdin.close()


class Stage:
    """One contest on some threads: prepares, checks, times and reports."""

    def __init__(self, contest: Contest, workers: Workers, folder: Path) -> None:
        self._contest = contest
        self._workers = workers
        self._folder = folder
        self._entries: dict[tuple[str, str], Entry] = {}
        self._reference = self._write_input()

    def _write_input(self) -> np.ndarray:
        contest = self._contest
        generator = np.random.default_rng(20250)
        weights = generator.standard_normal((contest.rows, contest.columns), np.float32) * np.float32(0.02)
        values = generator.standard_normal((contest.tokens, contest.columns), np.float32)
        weights.tofile(self._folder / "weights.f32")
        values.tofile(self._folder / "input.f32")
        # The first tokens are enough to know that the product is the one meant.
        return values[:8].astype(np.float64) @ weights.T.astype(np.float64)

    def prepare(self, worker_name: str, case: str) -> None:
        """Make a case ready, check what it computes, and keep it."""
        contest, worker = self._contest, self._workers.get(worker_name)
        # Rulers are the same in all contests.
        name = case if case in RULERS else f"{contest.name}:{case}"
        size = f"{contest.tokens} {contest.rows} {contest.columns} {contest.copies}"
        [weight_bytes] = worker.ask(f"prepare {name} {case} {size} {self._folder}")
        error = 0.0
        if case not in RULERS:
            path = self._folder / "result.f32"
            worker.ask(f"check {name} {path}")
            result = np.fromfile(path, np.float32).reshape(contest.tokens, contest.rows)[:8]
            error = float(np.linalg.norm(result - self._reference) / np.linalg.norm(self._reference))
            if not error < 0.5:
                raise Missing(f"computes something else: relative error {error:.3g}")
        self._entries[worker_name, case] = Entry(worker, name, int(weight_bytes), error)

    def prepare_all(self) -> list[str]:
        """Make all cases ready and return a line for each that is missing."""
        wanted = [(OURS, ruler) for ruler in RULERS]
        wanted += [(OURS, case) for case in dict.fromkeys(peer[2] for peer in self._contest.peers)]
        wanted += [peer[:2] for peer in self._contest.peers]
        lines = []
        for worker, case in wanted:
            try:
                self.prepare(worker, case)
            except Missing as reason:
                lines.append(f"missing  {worker} {case}: {str(reason)[:160]}")
        return lines

    def time(self, rounds: int, milliseconds: float) -> tuple[dict[int, Pair], dict[str, Samples]]:
        """Time all pairs that are there, by their place in the contest, and the rulers."""
        ready = {
            place: (self._entries[OURS, ours], self._entries[worker, case])
            for place, (worker, case, ours) in enumerate(self._contest.peers)
            if (OURS, ours) in self._entries and (worker, case) in self._entries
        }
        pairs = {place: Pair() for place in ready}
        rulers = {ruler: Samples() for ruler in RULERS if (OURS, ruler) in self._entries}
        for entry in {id(entry): entry for both in ready.values() for entry in both}.values():
            # Some libraries lay out a copy of the weights when it is first used.
            for _ in range(2):
                entry.time(milliseconds)
        for turn in range(rounds):
            for ruler, samples in rulers.items():
                samples.slices.append(self._entries[OURS, ruler].time(1))
            for place, (ours, theirs) in ready.items():
                pair = pairs[place]
                order = [(ours, pair.ours), (theirs, pair.theirs)]
                for entry, samples in order if turn % 2 == 0 else reversed(order):
                    samples.slices.append(entry.time(milliseconds))
        return pairs, rulers

    def report(self, pairs: dict[int, Pair], rulers: dict[str, Samples], threads: int) -> Iterator[str]:
        """Yield the lines of the table."""
        contest = self._contest
        size = f"M={contest.tokens} N={contest.rows} K={contest.columns}"
        place = f"{contest.copies} copies of the weights in turn" if contest.copies > 1 else "one copy of the weights"
        yield f"== {contest.name}: {size}, {threads} thread{'s' if threads > 1 else ''}, {place}"
        stream = None
        for ruler, samples in rulers.items():
            amount = self._entries[OURS, ruler].weight_bytes / 1e9
            best, middle = amount / samples.least, amount / samples.median
            worst = amount / max(samples.medians)
            if ruler == "ruler-stream":
                stream = middle
            yield f"ruler    {ruler[6:]:8} {RULERS[ruler]:8} best {best:7.1f}  median {middle:7.1f}  worst slice {worst:7.1f}"
        yield (
            f"{'peer':12} {'its case':17} {'ours':15} {'ours: min':>11} {'median':>11} {'peer: min':>11} {'median':>11}"
            f"  {'peer / ours':18} {'GMAC/s: ours':>12} {'peer':>7} {'of stream: ours':>15} {'peer':>5}"
            f" {'error: ours':>11} {'peer':>7}"
        )
        for index, pair in pairs.items():
            worker, case, ours = contest.peers[index]
            mine, other = self._entries[OURS, ours], self._entries[worker, case]
            yield self._row(worker, case, ours, pair, mine, other, stream)

    def _row(
        self, worker: str, case: str, ours: str, pair: Pair, mine: Entry, other: Entry, stream: float | None
    ) -> str:
        times = [pair.ours.least, pair.ours.median, pair.theirs.least, pair.theirs.median]
        ratio = ratio_of_medians(pair.ours.medians, pair.theirs.medians)
        products = self._contest.products / 1e9
        fractions = ["", ""]
        if stream and self._contest.copies > 1:
            both = ((mine, pair.ours), (other, pair.theirs))
            fractions = [f"{entry.weight_bytes / 1e9 / samples.median / stream:.2f}" for entry, samples in both]
        return (
            f"{worker:12} {case:17} {ours:15} {' '.join(time_text(seconds) for seconds in times)}"
            f"  {str(ratio):18} {products / times[1]:12.1f} {products / times[3]:7.1f}"
            f" {fractions[0]:>15} {fractions[1]:>5} {mine.error:11.4f} {other.error:7.4f}"
        )


def main() -> None:
    """Run the contests that were asked for."""
    names = [contest.name for contest in CONTESTS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="folder in which `run` built the workers")
    parser.add_argument("--only", nargs="*", default=names, choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--threads", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=16, help="slices of each side of each pair")
    parser.add_argument("--slice-ms", type=float, default=8.0, help="a slice is at least one product")
    parser.add_argument("--guard", default="", help="command that runs another while the machine is left alone")
    options = parser.parse_args()
    contests = [contest for contest in CONTESTS if contest.name in options.only]
    for threads in options.threads:
        workers = Workers(programs(options.cache), threads)
        prepared = []
        for contest in contests:
            with tempfile.TemporaryDirectory() as folder:
                stage = Stage(contest, workers, Path(folder))
                prepared.append((stage, stage.prepare_all()))
        timed = []
        with guarded(shlex.split(options.guard)):
            for stage, missing in prepared:
                began = time.monotonic()
                pairs, rulers = stage.time(options.rounds, options.slice_ms)
                timed.append((stage, missing, pairs, rulers, time.monotonic() - began))
        for stage, missing, pairs, rulers, took in timed:
            for line in [*stage.report(pairs, rulers, threads), *missing]:
                print(line)
            print(f"{options.rounds} rounds in {took:.0f} s\n", flush=True)
        workers.close()


if __name__ == "__main__":
    main()
