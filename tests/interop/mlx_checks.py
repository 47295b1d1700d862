"""MLX folders against `mlx` and `mlx-lm`, in both directions."""

import json
import pathlib
from collections.abc import Iterator

import mlx.core as mx
import numpy as np
from mlx_lm.convert import convert
from mlx_lm.utils import load_model, quantize_model, save_config, save_model

from bench import Bench, relative_error
from folders import BOUND, VOCABULARIES, tensors_of, token_ids

EPSILON = {mx.float16: 2.0**-11, mx.bfloat16: 2.0**-8, mx.float32: 2.0**-22}


def settings_of(folder: pathlib.Path) -> dict:
    return json.loads((folder / "config.json").read_text())["quantization"]


def dequantized(folder: pathlib.Path) -> dict:
    """Every quantized weight as MLX sees it, in the dtype of its scales and computed in f32."""
    settings, tensors, found = settings_of(folder), tensors_of(folder, mx.load), {}
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
    return {name: np.array(values.astype(mx.float32)) for name, values in tensors_of(bench.dense_copy(folder), mx.load).items()}


def compare_weights(bench: Bench, folder: pathlib.Path) -> int:
    found = ours(bench, folder)
    for name, (wide, narrow, epsilon, biases) in dequantized(folder).items():
        scale = np.repeat(np.abs(biases), wide.shape[1] // biases.shape[1], axis=1) + np.abs(wide)
        # GPT-2 lies the other way round, and under another name.
        values = found[name] if name in found else found[name.removeprefix("model.")].T
        exact = np.abs(values - wide) / (scale + 1e-9)
        assert exact.max() <= 4e-7, f"{name}: {exact.max():.1e} of the largest term from MLX in f32"
        rounded = np.abs(values - narrow) / (scale + 1e-9)
        assert rounded.max() <= 3 * epsilon, f"{name}: {rounded.max():.1e} from MLX in its own dtype"
    return len(dequantized(folder))


def logits_of(folder: pathlib.Path, ids: np.ndarray) -> np.ndarray:
    model, _ = load_model(folder)
    return np.array(model(mx.array(ids.astype(np.int32))).astype(mx.float32))


def compare_logits(bench: Bench, folder: pathlib.Path, vocabulary: int) -> float:
    ids = token_ids(vocabulary)
    error = relative_error(logits_of(folder, ids), bench.logits(folder, ids))
    assert error <= BOUND, f"{folder.name}: relative difference of logits {error:.2e}"
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


def as_bfloat(bench: Bench, name: str) -> pathlib.Path:
    """A model with its tensors in bf16."""
    out = bench.copied(bench.model(name), f"{name}-bf16", {"config.json": lambda config: {**config, "dtype": "bfloat16"}})
    for file in out.glob("*.safetensors"):
        tensors = {key: value.astype(mx.bfloat16) for key, value in mx.load(str(file)).items()}
        mx.eval(tensors)
        file.unlink()
        mx.save_safetensors(str(file), tensors, {"format": "pt"})
    return out


def quality(found: np.ndarray, source: mx.array) -> float:
    """Signal to noise in dB."""
    expected = np.array(source.astype(mx.float32), np.float64)
    return 10 * np.log10((expected**2).sum() / ((found - expected) ** 2).sum())


def mlx_bfloat(bench: Bench) -> Iterator[str]:
    """A model of bf16: scales in its dtype, biases whose rounding costs nothing, reports of what was written."""
    for name, vocabulary in VOCABULARIES.items():
        model = as_bfloat(bench, name)
        source = tensors_of(model, mx.load)
        for bits in (4, 8):
            words = ["--method", "rtn", "--bits", bits, "--group", 64]
            recipe = bench.folder / "bf16.toml"
            recipe.write_text(f'version = 1\n[default]\nmethod = "rtn"\nbits = {bits}\ngroup = 64\nscale_dtype = "bf16"\n')
            bench.compress(model, "pare", "--recipe", recipe, out=f"{name}-{bits}-kept")
            kept = {layer["name"]: layer["sqnr_db"] for layer in bench.report["layers"]}
            folder = bench.compress(model, "mlx", *words, out=f"{name}-{bits}")
            found, worst = dequantized(folder), 0.0
            for layer in bench.report["layers"]:
                if layer["method"] == "none":
                    continue
                weight = f"{layer['name']}.weight"
                wide, _, epsilon, _ = found[weight]
                assert layer["fallback"]["to"].endswith("bf16 scales"), layer["fallback"]
                assert epsilon == EPSILON[mx.bfloat16], f"{weight} has scales of another dtype"
                decibels = quality(wide, source[weight])
                assert abs(decibels - layer["sqnr_db"]) <= 1e-2, f"{weight}: {decibels} dB, told {layer['sqnr_db']}"
                worst = max(worst, kept[layer["name"]] - decibels)
            assert worst <= 0.1, f"{worst:.3f} dB are lost beside zeros that are whole"
            ids = token_ids(vocabulary)
            network, _ = load_model(folder)
            assert network(mx.array(ids.astype(np.int32))).dtype == mx.bfloat16, "mlx-lm stays in bf16"
            network.set_dtype(mx.float32)
            logits = np.array(network(mx.array(ids.astype(np.int32))))
            error = relative_error(logits, bench.logits(folder, ids))
            assert error <= BOUND, f"{folder.name}: relative difference of logits {error:.2e}"
            yield f"{name} {bits} bits: at most {worst:.3f} dB beside whole zeros, relative difference of logits {error:.1e}"


RENAMED = {
    "gpt2": {
        "model_type": "gpt2", "n_embd": 128, "n_layer": 2, "n_head": 4, "n_positions": 128, "n_ctx": 128, "vocab_size": 320,
        "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new",
    },
    "gpt_neox": {
        "model_type": "gpt_neox", "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 512, "max_position_embeddings": 128, "vocab_size": 320, "hidden_act": "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-5, "rotary_pct": 0.5, "rotary_emb_base": 10000, "use_parallel_residual": True,
        "tie_word_embeddings": False,
    },
}


def without_prefix(folder: pathlib.Path, prefix: str) -> None:
    for file in folder.glob("*.safetensors"):
        tensors = {key.removeprefix(prefix): value for key, value in mx.load(str(file)).items()}
        mx.eval(tensors)
        file.unlink()
        mx.save_safetensors(str(file), tensors, {"format": "pt"})


def mlx_names(bench: Bench) -> Iterator[str]:
    """Families that mlx-lm saves under names of its own, and one that it lacks."""
    for name, config in RENAMED.items():
        model, theirs = bench.random_model(config, name), bench.folder / f"theirs-{name}"
        # mlx-lm knows GPT-2 as its authors published it.
        without_prefix(model, "transformer.")
        network, known = load_model(model)
        network, known = quantize_model(network, known, 64, 6)
        save_model(theirs, network)
        save_config(known, theirs / "config.json")
        error = compare_logits(bench, theirs, config["vocab_size"])
        yield f"{name} of mlx-lm: relative difference of logits {error:.1e}"
    recipe = bench.folder / "mixture.toml"
    recipe.write_text(
        'version = 1\n[default]\nmethod = "rtn"\nbits = 6\ngroup = 64\n[[layer]]\nmatch = "*.1.mlp.*"\nbits = 4\ngroup = 32\n'
    )
    for name in RENAMED:
        folder = bench.compress(bench.folder / name, "mlx", "--recipe", recipe, out=f"ours-{name}")
        layers, error = compare_weights(bench, folder), compare_logits(bench, folder, 320)
        yield f"{name} of ours: {layers} layers equal, relative difference of logits {error:.1e}"
    folder = bench.compress("minilm", "mlx", "--method", "rtn", "--bits", 4, "--group", 64, out="minilm")
    assert any("no network of type bert" in warning for warning in bench.report["warnings"]), bench.report["warnings"]
    yield f"minilm: {compare_weights(bench, folder)} layers equal, and a warning that mlx-lm lacks it"


CHECKS = {check.__name__: check for check in (mlx_write, mlx_mixture, mlx_bfloat, mlx_read, mlx_names)}
