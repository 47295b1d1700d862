"""Runs checks of one suite and tells what each found: one line for each, and an exit status.

python check.py --suite gguf --build BUILD --pare PARE --blocks BLOCKS [--seconds N] [--tally FILE] NAME …

A suite is `<suite>_checks.py`; it is run by the environment that has its packages, and `names.py` knows its checks.
No check begins after N seconds. The tally gets a line for each check: ok, failed or skipped, and its name. The exit
status is 1 where a check failed, 4 where the suite's packages cannot be imported.
"""

import argparse
import importlib
import os
import pathlib
import sys
import tempfile
import time
import traceback

NOT_IMPORTED = 4


def outcome(check, asked: argparse.Namespace) -> str:
    """Runs one check and prints what it found: ok, failed or skipped."""
    from bench import Bench, Missing

    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(asked.build, asked.pare.resolve(), asked.blocks.resolve(), pathlib.Path(folder))
        try:
            for line in check(bench):
                print(f"  {line}", flush=True)
        except Missing as reason:
            print(f"  {reason}")
            return "skipped"
        except Exception:
            traceback.print_exc(file=sys.stdout)
            return "failed"
    return "ok"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--suite", required=True)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--pare", type=pathlib.Path, required=True)
    parser.add_argument("--blocks", type=pathlib.Path, required=True)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--tally", type=pathlib.Path)
    parser.add_argument("names", nargs="+")
    asked = parser.parse_args()
    began = time.monotonic()
    # The packages' bars would hide what is found.
    os.environ.setdefault("TQDM_DISABLE", "1")
    try:
        checks = importlib.import_module(f"{asked.suite}_checks").CHECKS
    except ImportError as reason:
        print(f"{asked.suite}: its packages cannot be imported: {reason}", file=sys.stderr)
        return NOT_IMPORTED
    words = []
    for name in asked.names:
        started = time.monotonic()
        late = started - began > asked.seconds
        words.append("skipped" if late else outcome(checks[name], asked))
        took = "no time is left" if late else f"in {time.monotonic() - started:.1f} s"
        print(f"{name}: {words[-1].replace('failed', 'FAILED')}, {took}", flush=True)
        if asked.tally:
            with asked.tally.open("a") as tally:
                print(words[-1], name, file=tally)
    return 1 if "failed" in words else 0


if __name__ == "__main__":
    sys.exit(main())
