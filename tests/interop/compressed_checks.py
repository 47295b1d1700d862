"""Folders of compressed-tensors against that package and `transformers` on the CPU, in both directions."""

import json
import pathlib
import shutil
from collections.abc import Iterator
from unittest import mock

import numpy as np
import torch
from compressed_tensors.compressors.base import BaseCompressor
from compressed_tensors.compressors.model_compressors import ModelCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationConfig, QuantizationScheme, QuantizationStatus
from compressed_tensors.quantization.lifecycle import forward
from compressed_tensors.quantization.lifecycle.apply import apply_quantization_config
from compressed_tensors.quantization.utils import calculate_qparams, calculate_range, is_module_quantized
from compressed_tensors.utils.match import match_name
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, CompressedTensorsConfig

from bench import Bench, relative_error

VOCABULARIES = {"babyllama-361": 361, "stories260K": 512, "gutenberg-5M": 2048}
MARKS = (".weight_packed", ".weight_scale")


def token_ids(vocabulary: int) -> np.ndarray:
    return np.random.default_rng(3).integers(3, vocabulary, (2, 64))


def tensors_of(folder: pathlib.Path) -> dict[str, torch.Tensor]:
    tensors = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors.update(load_file(file))
    return tensors


def scheme_of(config: QuantizationConfig, layer: str) -> QuantizationScheme:
    """The scheme that the package matches a linear layer with: names and regexes before classes."""
    for matches in (lambda target: match_name(layer, target), lambda target: target == "Linear"):
        for scheme in config.config_groups.values():
            if any(matches(target) for target in scheme.targets):
                return scheme
    raise AssertionError(f"{layer} stands in no config group")


def decompressed(folder: pathlib.Path) -> dict[str, torch.Tensor]:
    """Every quantized weight as the package gives it, in f32: its product is taken in the dtype of scales."""
    tensors, found = tensors_of(folder), {}
    said = json.loads((folder / "config.json").read_text())["quantization_config"]
    known = {key: value for key, value in said.items() if key in QuantizationConfig.model_fields}
    config = QuantizationConfig.model_validate(known)
    for name in tensors:
        if not name.endswith(".weight_scale"):
            continue
        layer = name.removesuffix(".weight_scale")
        parts = {key.removeprefix(f"{layer}."): value for key, value in tensors.items() if key.startswith(f"{layer}.")}
        parts["weight_scale"] = parts["weight_scale"].float()
        scheme = scheme_of(config, layer)
        assert not any(match_name(layer, ignored) for ignored in config.ignore), layer
        compressor = BaseCompressor.get_value_from_registry(scheme.format or config.format)
        found[f"{layer}.weight"] = compressor.decompress(parts, scheme)["weight"]
    assert found, f"{folder} holds no quantized layer"
    return found


def compare_weights(bench: Bench, folder: pathlib.Path) -> int:
    ours, theirs = tensors_of(bench.dense_copy(folder)), decompressed(folder)
    for name, expected in theirs.items():
        different = int((ours[name].float() != expected).sum())
        assert different == 0, f"{name}: {different} of {expected.numel()} weights differ"
    return len(theirs)


def loaded(folder: pathlib.Path) -> torch.nn.Module:
    """The folder in transformers. Where packed layers have zeros of their own it makes floats of them while it loads: with
    these versions it expects such zeros in another shape than the package writes, in the package's own folders too."""
    asymmetric = any(name.endswith(".weight_zero_point") for name in tensors_of(folder))
    words = {"quantization_config": CompressedTensorsConfig(dequantize=True)} if asymmetric else {}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, device_map="cpu", **words)
    assert asymmetric or any(is_module_quantized(module) for module in model.modules())
    return model


def steps_of_tokens(value: torch.Tensor, **_: object) -> tuple[torch.Tensor, torch.Tensor]:
    """Steps of inputs that are rounded as they come, as vLLM's kernel takes them: the largest becomes 127, not 127.5."""
    steps = value.abs().amax(-1, keepdim=True).float() / 127
    return steps, torch.zeros_like(steps, dtype=torch.int8)


