"""MLX folders against `mlx` and `mlx-lm`, in both directions."""

import json
import pathlib
from collections.abc import Iterator

import mlx.core as mx
import numpy as np
from mlx_lm.convert import convert
from mlx_lm.utils import load_model

from bench import Bench, relative_error

VOCABULARIES = {"babyllama-361": 361, "gutenberg-5M": 2048}
EPSILON = {mx.float16: 2.0**-11, mx.bfloat16: 2.0**-8, mx.float32: 2.0**-22}


def token_ids(vocabulary: int) -> np.ndarray:
    return np.random.default_rng(3).integers(3, vocabulary, (2, 64))


def settings_of(folder: pathlib.Path) -> dict:
    return json.loads((folder / "config.json").read_text())["quantization"]


def tensors_of(folder: pathlib.Path) -> dict:
    tensors = {}
    for file in sorted(folder.glob("model*.safetensors")):
        tensors.update(mx.load(str(file)))
    return tensors


def dequantized(folder: pathlib.Path) -> dict:
    """Every quantized weight as MLX sees it, in the dtype of its scales and computed in f32."""
    settings, tensors, found = settings_of(folder), tensors_of(folder), {}
    for name, scales in tensors.items():
        if not name.endswith(".scales"):
            continue
        layer = name.removesuffix(".scales")
        own = settings.get(layer, settings)
        packed, biases = tensors[f"{layer}.weight"], tensors[f"{layer}.biases"]
        how = {"group_size": own["group_size"], "bits": own["bits"]}
        wide = mx.dequantize(packed, scales.astype(mx.float32), biases.astype(mx.float32), **how)
        narrow = mx.dequantize(packed, scales, biases, **how).astype(mx.float32)
        found[f"{layer}.weight"] = (np.array(wide), np.array(narrow), EPSILON[scales.dtype], np.array(biases.astype(mx.float32)))
    assert found, f"{folder} holds no quantized layer"
    return found


def ours(bench: Bench, folder: pathlib.Path) -> dict:
    """The values that Pare reads, by way of a dense copy in F32."""
    return {name: np.array(values.astype(mx.float32)) for name, values in tensors_of(bench.dense_copy(folder)).items()}


def compare_weights(bench: Bench, folder: pathlib.Path) -> int:
    found = ours(bench, folder)
    for name, (wide, narrow, epsilon, biases) in dequantized(folder).items():
        scale = np.repeat(np.abs(biases), wide.shape[1] // biases.shape[1], axis=1) + np.abs(wide)
        exact = np.abs(found[name] - wide) / (scale + 1e-9)
        assert exact.max() <= 4e-7, f"{name}: {exact.max():.1e} of the largest term from MLX in f32"
        rounded = np.abs(found[name] - narrow) / (scale + 1e-9)
        assert rounded.max() <= 3 * epsilon, f"{name}: {rounded.max():.1e} from MLX in its own dtype"
    return len(dequantized(folder))


def logits_of(folder: pathlib.Path, ids: np.ndarray) -> np.ndarray:
    model, _ = load_model(folder)
    return np.array(model(mx.array(ids.astype(np.int32))).astype(mx.float32))


def compare_logits(bench: Bench, folder: pathlib.Path, vocabulary: int) -> float:
    ids = token_ids(vocabulary)
    error = relative_error(logits_of(folder, ids), bench.logits(folder, ids))
    assert error <= 1e-2, f"{folder.name}: relative difference of logits {error:.2e}"
    return error


def mlx_write(bench: Bench) -> Iterator[str]:
    """What we write: weights equal, logits of mlx-lm within 1e-2."""
    for name, vocabulary in VOCABULARIES.items():
        for bits in (2, 3, 4, 5, 6, 8):
            words = ["--method", "rtn", "--bits", bits, "--group", 32 if bits % 2 else 64]
            folder = bench.compress(name, "mlx", *words, out=f"{name}-{bits}")
            layers = compare_weights(bench, folder)
            error = compare_logits(bench, folder, vocabulary)
            yield f"{name} {bits} bits: {layers} layers equal, relative difference of logits {error:.1e}"


def mlx_mixture(bench: Bench) -> Iterator[str]:
    """Bits by layer, a quantized embedding, dtypes of scales, symmetric grids and zeros left out."""
    for dtype in ("f16", "bf16", "f32"):
        recipe = bench.folder / f"{dtype}.toml"
        recipe.write_text(
            f'version = 1\n[default]\nmethod = "gptq"\nbits = 4\ngroup = 64\nscale_dtype = "{dtype}"\n'
            "[embeddings]\nbits = 8\ngroup = 64\n"
            '[[layer]]\nmatch = "*.down_proj"\nbits = 6\ngroup = 32\n'
            '[[layer]]\nmatch = "*.0.mlp.up_proj"\nsymmetric = true\nprune = { method = "magnitude", pattern = "2:4", sparsity = 0.5 }\n'
            '[[layer]]\nmatch = "*.1.mlp.up_proj"\nmethod = "none"\n'
        )
        corpus = bench.text("gutenberg_train_4MB.txt")
        for name, vocabulary in VOCABULARIES.items():
            words = ["--recipe", recipe, "--corpus", corpus, "--sequences", 8, "--length", 128]
            folder = bench.compress(name, "mlx", *words, out=f"{name}-{dtype}")
            layers, error = compare_weights(bench, folder), compare_logits(bench, folder, vocabulary)
            zeros = np.mean(dequantized(folder)["model.layers.0.mlp.up_proj.weight"][0] == 0.0)
            assert zeros >= 0.5, f"{zeros:.2f} of the weights that were left out are 0"
            assert "model.embed_tokens.weight" in dequantized(folder), "the embedding is quantized"
            yield f"{name} {dtype}: {layers} layers equal, relative difference of logits {error:.1e}"


def mlx_read(bench: Bench) -> Iterator[str]:
    """What mlx-lm writes: we read the same weights and compute the same logits."""
    for name, vocabulary in VOCABULARIES.items():
        for bits, group in ((2, 32), (3, 64), (4, 64), (5, 32), (6, 64), (8, 128)):
            folder = bench.folder / f"theirs-{name}-{bits}"
            convert(str(bench.model(name)), mlx_path=str(folder), quantize=True, q_group_size=group, q_bits=bits)
            inspected = bench.pare("inspect", folder)
            layers, error = compare_weights(bench, folder), compare_logits(bench, folder, vocabulary)
            yield f"{name} {bits} bits: {inspected['parameters']} parameters, {layers} layers equal, logits {error:.1e}"


CHECKS = {"mlx_write": mlx_write, "mlx_mixture": mlx_mixture, "mlx_read": mlx_read}
