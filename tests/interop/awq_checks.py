"""AWQ folders against AutoAWQ's layout, GPTQModel and `transformers` on the CPU, in both directions."""

import json
import pathlib
import shutil
from collections.abc import Iterator

import numpy as np
import torch
from gptqmodel.nn_modules.qlinear.torch_awq import AwqTorchLinear
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from bench import Bench
from folders import VOCABULARIES, compare_logits, compare_weights, quantization_of, tensors_of

# The output that lies in each nibble of a word, the lowest first: AutoAWQ 0.2.9, awq/modules/linear/gemm.py.
ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


def nibbles(words: np.ndarray) -> np.ndarray:
    """Words `[n, outputs / 8]` as values `[n, outputs]`."""
    values = np.zeros((*words.shape, 8), np.float32)
    for place, output in enumerate(ORDER):
        values[..., output] = words.astype(np.uint32) >> np.uint32(4 * place) & np.uint32(15)
    return values.reshape(words.shape[0], -1)


def dequantized(folder: pathlib.Path) -> dict[str, np.ndarray]:
    tensors, found = tensors_of(folder), {}
    group = quantization_of(folder)["group_size"]
    for name in tensors:
        if not name.endswith(".qweight"):
            continue
        layer = name.removesuffix(".qweight")
        qweight, qzeros, scales = (tensors[f"{layer}.{part}"].numpy() for part in ("qweight", "qzeros", "scales"))
        length = qweight.shape[0] if group == -1 else group
        zeros, scales = (np.repeat(part, length, 0) for part in (nibbles(qzeros), scales.astype(np.float32)))
        found[f"{layer}.weight"] = ((nibbles(qweight) - zeros) * scales).T
    return found


def loaded(folder: pathlib.Path) -> torch.nn.Module:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float16, device_map="cpu")
    layers = sum("awq" in type(module).__name__.lower() for module in model.modules())
    assert layers == len(dequantized(folder)), f"transformers made {layers} quantized layers"
    return model


RECIPES = {
    "groups of 32": "group = 32\n",
    "symmetric, groups of 32": "group = 32\nsymmetric = true\n",
    # GPTQModel's kernel for the CPU takes groups of 32 to 256 only.
    "a row": "group = 0\n",
    "a mixture": 'group = 32\nmethod = "hqq"\n[[layer]]\nmatch = "*.mlp.down_proj"\nbits = 8\n'
    '[[layer]]\nmatch = "*.self_attn.*"\nmethod = "rtn"\nbits = 3\n',
}


def awq_write(bench: Bench) -> Iterator[str]:
    """What we write: weights equal, logits of transformers within 1e-2."""
    for name, vocabulary in VOCABULARIES.items():
        for number, (word, settings) in enumerate(RECIPES.items()):
            recipe = bench.folder / f"{number}.toml"
            method = "" if "hqq" in settings else 'method = "rtn"\n'
            recipe.write_text(f"version = 1\n[default]\nbits = 4\nclip_search = 0\n{method}{settings}")
            folder = bench.compress(name, "awq", "--recipe", recipe, out=f"{name}-{number}")
            layers = compare_weights(bench, folder, dequantized(folder))
            told = sum(layer["fallback"] is not None for layer in bench.report["layers"])
            logits = "" if word == "a row" else f", relative difference of logits {compare_logits(bench, folder, loaded(folder), vocabulary):.1e}"
            yield f"{name}, {word}: {layers} layers equal bit for bit, {told} fallbacks{logits}"


def packed_by_gptqmodel(bench: Bench, name: str, group: int) -> pathlib.Path:
    """A folder whose words GPTQModel packs: plain rounding between each group's ends."""
    out = bench.folder / f"theirs-{name}"
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(bench.model(name), out)
    tensors = tensors_of(out)
    for file in out.glob("*.safetensors*"):
        file.unlink()
    for key in [key for key in tensors if key.endswith("_proj.weight")]:
        weight = tensors.pop(key).float()
        groups = weight.unflatten(1, (-1, group))
        low, high = groups.amin(2).clamp(max=0), groups.amax(2).clamp(min=0)
        scales = ((high - low) / 15).clamp(min=1e-5).half().float()
        zeros = (-low / scales).round().clamp(0, 15)
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        linear.weight.data = weight
        packed = AwqTorchLinear(4, group, False, False, weight.shape[1], weight.shape[0], register_buffers=False)
        packed.pack(linear, scales.half(), zeros)
        for part in ("qweight", "qzeros", "scales"):
            tensors[f"{key.removesuffix('weight')}{part}"] = getattr(packed, part).contiguous()
    save_file(tensors, out / "model.safetensors", {"format": "pt"})
    config = json.loads((out / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "awq",
        "version": "gemm",
        "bits": 4,
        "group_size": group,
        "zero_point": True,
        "modules_to_not_convert": None,
    }
    (out / "config.json").write_text(json.dumps(config))
    return out


def awq_read(bench: Bench) -> Iterator[str]:
    """What GPTQModel packs: the same weights and logits."""
    for name, vocabulary in VOCABULARIES.items():
        folder = packed_by_gptqmodel(bench, name, 32)
        bench.pare("inspect", folder)
        layers, error = compare_weights(bench, folder, dequantized(folder)), compare_logits(bench, folder, loaded(folder), vocabulary)
        yield f"{name}: {layers} layers equal bit for bit, relative difference of logits {error:.1e}"


CHECKS = {check.__name__: check for check in (awq_write, awq_read)}
