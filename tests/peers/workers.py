"""Worker processes: one for each library, that hold prepared products and time them on command.

A worker reads commands from standard input, one in a line, and answers each with one line:

    prepare ID CASE TOKENS ROWS COLUMNS COPIES FOLDER   ready BYTES   (weights.f32 and input.f32 lie in the folder)
    check ID PATH                                       ready         (the product was written as f32)
    time ID MILLISECONDS                                timed NANOSECONDS NANOSECONDS …   (one for each product)
    drop ID                                             ready

Anything else, `missing REASON` by custom, says why there is no answer. Workers that are not asked are stopped by a
signal: pools that spin after a product would otherwise take the processor from whoever is timed next.
"""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path


class Missing(Exception):
    """Why a worker, a case or an answer is not there."""


@dataclass(frozen=True)
class Program:
    """How a worker is started."""

    command: tuple[str, ...]
    """`{threads}` is replaced."""
    environment: dict[str, str] = field(default_factory=dict)


class Worker:
    """A running worker; stopped except while it answers."""

    def __init__(self, name: str, program: Program, threads: int) -> None:
        counts = ("OMP", "MKL", "OPENBLAS", "RAYON", "CANDLE")
        environment = {**os.environ, **{f"{name}_NUM_THREADS": str(threads) for name in counts}, **program.environment}
        command = [word.format(threads=threads) for word in program.command]
        if not Path(command[0]).exists():
            raise Missing(f"{command[0]} is not built or installed")
        self.name = name
        log = open(os.environ.get("PARE_PEERS_LOG", os.devnull), "ab")  # noqa: SIM115 - the child keeps it
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
        log.close()
        if threads == 1 and hasattr(os, "sched_setaffinity"):
            # One place for all that are timed on one thread: the last, which interrupts use least.
            os.sched_setaffinity(self._process.pid, {max(os.sched_getaffinity(0))})
        self._pause()

    def ask(self, command: str) -> list[str]:
        """Return the words of the answer after the first."""
        if self._process.poll() is not None or self._process.stdin is None or self._process.stdout is None:
            raise Missing(f"{self.name} ended with code {self._process.returncode}")
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        self._pause()
        if not line:
            self._process.wait()
            raise Missing(f"{self.name} ended with code {self._process.returncode}")
        verb, *words = line.split()
        if verb not in ("ready", "timed"):
            raise Missing(" ".join(words) or verb)
        return words

    def _pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


class Workers:
    """Workers by name, started when they are first asked for."""

    def __init__(self, programs: dict[str, Program], threads: int) -> None:
        self._programs = programs
        self._threads = threads
        self._running: dict[str, Worker] = {}

    def get(self, name: str) -> Worker:
        """Return the running worker of this name."""
        if name not in self._running:
            if name not in self._programs:
                raise Missing(f"no worker {name}")
            self._running[name] = Worker(name, self._programs[name], self._threads)
        return self._running[name]

    def close(self) -> None:
        """End all."""
        for worker in self._running.values():
            worker.close()
        self._running.clear()


def programs(cache: Path) -> dict[str, Program]:
    """Return the workers that `run` builds under `cache`."""
    here = Path(__file__).parent
    python = str(cache / "venv/bin/python")
    crates = str(cache / "target/debug/crates")
    ggml = (str(cache / "ggml-build/ggml_worker"), "{threads}")
    return {
        "ours": Program((str(cache / "target/debug/ours"), "{threads}")),
        "onnxruntime": Program((python, str(here / "onnx_worker.py"), "{threads}")),
        "torch": Program((python, str(here / "torch_worker.py"), "{threads}")),
        "openblas": Program((python, str(here / "numpy_worker.py"), "{threads}")),
        "ggml": Program(ggml),
        "ggml-untiled": Program(ggml, {"GGML_CPU_TILED_MM": "0"}),
        "candle": Program((crates, "{threads}", "candle")),
        "rten": Program((crates, "{threads}", "rten")),
        "gemm": Program((crates, "{threads}", "gemm")),
    }
