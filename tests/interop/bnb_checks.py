"""Folders of 4-bit layers of bitsandbytes against that package and `transformers` on the CPU, in both directions."""

import pathlib
from collections.abc import Iterator

import bitsandbytes.functional as bnb
import numpy as np
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForCausalLM, BitsAndBytesConfig

from bench import Bench, relative_error

VOCABULARIES = {"babyllama-361": 361, "gutenberg-5M": 2048}


def token_ids(vocabulary: int) -> np.ndarray:
    return np.random.default_rng(3).integers(3, vocabulary, (2, 64))


def tensors_of(folder: pathlib.Path) -> dict[str, torch.Tensor]:
    tensors = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors.update(load_file(file))
    return tensors


def dequantized(folder: pathlib.Path) -> dict[str, torch.Tensor]:
    """Every quantized weight as bitsandbytes sees it, in f32."""
    tensors, found = tensors_of(folder), {}
    for name in tensors:
        if not name.endswith(".absmax") or name.endswith(".nested_absmax"):
            continue
        weight = name.removesuffix(".absmax")
        parts = {key.removeprefix(f"{weight}."): value for key, value in tensors.items() if key.startswith(f"{weight}.")}
        state = bnb.QuantState.from_dict(parts, device=torch.device("cpu"))
        state.dtype = torch.float32
        found[weight] = bnb.dequantize_4bit(tensors[weight], state)
    assert found, f"{folder} holds no quantized layer"
    return found


def compare_weights(bench: Bench, folder: pathlib.Path) -> int:
    ours, theirs = tensors_of(bench.dense_copy(folder)), dequantized(folder)
    for name, expected in theirs.items():
        different = int((ours[name].float() != expected).sum())
        assert different == 0, f"{name}: {different} of {expected.numel()} weights differ"
    return len(theirs)


def compare_logits(bench: Bench, folder: pathlib.Path, vocabulary: int) -> float:
    ids = token_ids(vocabulary)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, device_map="cpu")
    with torch.no_grad():
        theirs = model(torch.from_numpy(ids)).logits.float().numpy()
    error = relative_error(theirs, bench.logits(folder, ids))
    assert error <= 1e-2, f"{folder.name}: relative difference of logits {error:.2e}"
    return error


def bnb_write(bench: Bench) -> Iterator[str]:
    """What we write: weights equal, logits of transformers within 1e-2."""
    for name, vocabulary in VOCABULARIES.items():
        for double in (False, True):
            recipe = bench.folder / f"{double}.toml"
            recipe.write_text(
                f'version = 1\n[default]\nmethod = "nf4"\ngroup = 64\ndouble_quant = {str(double).lower()}\n'
                '[[layer]]\nmatch = "*.0.mlp.down_proj"\nmethod = "none"\n'
            )
            folder = bench.compress(name, "bnb-nf4", "--recipe", recipe, out=f"{name}-{double}")
            layers, error = compare_weights(bench, folder), compare_logits(bench, folder, vocabulary)
            word = "doubly quantized" if double else "plain"
            yield f"{name} {word}: {layers} layers equal bit for bit, relative difference of logits {error:.1e}"


def bnb_encoder(bench: Bench) -> Iterator[str]:
    """MiniLM: hidden states of transformers."""
    folder = bench.compress("minilm", "bnb-nf4", "--method", "nf4", "--group", 64, out="minilm")
    ids = np.concatenate([np.full((2, 1), 101), token_ids(30000)[:, :30], np.full((2, 1), 102)], axis=1)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32, device_map="cpu")
    with torch.no_grad():
        theirs = model(torch.from_numpy(ids)).last_hidden_state.numpy()
    error = relative_error(theirs, bench.logits(folder, ids))
    assert error <= 1e-2, f"relative difference {error:.2e}"
    yield f"minilm: {compare_weights(bench, folder)} layers equal bit for bit, relative difference {error:.1e}"


def bnb_read(bench: Bench) -> Iterator[str]:
    """What transformers writes: we read the same weights and compute the same logits."""
    for name, vocabulary in VOCABULARIES.items():
        for kind, double in (("nf4", False), ("nf4", True), ("fp4", True)):
            how = BitsAndBytesConfig(
                load_in_4bit=True, bnb_4bit_quant_type=kind, bnb_4bit_use_double_quant=double,
                bnb_4bit_compute_dtype=torch.float32,
            )
            model = AutoModelForCausalLM.from_pretrained(
                bench.model(name), quantization_config=how, dtype=torch.float32, device_map="cpu"
            )
            folder = bench.folder / f"theirs-{name}-{kind}-{double}"
            model.save_pretrained(folder)
            inspected = bench.pare("inspect", folder)
            layers, error = compare_weights(bench, folder), compare_logits(bench, folder, vocabulary)
            yield f"{name} {kind} {'double' if double else 'plain'}: {inspected['parameters']} parameters, {layers} layers equal bit for bit, logits {error:.1e}"


CHECKS = {"bnb_write": bnb_write, "bnb_encoder": bnb_encoder, "bnb_read": bnb_read}
