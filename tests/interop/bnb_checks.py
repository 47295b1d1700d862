"""Folders of 4-bit layers of bitsandbytes against that package and `transformers` on the CPU, in both directions."""

import pathlib
from collections.abc import Iterator

import bitsandbytes.functional as bnb
import numpy as np
import torch
from bitsandbytes.backends.default.ops import _dequantize_4bit_compute
from transformers import AutoModel, AutoModelForCausalLM, BitsAndBytesConfig

from bench import Bench, relative_error
from folders import BOUND, VOCABULARIES, compare_logits, compare_weights, tensors_of, token_ids

# Models of which every width is a multiple of 64: of others the CPU kernel of bitsandbytes reads some layers wrongly.
WHOLE_BLOCKS = ("gutenberg-5M",)


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
        found[weight] = values_of(tensors[weight], state)
    return found


def values_of(codes: torch.Tensor, state: bnb.QuantState) -> torch.Tensor:
    """The CPU kernel of 0.50.2 begins a block with every row, which its own quantizer does not: there the operation behind
    all devices speaks, which that kernel replaces."""
    if state.shape[-1] % state.blocksize == 0:
        return bnb.dequantize_4bit(codes, state)
    maxima = bnb.dequantize_blockwise(state.absmax, state.state2) + state.offset if state.nested else state.absmax
    return _dequantize_4bit_compute(codes.reshape(-1), maxima, state.code, state.blocksize, state.shape, torch.float32)


def loaded(folder: pathlib.Path) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, device_map="cpu")


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
            layers, error = compare_weights(bench, folder, dequantized(folder)), compare_logits(bench, folder, loaded(folder), vocabulary)
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
    assert error <= BOUND, f"relative difference {error:.2e}"
    yield f"minilm: {compare_weights(bench, folder, dequantized(folder))} layers equal bit for bit, relative difference {error:.1e}"


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
            layers = compare_weights(bench, folder, dequantized(folder))
            told = f"{name} {kind} {'double' if double else 'plain'}: {inspected['parameters']} parameters, {layers} layers equal bit for bit"
            if name in WHOLE_BLOCKS:
                told += f", relative difference of logits {compare_logits(bench, folder, loaded(folder), vocabulary):.1e}"
            yield told


CHECKS = {"bnb_write": bnb_write, "bnb_encoder": bnb_encoder, "bnb_read": bnb_read}
