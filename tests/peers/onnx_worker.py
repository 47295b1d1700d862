"""Times products of ONNX Runtime's CPU provider (MLAS). `onnx_worker.py THREADS`.

A case is a graph with one product node for each copy of the weights, so that the cost of a call is shared by them.
Copies differ, rows turned by one each: nodes with equal constants would be merged into one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from serve import Case, Floats, Request, round_symmetric, serve, threads

MICROSOFT = "com.microsoft"


class Graph:
    """Nodes and constants of a case, one product after another."""

    def __init__(self, input_type: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.outputs: list[str] = []
        self.input_type = input_type
        self.output_type = TensorProto.FLOAT

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        """Add a constant and return its name."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, kind: str, inputs: list[str], outputs: list[str], **attributes: object) -> None:
        """Add a node."""
        self.nodes.append(helper.make_node(kind, inputs, outputs, **attributes))

    def session(self, request: Request) -> ort.InferenceSession:
        """Return a session that runs the graph."""
        values = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            request.name,
            [values("input", self.input_type, [request.tokens, request.columns])],
            [values(name, self.output_type, [request.tokens, request.rows]) for name in self.outputs],
            self.constants,
        )
        sets = [helper.make_opsetid("", 21), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=sets, ir_version=10)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        return ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


class Product:
    """A session with its input and outputs bound."""

    def __init__(
        self,
        request: Request,
        graph: Graph,
        values: NDArray[np.generic],
        weight_bytes: int,
        finish: Callable[[NDArray[np.generic]], Floats],
    ) -> None:
        self._session = graph.session(request)
        self._binding = self._session.io_binding()
        self._binding.bind_cpu_input("input", values)
        types = {TensorProto.FLOAT: np.float32, TensorProto.INT32: np.int32, TensorProto.UINT8: np.uint8}
        shape = (request.tokens, request.rows)
        self._outputs = []
        for name in graph.outputs:
            output = ort.OrtValue.ortvalue_from_shape_and_type(shape, types[graph.output_type], "cpu")
            self._binding.bind_ortvalue_output(name, output)
            self._outputs.append(output)
        self._finish = finish
        self.weight_bytes = weight_bytes
        self.products_per_run = request.copies

    def run(self) -> None:
        """Multiply with every copy."""
        self._session.run_with_iobinding(self._binding)

    def result(self) -> Floats:
        """Return the product with the first copy, as f32."""
        self.run()
        return self._finish(self._outputs[0].numpy())


def _turned(weights: NDArray[np.generic], copy: int) -> NDArray[np.generic]:
    return np.roll(weights, copy, axis=0)


def _same(values: NDArray[np.generic]) -> Floats:
    return values.astype(np.float32)


def float_product(request: Request) -> Case:
    """f32 by f32."""
    graph, weights = Graph(TensorProto.FLOAT), request.weights()
    for copy in range(request.copies):
        graph.node("MatMul", ["input", graph.constant(f"w{copy}", _turned(weights, copy).T)], [f"y{copy}"])
        graph.outputs.append(f"y{copy}")
    return Product(request, graph, request.input(), weights.nbytes, _same)


def integer_product(request: Request, signed: bool) -> Case:
    """Unsigned bytes by bytes into integers: the bare product."""
    graph = Graph(TensorProto.UINT8)
    graph.output_type = TensorProto.INT32
    codes, scales = round_symmetric(request.weights(), request.columns, 8)
    values, steps = round_symmetric(request.input(), request.columns, 8)
    weights = codes if signed else (codes.astype(np.int16) + 128).astype(np.uint8)
    zero = np.array(0, np.int8) if signed else np.array(128, np.uint8)
    graph.constant("input_zero", np.array(128, np.uint8))
    graph.constant("weight_zero", zero)
    for copy in range(request.copies):
        name = graph.constant(f"w{copy}", _turned(weights, copy).T)
        graph.node("MatMulInteger", ["input", name, "input_zero", "weight_zero"], [f"y{copy}"])
        graph.outputs.append(f"y{copy}")
    unsigned = (values.astype(np.int16) + 128).astype(np.uint8)
    return Product(request, graph, unsigned, codes.nbytes, lambda sums: sums * scales.T * steps)


