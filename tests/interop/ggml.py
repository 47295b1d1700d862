"""ggml's own block codecs, called through its shared library."""

import ctypes
import pathlib

import numpy as np

# Word: number, values of a block, bytes of a block.
TYPES = {
    "F32": (0, 1, 4),
    "F16": (1, 1, 2),
    "BF16": (30, 1, 2),
    "Q8_0": (8, 32, 34),
    "Q4_0": (2, 32, 18),
    "Q4_1": (3, 32, 20),
    "Q5_0": (6, 32, 22),
    "Q5_1": (7, 32, 24),
    "Q2_K": (10, 256, 84),
    "Q3_K": (11, 256, 110),
    "Q4_K": (12, 256, 144),
    "Q5_K": (13, 256, 176),
    "Q6_K": (14, 256, 210),
    "IQ4_NL": (20, 32, 18),
}


class Ggml:
    def __init__(self, build: pathlib.Path):
        self.library = ctypes.CDLL(str(build / "bin" / "libggml-base.so"))

    def rows(self, values: np.ndarray, word: str) -> tuple[np.ndarray, np.ndarray]:
        """`values` as f32 and room for its blocks."""
        _, block, size = TYPES[word]
        values = np.ascontiguousarray(values, np.float32)
        return values, np.zeros(values.size // block * size, np.uint8)

    def reference(self, word: str, values: np.ndarray) -> np.ndarray:
        """Bytes of `quantize_row_*_ref`."""
        values, output = self.rows(values, word)
        if word == "F32":
            return values.reshape(-1).view(np.uint8)
        function = {"F16": "ggml_fp32_to_fp16_row", "BF16": "ggml_fp32_to_bf16_row_ref"}.get(word)
        name = function or f"quantize_row_{word.lower().replace('_k', '_K')}_ref"
        self.library[name](ctypes.c_void_p(values.ctypes.data), ctypes.c_void_p(output.ctypes.data), ctypes.c_int64(values.size))
        return output

    def weighed(self, word: str, values: np.ndarray, importance: np.ndarray) -> np.ndarray:
        """Bytes of `ggml_quantize_chunk` with an imatrix; `values` is a matrix."""
        values, output = self.rows(values, word)
        importance = np.ascontiguousarray(importance, np.float32)
        chunk = self.library.ggml_quantize_chunk
        chunk.restype = ctypes.c_size_t
        rows, columns = values.shape
        chunk(
            ctypes.c_int(TYPES[word][0]),
            ctypes.c_void_p(values.ctypes.data),
            ctypes.c_void_p(output.ctypes.data),
            ctypes.c_int64(0),
            ctypes.c_int64(rows),
            ctypes.c_int64(columns),
            ctypes.c_void_p(importance.ctypes.data),
        )
        return output

    def decode(self, word: str, data: np.ndarray) -> np.ndarray:
        """Values of `dequantize_row_*`."""
        _, block, size = TYPES[word]
        data = np.ascontiguousarray(data, np.uint8)
        if word == "F32":
            return data.view(np.float32)
        values = np.zeros(data.size // size * block, np.float32)
        function = {"F16": "ggml_fp16_to_fp32_row", "BF16": "ggml_bf16_to_fp32_row"}.get(word)
        name = function or f"dequantize_row_{word.lower().replace('_k', '_K')}"
        self.library[name](ctypes.c_void_p(data.ctypes.data), ctypes.c_void_p(values.ctypes.data), ctypes.c_int64(values.size))
        return values