def even_range(args: QuantizationArgs, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The range of inputs without its lowest integer, which Pare leaves out."""
    low, high = calculate_range(args, device)
    return torch.maximum(low, -high), high


def compare_logits(bench: Bench, folder: pathlib.Path, vocabulary: int) -> str:
    """Inputs rounded by two rules differ by more than 1e-2: the package's own rule is told, Pare's is held to."""
    said = json.loads((folder / "config.json").read_text())["quantization_config"]
    groups = said["config_groups"].values()
    if len(groups) > 1 and not all(group["weights"]["symmetric"] for group in groups):
        return "logits not compared: these versions load zeros of their own under one scheme only"
    ids = token_ids(vocabulary)
    ours, model = bench.logits(folder, ids), loaded(folder)
    error = lambda: relative_error(model(torch.from_numpy(ids)).logits.float().numpy(), ours)
    is_rounded = '"input_activations": {' in (folder / "config.json").read_text()
    with torch.no_grad():
        told = f"relative difference of logits {(found := error()):.1e}"
        if is_rounded:
            assert found <= 5e-2, f"{folder.name}: {told}"
            rule = {"compute_dynamic_scales_and_zp": steps_of_tokens, "calculate_range": even_range}
            with mock.patch.multiple(forward, **rule):
                told += f", with inputs rounded to 127 steps {(found := error()):.1e}"
    assert found <= 1e-2, f"{folder.name}: {told}"
    return told


RECIPES = {
    "4 bits in groups": 'bits = 4\ngroup = 32\n',
    "4 symmetric bits a row": 'bits = 4\ngroup = 0\nsymmetric = true\n',
    "8 bits in groups, f32 scales": 'bits = 8\ngroup = 32\nscale_dtype = "f32"\n',
    "integers, inputs rounded as they come": 'bits = 8\ngroup = 0\nsymmetric = true\nactivations = "dynamic8"\n',
    "integers, inputs of a fixed scale": 'bits = 8\ngroup = 0\nsymmetric = true\nactivations = "static8"\n',
    # With zeros of its own the mixture cannot be loaded: these versions make floats of folders of one format only.
    "a mixture": 'bits = 4\ngroup = 32\nsymmetric = true\n[[layer]]\nmatch = "*.mlp.down_proj"\nbits = 8\ngroup = 0\nsymmetric = true\n'
    'activations = "dynamic8"\n[[layer]]\nmatch = "*.1.mlp.down_proj"\nmethod = "none"\n',
}


def compressed_write(bench: Bench) -> Iterator[str]:
    """What we write: weights equal, logits of transformers within 1e-2."""
    for name, vocabulary in VOCABULARIES.items():
        for number, (word, settings) in enumerate(RECIPES.items()):
            recipe = bench.folder / f"{number}.toml"
            recipe.write_text(f'version = 1\n[default]\nmethod = "rtn"\nclip_search = 0\n{settings}')
            drawn = ["--corpus", bench.text("tinystories_train_1MB.txt"), "--sequences", "64", "--length", "64"]
            words = ["--recipe", recipe, *(drawn if "static8" in settings else [])]
            folder = bench.compress(name, "compressed-tensors", *words, out=f"{name}-{number}")
            layers, error = compare_weights(bench, folder), compare_logits(bench, folder, vocabulary)
            told = sum(layer["fallback"] is not None for layer in bench.report["layers"])
            yield f"{name}, {word}: {layers} layers equal bit for bit, {told} fallbacks, {error}"


def quantized_by_package(bench: Bench, name: str, weights: dict, inputs: dict | None) -> pathlib.Path:
    """A folder that the package compresses and transformers saves: plain rounding between each group's ends."""
    out = bench.folder / f"theirs-{name}"
    shutil.rmtree(out, ignore_errors=True)
    model = AutoModelForCausalLM.from_pretrained(bench.model(name), dtype=torch.float32)
    scheme = QuantizationScheme(
        targets=["Linear"],
        weights=QuantizationArgs(**weights),
        input_activations=QuantizationArgs(**inputs) if inputs else None,
    )
    apply_quantization_config(model, QuantizationConfig(config_groups={"group_0": scheme}, ignore=["lm_head"]))
    for module in filter(is_module_quantized, model.modules()):
        size = weights.get("group_size") or module.weight.shape[1]
        groups = module.weight.detach().unflatten(1, (-1, size))
        scales, zeros = calculate_qparams(groups.amin(2), groups.amax(2), scheme.weights)
        module.weight_scale.data = scales
        if hasattr(module, "weight_zero_point"):
            module.weight_zero_point.data = zeros.to(module.weight_zero_point.dtype)
        if hasattr(module, "input_scale"):
            module.input_scale.data = torch.full_like(module.input_scale.data, 0.05)
        module.quantization_status = QuantizationStatus.FROZEN
    compressor = ModelCompressor.from_pretrained_model(model)
    compressor.compress_model(model)
    model.save_pretrained(out)
    compressor.update_config(out)
    shutil.copy(bench.model(name) / "tokenizer.json", out)
    return out


def compressed_read(bench: Bench) -> Iterator[str]:
    """What the package writes: the same weights and logits."""
    integers = {"num_bits": 8, "strategy": "channel", "symmetric": True}
    cases = {
        "4 bits in groups": ({"num_bits": 4, "strategy": "group", "group_size": 32, "symmetric": False}, None),
        "8 symmetric bits a row": ({"num_bits": 8, "strategy": "channel", "symmetric": True}, None),
        "3 bits in groups": ({"num_bits": 3, "strategy": "group", "group_size": 32, "symmetric": False}, None),
        "integers, dynamic": (integers, {"num_bits": 8, "strategy": "token", "dynamic": True}),
        "integers, static": (integers, {"num_bits": 8, "strategy": "tensor", "dynamic": False}),
    }
    for name in ("babyllama-361", "gutenberg-5M"):
        for word, (weights, inputs) in cases.items():
            folder = quantized_by_package(bench, name, weights, inputs)
            inspected = bench.pare("inspect", folder)
            layers, error = compare_weights(bench, folder), compare_logits(bench, folder, VOCABULARIES[name])
            expected = bench.pare("inspect", bench.model(name))["parameters"]
            assert inspected["parameters"] == expected, f"{inspected['parameters']} parameters instead of {expected}"
            yield f"{name}, {word}: {layers} layers equal bit for bit, {error}"


CHECKS = {check.__name__: check for check in (compressed_write, compressed_read)}
