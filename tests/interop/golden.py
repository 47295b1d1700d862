"""Prints ggml's bytes for one block row of fixed numbers: the text of engine/src/ggml/tests/golden.txt.

python golden.py BUILD
"""

import pathlib
import sys

import numpy as np

from ggml import TYPES, Ggml


def numbers(count: int, seed: int) -> np.ndarray:
    """Sums of four draws of a 32-bit linear congruence, -2 to 2 exactly; the test in Rust makes the same."""
    values = np.zeros(count, np.float32)
    state = seed
    for index in range(count):
        total = 0
        for _ in range(4):
            state = (state * 1664525 + 1013904223) % 2**32
            total += (state >> 16) - 32768
        values[index] = np.float32(total) / np.float32(65536)
    return values


def main() -> None:
    ggml = Ggml(pathlib.Path(sys.argv[1]))
    values = numbers(512, 1)
    values[96:128] = 0
    importance = np.abs(numbers(512, 2)) + np.float32(0.0625)
    for word in TYPES:
        print(word, "plain", ggml.reference(word, values[:256]).tobytes().hex())
        if word not in ("F32", "F16", "BF16", "Q8_0"):
            print(word, "weighed", ggml.weighed(word, values.reshape(1, -1), importance).tobytes().hex())


if __name__ == "__main__":
    main()
