"""What is timed against what. Names of cases are those of the workers; README.md says what each does."""

from __future__ import annotations

from dataclasses import dataclass

Peer = tuple[str, str, str]
"""Worker, its case, and the case of ours that does the same work."""

CACHE_BYTES = 128 << 20
"""Weights that are used in turn are this large together: four times the largest cache that is expected."""


@dataclass(frozen=True)
class Contest:
    """Products of one size, timed in the same minutes."""

    name: str
    tokens: int
    rows: int
    columns: int
    bits: float
    """Bits of a weight, to know how many copies are out of reach of the caches; 0 = one copy, resident."""
    peers: tuple[Peer, ...]

    @property
    def products(self) -> int:
        """Multiply-adds of one product."""
        return self.tokens * self.rows * self.columns

    @property
    def copies(self) -> int:
        """Copies of the weights."""
        size = self.rows * self.columns * self.bits / 8
        return max(1, -(-CACHE_BYTES // int(size))) if size else 1


FLOAT: tuple[Peer, ...] = (
    ("gemm", "f32", "f32"),
    ("openblas", "f32", "f32"),
    ("torch", "f32", "f32"),
    ("onnxruntime", "f32", "f32"),
    ("rten", "f32", "f32"),
)

BYTES: tuple[Peer, ...] = (
    ("onnxruntime", "u8s8", "w8"),
    ("onnxruntime", "u8u8", "w8"),
    ("onnxruntime", "qlinear", "w8"),
    ("torch", "int_mm", "w8"),
    ("torch", "linear+onednn", "w8"),
    ("torch", "linear+fbgemm", "w8"),
    ("rten", "u8s8", "w8"),
)

DYNAMIC: tuple[Peer, ...] = (
    ("onnxruntime", "dynamic", "w8+dynamic"),
    ("torch", "dynamic+onednn", "w8+dynamic"),
    ("torch", "dynamic+fbgemm", "w8+dynamic"),
    ("ggml", "q8_0", "w8g32+dynamic"),
    ("candle", "q8_0", "w8g32+dynamic"),
)

FOUR_BITS: tuple[Peer, ...] = (
    ("onnxruntime", "w4g32+accuracy4", "w4g32+dynamic"),
    ("onnxruntime", "w4g128+accuracy4", "w4g128+dynamic"),
    ("onnxruntime", "w4g32+accuracy0", "w4g32+f32"),
    ("torch", "w4g32+bf16", "w4g32+f32"),
    ("ggml", "q4_0+repack", "w4g32+dynamic"),
    ("ggml", "q4_0", "w4g32+dynamic"),
    ("ggml", "q4_k+repack", "w4g32a+dynamic"),
    ("ggml", "q4_k", "w4g32a+dynamic"),
    ("ggml-untiled", "q4_k", "w4g32a+dynamic"),
    ("candle", "q4_k", "w4g32a+dynamic"),
)

ONE_TOKEN: tuple[Peer, ...] = (
    *FOUR_BITS,
    ("candle", "q4_0", "w4g32+dynamic"),
    ("rten", "w4g32", "w4g32+dynamic"),
)
"""With those that take a second for many tokens, because they go row by row."""


def _square(edge: int, kind: str, peers: tuple[Peer, ...]) -> Contest:
    return Contest(f"{kind}-{edge}", edge, edge, edge, 0, peers)


EDGE = 4096

CONTESTS: tuple[Contest, ...] = (
    _square(512, "f32", FLOAT),
    _square(1024, "f32", FLOAT),
    _square(512, "int8", BYTES),
    _square(1024, "int8", BYTES),
    Contest("int8-prefill", 512, EDGE, EDGE, 0, BYTES + DYNAMIC),
    Contest("int8-decode-memory", 1, EDGE, EDGE, 8, (*DYNAMIC, ("rten", "u8s8", "w8"))),
    Contest("int4-prefill", 512, EDGE, EDGE, 0, FOUR_BITS),
    Contest("int4-decode-memory", 1, EDGE, EDGE, 4, ONE_TOKEN),
    Contest("int4-decode-resident", 1, EDGE, EDGE, 0, ONE_TOKEN),
)
