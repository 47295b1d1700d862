"""Times products of torch on the CPU. `torch_worker.py THREADS`.

Left out because torch has only slow reference code for them on x86: four bits with f32 activations, four bits with
activations that are quantized at each call, and oneDNN's quantized linear with bytes out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from serve import Case, Floats, Request, round_symmetric, serve, threads


class Product:
    """Calls `multiply` with one copy of the weights after another."""

    products_per_run = 1

    def __init__(
        self,
        copies: list[object],
        weight_bytes: int,
        multiply: Callable[[object], torch.Tensor],
        finish: Callable[[torch.Tensor], torch.Tensor] = lambda output: output,
    ) -> None:
        self._copies = copies
        self._multiply = multiply
        self._finish = finish
        self._next = 0
        self.weight_bytes = weight_bytes

    def run(self) -> None:
        """Multiply with the next copy."""
        self._multiply(self._copies[self._next])
        self._next = (self._next + 1) % len(self._copies)

    def result(self) -> Floats:
        """Return the product with the first copy, as f32."""
        return self._finish(self._multiply(self._copies[0])).float().numpy()


def float_product(request: Request) -> Case:
    """f32 by f32, as a linear layer."""
    weights = torch.from_numpy(request.weights())
    values = torch.from_numpy(request.input())
    copies = [weights.clone() for _ in range(request.copies)]
    linear = torch.nn.functional.linear
    return Product(copies, weights.nbytes, lambda copy: linear(values, copy))


def integer_product(request: Request) -> Case:
    """Signed bytes by signed bytes into integers: the bare product."""
    codes, scales = round_symmetric(request.weights(), request.columns, 8)
    values, steps = round_symmetric(request.input(), request.columns, 8)
    left = torch.from_numpy(values)
    copies = [torch.from_numpy(codes.copy()).t() for _ in range(request.copies)]
    factors = torch.from_numpy(steps * scales.T)
    return Product(copies, codes.nbytes, lambda copy: torch._int_mm(left, copy), lambda sums: sums * factors)


def _prepacked(request: Request, engine: str) -> tuple[list[object], int]:
    torch.backends.quantized.engine = engine
    codes, scales = round_symmetric(request.weights(), request.columns, 8)
    channels = torch.from_numpy(scales[:, 0].astype(np.float64))
    zeros = torch.zeros(request.rows, dtype=torch.int64)
    weights = torch._make_per_channel_quantized_tensor(torch.from_numpy(codes), channels, zeros, 0)
    pack = torch.ops.quantized.linear_prepack
    return [pack(weights, None) for _ in range(request.copies)], codes.nbytes


def static_product(request: Request) -> Case:
    """fbgemm's quantized linear: unsigned bytes in and out, with fixed scales."""
    copies, size = _prepacked(request, "fbgemm")
    values = torch.from_numpy(request.input())
    step = float(values.abs().max() / 127)
    out_step = float((values[:4] @ torch.from_numpy(request.weights()).t()).std() / 32)
    quantized = torch.quantize_per_tensor(values, step, 128, torch.quint8)

    def multiply(copy: object) -> torch.Tensor:
        return torch.ops.quantized.linear(quantized, copy, out_step, 128)

    return Product(copies, size, multiply, torch.dequantize)


def onednn_product(request: Request) -> Case:
    """oneDNN's linear as exported models call it: unsigned bytes with a fixed scale in, f32 out."""
    codes, scales = round_symmetric(request.weights(), request.columns, 8)
    values = torch.from_numpy(request.input())
    step = float(values.abs().max() / 127)
    quantized = (torch.round(values / step) + 128).to(torch.uint8)
    channels, zeros = torch.from_numpy(scales[:, 0].copy()), torch.zeros(request.rows, dtype=torch.int64)
    pack = torch.ops.onednn.qlinear_prepack
    copies = [pack(torch.from_numpy(codes), list(quantized.shape)) for _ in range(request.copies)]
    linear = torch.ops.onednn.qlinear_pointwise

    def multiply(copy: object) -> torch.Tensor:
        weights = (copy, channels, zeros, None)
        return linear(quantized, step, 128, *weights, 1.0, 0, torch.float32, "none", [], "")

    return Product(copies, codes.nbytes, multiply)


def dynamic_product(request: Request, engine: str) -> Case:
    """Quantized linear, f32 in and out: one scale for the whole input, found at each call."""
    copies, size = _prepacked(request, engine)
    values = torch.from_numpy(request.input())
    return Product(copies, size, lambda copy: torch.ops.quantized.linear_dynamic(values, copy, False))


def four_bits(request: Request, group: int) -> Case:
    """Weight-only four bits with bf16 activations: the one form that has a fast kernel on x86."""
    kind = torch.bfloat16
    codes, scales = round_symmetric(request.weights(), group, 4)
    unsigned = torch.from_numpy((codes + 8).astype(np.int32))
    values = torch.from_numpy(request.input()).to(kind)
    # Weight = (code - 8) * scale + zero.
    pairs = torch.stack([torch.from_numpy(scales.T.copy()), torch.zeros(scales.T.shape)], dim=-1)
    pairs = pairs.contiguous().to(kind)
    pack = torch._convert_weight_to_int4pack_for_cpu
    copies = [(pack(unsigned, 1), pairs.clone()) for _ in range(request.copies)]
    size = codes.nbytes // 2 + pairs.nbytes

    def multiply(copy: object) -> torch.Tensor:
        packed, scales_and_zeros = copy
        return torch._weight_int4pack_mm_for_cpu(values, packed, group, scales_and_zeros)

    return Product(copies, size, multiply)


CASES: dict[str, Callable[[Request], Case]] = {
    "f32": float_product,
    "int_mm": integer_product,
    "linear+fbgemm": lambda request: static_product(request),
    "linear+onednn": onednn_product,
    "dynamic+fbgemm": lambda request: dynamic_product(request, "fbgemm"),
    "dynamic+onednn": lambda request: dynamic_product(request, "onednn"),
    "w4g32+bf16": lambda request: four_bits(request, 32),
    "w4g128+bf16": lambda request: four_bits(request, 128),
}


if __name__ == "__main__":
    torch.set_num_threads(threads())
    torch.set_grad_enabled(False)
    serve(lambda request: CASES[request.name](request))
