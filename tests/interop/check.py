"""Runs the checks of one suite and tells what each found: one line for each, and an exit status.

python check.py --suite gguf --build BUILD --pare PARE --blocks BLOCKS [NAME …]

A suite is `<suite>_checks.py`; it is run by the environment that has its packages. A name is that of a check or of the
suite. The exit status is 3 where names are given and none of them is this suite's.
"""

import argparse
import importlib
import pathlib
import sys
import tempfile
import time
import traceback

from bench import Bench

NOT_HERE = 3


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--suite", required=True)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--pare", type=pathlib.Path, required=True)
    parser.add_argument("--blocks", type=pathlib.Path, required=True)
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args()
    checks = importlib.import_module(f"{asked.suite}_checks").CHECKS
    everything = not asked.names or asked.suite in asked.names
    chosen = [name for name in checks if everything or name in asked.names]
    if not chosen:
        return NOT_HERE
    failed = 0
    for name in chosen:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(asked.build, asked.pare.resolve(), asked.blocks.resolve(), pathlib.Path(folder))
            started = time.monotonic()
            try:
                for line in checks[name](bench):
                    print(f"  {line}", flush=True)
                word = "ok"
            except Exception:
                traceback.print_exc()
                failed += 1
                word = "FAILED"
            print(f"{name}: {word} in {time.monotonic() - started:.1f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
