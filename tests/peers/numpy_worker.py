"""Times numpy's f32 product, which is OpenBLAS in the wheels of PyPI. `numpy_worker.py THREADS`."""

from __future__ import annotations

import numpy as np

from serve import Case, Floats, Request, serve


class Product:
    """f32 by f32, with the weights transposed as layers hold them."""

    products_per_run = 1

    def __init__(self, request: Request) -> None:
        weights = request.weights()
        self._weights = [weights.copy().T for _ in range(request.copies)]
        self._input = request.input()
        self._output = np.empty((request.tokens, request.rows), np.float32)
        self._next = 0
        self.weight_bytes = weights.nbytes

    def run(self) -> None:
        """Multiply with the next copy."""
        np.matmul(self._input, self._weights[self._next], out=self._output)
        self._next = (self._next + 1) % len(self._weights)

    def result(self) -> Floats:
        """Return a product."""
        self.run()
        return self._output


def prepare(request: Request) -> Case:
    """Return the one case that numpy has."""
    if request.name != "f32":
        raise ValueError(f"no case {request.name}")
    return Product(request)


if __name__ == "__main__":
    serve(prepare)
