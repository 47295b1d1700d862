"""Folders of compressed-tensors against that package and `transformers` on the CPU, in both directions."""

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
from transformers import AutoModelForCausalLM, CompressedTensorsConfig

from bench import Bench, relative_error
from folders import BOUND, VOCABULARIES, compare_weights, quantization_of, tensors_of, token_ids

NETWORKS = {**VOCABULARIES, "stories260K": 512}


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
    said = quantization_of(folder)
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
    return found


def loaded(folder: pathlib.Path) -> torch.nn.Module:
    """The folder in transformers. Where packed layers have zeros of their own it makes floats of them while it loads: with
    these versions it expects such zeros in another shape than the package writes, in the package's own folders too."""
    asymmetric = any(name.endswith(".weight_zero_point") for name in tensors_of(folder))
    words = {"quantization_config": CompressedTensorsConfig(dequantize=True)} if asymmetric else {}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, device_map="cpu", **words)
    assert asymmetric or any(is_module_quantized(module) for module in model.modules())
    return model


def steps_of_tokens(value: torch.Tensor, **_: object) -> tuple[torch.Tensor, torch.Tensor]:
    """The step of each token by vLLM's rule."""
    steps = value.abs().amax(-1, keepdim=True).float() / 127
    return steps, torch.zeros_like(steps, dtype=torch.int8)


def even_range(args: QuantizationArgs, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The range of inputs without its lowest integer, as Pare has it."""
    low, high = calculate_range(args, device)
    return torch.maximum(low, -high), high


def compare_logits(bench: Bench, folder: pathlib.Path, vocabulary: int) -> str:
    """Files are held to one rule for inputs, so that what differs is a difference of files; what another rule makes is told.

    Inputs rounded as they come: by vLLM's rule (`dynamic_scaled_int8_quant_kernel`) the largest of a token becomes 127, to
    nearest with ties to even. Pare has the same; the package, as transformers runs it, makes it 127.5.
    Inputs of a fixed scale: vLLM and the package end at -128, Pare at -127, which differs by a step for inputs beyond the
    calibrated range."""
    groups = quantization_of(folder)["config_groups"].values()
    if len(groups) > 1 and not all(group["weights"]["symmetric"] for group in groups):
        return "logits not compared: these versions load zeros of their own under one scheme only"
    ids = token_ids(vocabulary)
    ours, model = bench.logits(folder, ids), loaded(folder)

    def error() -> float:
        with torch.no_grad():
            return relative_error(model(torch.from_numpy(ids)).logits.float().numpy(), ours)

    rule = {"compute_dynamic_scales_and_zp": steps_of_tokens, "calculate_range": even_range}
    with mock.patch.multiple(forward, **rule):
        found = error()
    told = f"relative difference of logits {found:.1e}"
    assert found <= BOUND, f"{folder.name}: {told}"
    inputs = [group["input_activations"] for group in groups if group["input_activations"]]
    if inputs:
        word = "127.5 of the package" if any(scheme["dynamic"] for scheme in inputs) else "-128 of vLLM and the package"
        told += f" (by the rule {word}: {error():.1e})"
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
    for name, vocabulary in NETWORKS.items():
        for number, (word, settings) in enumerate(RECIPES.items()):
            recipe = bench.folder / f"{number}.toml"
            recipe.write_text(f'version = 1\n[default]\nmethod = "rtn"\nclip_search = 0\n{settings}')
            drawn = ["--corpus", bench.text("tinystories_train_1MB.txt"), "--sequences", "64", "--length", "64"]
            words = ["--recipe", recipe, *(drawn if "static8" in settings else [])]
            folder = bench.compress(name, "compressed-tensors", *words, out=f"{name}-{number}")
            layers, error = compare_weights(bench, folder, decompressed(folder)), compare_logits(bench, folder, vocabulary)
            told = sum(layer["fallback"] is not None for layer in bench.report["layers"])
            yield f"{name}, {word}: {layers} layers equal bit for bit, {told} fallbacks, {error}"


def largest_inputs(model: torch.nn.Module, ids: np.ndarray) -> dict[str, float]:
    """The largest input of each linear layer: a scale far from it would round nearly all inputs to a few steps, and then
    each sum that differs in its last bit moves some by as much as they are."""
    largest: dict[str, float] = {}

    def watch(name: str, module: torch.nn.Module) -> None:
        def seen(_: torch.nn.Module, values: tuple) -> None:
            largest[name] = max(largest.get(name, 0.0), float(values[0].abs().max()))

        hooks.append(module.register_forward_pre_hook(seen))

    hooks: list = []
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            watch(name, module)
    with torch.no_grad():
        model(torch.from_numpy(ids))
    for hook in hooks:
        hook.remove()
    return largest


def quantized_by_package(bench: Bench, name: str, weights: dict, inputs: dict | None) -> pathlib.Path:
    """A folder that the package compresses and transformers saves: plain rounding between each group's ends."""
    out = bench.folder / f"theirs-{name}"
    shutil.rmtree(out, ignore_errors=True)
    model = AutoModelForCausalLM.from_pretrained(bench.model(name), dtype=torch.float32)
    largest = largest_inputs(model, token_ids(VOCABULARIES[name]))
    scheme = QuantizationScheme(
        targets=["Linear"],
        weights=QuantizationArgs(**weights),
        input_activations=QuantizationArgs(**inputs) if inputs else None,
    )
    apply_quantization_config(model, QuantizationConfig(config_groups={"group_0": scheme}, ignore=["lm_head"]))
    for place, module in model.named_modules():
        if not is_module_quantized(module):
            continue
        size = weights.get("group_size") or module.weight.shape[1]
        groups = module.weight.detach().unflatten(1, (-1, size))
        scales, zeros = calculate_qparams(groups.amin(2), groups.amax(2), scheme.weights)
        module.weight_scale.data = scales
        if hasattr(module, "weight_zero_point"):
            module.weight_zero_point.data = zeros.to(module.weight_zero_point.dtype)
        if hasattr(module, "input_scale"):
            module.input_scale.data = torch.full_like(module.input_scale.data, largest[place] / 127)
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
    for name in VOCABULARIES:
        for word, (weights, inputs) in cases.items():
            folder = quantized_by_package(bench, name, weights, inputs)
            inspected = bench.pare("inspect", folder)
            layers, error = compare_weights(bench, folder, decompressed(folder)), compare_logits(bench, folder, VOCABULARIES[name])
            expected = bench.pare("inspect", bench.model(name))["parameters"]
            assert inspected["parameters"] == expected, f"{inspected['parameters']} parameters instead of {expected}"
            yield f"{name}, {word}: {layers} layers equal bit for bit, {error}"


CHECKS = {check.__name__: check for check in (compressed_write, compressed_read)}
