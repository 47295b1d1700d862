"""Folders of compressed-tensors against that package and `transformers` on the CPU, in both directions."""

import json
import pathlib
import shutil
from collections.abc import Iterator

import numpy as np
import torch
from compressed_tensors.compressors.base import BaseCompressor
from compressed_tensors.compressors.model_compressors import ModelCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationConfig, QuantizationScheme, QuantizationStatus
from compressed_tensors.quantization.lifecycle.apply import apply_quantization_config
from compressed_tensors.quantization.utils import calculate_qparams, is_module_quantized
from compressed_tensors.utils.match import match_name
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

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


def compare_logits(bench: Bench, folder: pathlib.Path, vocabulary: int) -> float:
    ids = token_ids(vocabulary)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, device_map="cpu")
    assert any(is_module_quantized(module) for module in model.modules())
    with torch.no_grad():
        theirs = model(torch.from_numpy(ids)).logits.float().numpy()
    error = relative_error(theirs, bench.logits(folder, ids))
    assert error <= 1e-2, f"{folder.name}: relative difference of logits {error:.2e}"
    return error


RECIPES = {
    "4 bits in groups": 'bits = 4\ngroup = 32\n',
    "4 symmetric bits a row": 'bits = 4\ngroup = 0\nsymmetric = true\n',
    "8 bits in groups, f32 scales": 'bits = 8\ngroup = 32\nscale_dtype = "f32"\n',
    "integers, inputs rounded as they come": 'bits = 8\ngroup = 0\nsymmetric = true\nactivations = "dynamic8"\n',
    "integers, inputs of a fixed scale": 'bits = 8\ngroup = 0\nsymmetric = true\nactivations = "static8"\n',
    "a mixture": 'bits = 4\ngroup = 32\n[[layer]]\nmatch = "*.mlp.down_proj"\nbits = 8\ngroup = 0\nsymmetric = true\n'
    'activations = "dynamic8"\n[[layer]]\nmatch = "*.1.mlp.down_proj"\nmethod = "none"\n',
}


def compressed_write(bench: Bench) -> Iterator[str]:
    """What we write: weights equal, logits of transformers within 1e-2."""
    for name, vocabulary in VOCABULARIES.items():
        for number, (word, settings) in enumerate(RECIPES.items()):
            recipe = bench.folder / f"{number}.toml"
            recipe.write_text(f'version = 1\n[default]\nmethod = "rtn"\nclip_search = 0\n{settings}')
            drawn = ["--corpus", bench.text("tinystories_train_1MB.txt"), "--sequences", "8", "--length", "64"]
            words = ["--recipe", recipe, *(drawn if "static8" in settings else [])]
            folder = bench.compress(name, "compressed-tensors", *words, out=f"{name}-{number}")
            layers, error = compare_weights(bench, folder), compare_logits(bench, folder, vocabulary)
            told = sum(layer["fallback"] is not None for layer in bench.report["layers"])
            yield f"{name}, {word}: {layers} layers equal bit for bit, {told} fallbacks, relative difference of logits {error:.1e}"


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
            assert inspected["parameters"] == bench.pare("inspect", bench.model(name))["parameters"]
            yield f"{name}, {word}: {layers} layers equal bit for bit, relative difference of logits {error:.1e}"


CHECKS = {check.__name__: check for check in (compressed_write, compressed_read)}
