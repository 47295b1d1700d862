"""Runs the checks and tells what each found: one line for each, and an exit status.

python check.py --build BUILD --pare PARE --blocks BLOCKS [NAME …]
"""

import argparse
import pathlib
import sys
import tempfile
import time
import traceback

import gguf_checks
from bench import Bench


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--pare", type=pathlib.Path, required=True)
    parser.add_argument("--blocks", type=pathlib.Path, required=True)
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args()
    checks = {**gguf_checks.CHECKS}
    unknown = set(asked.names) - set(checks)
    if unknown:
        parser.error(f"there is no check {', '.join(sorted(unknown))}; these are: {', '.join(checks)}")
    failed = 0
    for name in asked.names or checks:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(asked.build, asked.pare.resolve(), asked.blocks.resolve(), pathlib.Path(folder))
            started = time.monotonic()
            try:
                for line in checks[name](bench):
                    print(f"  {line}")
                word = "ok"
            except Exception:
                traceback.print_exc()
                failed += 1
                word = "FAILED"
            print(f"{name}: {word} in {time.monotonic() - started:.1f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