def static_product(request: Request) -> Case:
    """Unsigned bytes by signed bytes into unsigned bytes, with fixed scales."""
    graph = Graph(TensorProto.UINT8)
    graph.output_type = TensorProto.UINT8
    codes, scales = round_symmetric(request.weights(), request.columns, 8)
    values = request.input()
    step = np.float32(np.abs(values).max() / 127)
    # Four standard deviations of what comes out lie in the range.
    out_step = np.float32((values[:4] @ request.weights().T).std() / 32)
    middle = graph.constant("middle", np.array(128, np.uint8))
    weight_scale = graph.constant("weight_scale", scales[:, 0])
    weight_zero = graph.constant("weight_zero", np.zeros(request.rows, np.int8))
    input_scale = graph.constant("input_scale", np.array(step))
    output_scale = graph.constant("output_scale", np.array(out_step))
    for copy in range(request.copies):
        weights = graph.constant(f"w{copy}", _turned(codes, copy).T)
        inputs = ["input", input_scale, middle, weights, weight_scale, weight_zero, output_scale, middle]
        graph.node("QLinearMatMul", inputs, [f"y{copy}"])
        graph.outputs.append(f"y{copy}")
    unsigned = (np.rint(values / step) + 128).astype(np.uint8)
    return Product(request, graph, unsigned, codes.nbytes, lambda out: (out.astype(np.float32) - 128) * out_step)


def dynamic_product(request: Request) -> Case:
    """f32 to f32: one scale for the whole input, found in the graph, then the bare product and its scales."""
    graph = Graph(TensorProto.FLOAT)
    codes, scales = round_symmetric(request.weights(), request.columns, 8)
    weight_scale = graph.constant("weight_scale", scales[:, 0])
    graph.constant("weight_zero", np.array(0, np.int8))
    for copy in range(request.copies):
        weights = graph.constant(f"w{copy}", _turned(codes, copy).T)
        graph.node("DynamicQuantizeLinear", ["input"], [f"q{copy}", f"s{copy}", f"z{copy}"])
        graph.node("MatMulInteger", [f"q{copy}", weights, f"z{copy}", "weight_zero"], [f"i{copy}"])
        graph.node("Cast", [f"i{copy}"], [f"f{copy}"], to=TensorProto.FLOAT)
        graph.node("Mul", [f"s{copy}", weight_scale], [f"m{copy}"])
        graph.node("Mul", [f"f{copy}", f"m{copy}"], [f"y{copy}"])
        graph.outputs.append(f"y{copy}")
    return Product(request, graph, request.input(), codes.nbytes, _same)


def four_bits(request: Request, block: int, accuracy: int) -> Case:
    """MatMulNBits of four bits around the middle code. Never with zeros: those are wrong on AVX2 at one token."""
    graph = Graph(TensorProto.FLOAT)
    codes, scales = round_symmetric(request.weights(), block, 4)
    unsigned = (codes + 8).astype(np.uint8).reshape(request.rows, -1, block)
    packed = unsigned[:, :, 0::2] | unsigned[:, :, 1::2] << 4
    attributes = {"K": request.columns, "N": request.rows, "bits": 4, "block_size": block}
    for copy in range(request.copies):
        weights = graph.constant(f"w{copy}", _turned(packed, copy))
        inputs = ["input", weights, graph.constant(f"s{copy}", _turned(scales, copy).reshape(-1))]
        graph.node("MatMulNBits", inputs, [f"y{copy}"], domain=MICROSOFT, accuracy_level=accuracy, **attributes)
        graph.outputs.append(f"y{copy}")
    return Product(request, graph, request.input(), packed.nbytes + scales.nbytes, _same)


CASES: dict[str, Callable[[Request], Case]] = {
    "f32": float_product,
    "u8s8": lambda request: integer_product(request, signed=True),
    "u8u8": lambda request: integer_product(request, signed=False),
    "qlinear": static_product,
    "dynamic": dynamic_product,
    "w4g32+accuracy4": lambda request: four_bits(request, 32, 4),
    "w4g128+accuracy4": lambda request: four_bits(request, 128, 4),
    "w4g32+accuracy0": lambda request: four_bits(request, 32, 0),
    "w4g128+accuracy0": lambda request: four_bits(request, 128, 0),
}


if __name__ == "__main__":
    serve(lambda request: CASES[request.name](request))
