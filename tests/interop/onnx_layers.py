"""Each layer of a graph on its own: what ONNX Runtime makes of the inputs that the layer really got.

Rounding is no continuous function: where one input of a deep network is moved by its last bit, a code may flip, and
flips of the first layers become those of all the next. So two programs that follow one rule may still differ by as much
as the rounding itself costs. Held layer by layer, nothing of that remains.
"""

import pathlib

import numpy as np
import onnx
import onnxruntime

from bench import relative_error

PER_LEVEL = np.float32(1 / 127)


class Layer:
    """One linear layer: names of its input, of its output, and how its inputs are rounded."""

    def __init__(self, name: str, nodes: list):
        self.name, self.output = name, nodes[-1].output[0]
        kinds = {node.op_type: node for node in nodes}
        self.block, self.step = 0, None
        if "QuantizeLinear" in kinds:
            self.input, self.step = kinds["QuantizeLinear"].input[:2]
        elif "Abs" in kinds:
            self.input = nodes[0].input[0]
            shape = next((node for node in nodes if node.op_type == "Reshape"), None)
            assert shape is None, f"{name}: blocks of inputs are not known here"
        else:
            product = kinds["MatMulNBits"]
            self.input = product.input[0]
            self.block = next(attribute.i for attribute in product.attribute if attribute.name == "block_size")

    def rounded(self, inputs: np.ndarray, steps: dict[str, np.ndarray]) -> np.ndarray:
        if self.step is not None:
            step = steps[self.step].reshape(())
            return np.clip(np.rint(inputs / step), -128, 127) * step
        width = self.block or inputs.shape[-1]
        blocks = np.pad(inputs, [(0, 0)] * (inputs.ndim - 1) + [(0, -inputs.shape[-1] % width)])
        blocks = blocks.reshape(*inputs.shape[:-1], -1, width)
        scale = np.maximum(np.abs(blocks).max(-1, keepdims=True) * PER_LEVEL, np.float32(1e-30))
        rounded = np.rint(blocks / scale) * scale
        return rounded.reshape(*inputs.shape[:-1], -1)[..., : inputs.shape[-1]]


def layers(model: onnx.ModelProto, names: list[str]) -> list[Layer]:
    """The layers with rounded inputs among `names`."""
    rounding = {"QuantizeLinear", "Abs", "MatMulNBits"}
    found = []
    for name in names:
        nodes = [node for node in model.graph.node if node.name.startswith(f"{name}/")]
        if rounding & {node.op_type for node in nodes}:
            found.append(Layer(name, nodes))
    return found


def worst_layer(folder: pathlib.Path, weights: dict[str, np.ndarray], given: dict[str, np.ndarray]) -> tuple[float, int]:
    """The largest relative difference of a layer's output to that of our rule for its inputs, and the number of layers.

    `weights`: every tensor of the compressed model as values, `[out, in]`.
    """
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    names = [tensor.removesuffix(".weight") for tensor, values in weights.items() if values.ndim == 2]
    asked = layers(model, names)
    watched = sorted({place for layer in asked for place in (layer.input, layer.output)})
    made = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(place) for place in watched if place not in made)
    path = folder / "watched.onnx"
    onnx.save(model, path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    runner = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    values = dict(zip(watched, runner.run(watched, given)))
    path.unlink()
    steps = {layer.step: of_initializer(folder, model, layer.step) for layer in asked if layer.step is not None}
    errors = []
    for layer in asked:
        output = layer.rounded(values[layer.input], steps) @ weights[f"{layer.name}.weight"].T
        output += weights.get(f"{layer.name}.bias", np.float32(0))
        errors.append(relative_error(values[layer.output], output))
    return max(errors), len(errors)


def of_initializer(folder: pathlib.Path, model: onnx.ModelProto, name: str) -> np.ndarray:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    return onnx.numpy_helper.to_array(tensor, str(folder))
