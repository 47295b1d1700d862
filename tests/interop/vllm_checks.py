"""Folders in vLLM on the CPU: its own kernels compute them; where it has none for a width, its loader reads the codes and a
stand-in kernel multiplies with what they stand for."""

import gc
import json
import os
import pathlib
import warnings
from collections.abc import Iterator
from unittest import mock

# They are read when vllm is imported: one process, no network, two threads, a small cache of keys and values.
os.environ.update(
    HF_HUB_OFFLINE="1",
    OMP_NUM_THREADS="2",
    TORCH_CPP_LOG_LEVEL="ERROR",
    VLLM_ALLOW_INSECURE_SERIALIZATION="1",
    VLLM_CPU_KVCACHE_SPACE="1",
    VLLM_CPU_OMP_THREADS_BIND="nobind",
    VLLM_ENABLE_V1_MULTIPROCESSING="0",
    VLLM_LOGGING_LEVEL="ERROR",
    VLLM_NO_USAGE_STATS="1",
)
warnings.simplefilter("ignore")

import numpy as np
import torch
from safetensors.numpy import save_file
from vllm import LLM, SamplingParams
from vllm.distributed import cleanup_dist_env_and_memory
from vllm.model_executor.kernels import linear as kernels
from vllm.model_executor.kernels.linear.mixed_precision.MPLinearKernel import MPLinearKernel
from vllm.model_executor.layers.linear import LinearBase, UnquantizedLinearMethod
from vllm.model_executor.layers.quantization import auto_gptq
from vllm.platforms import PlatformEnum
from vllm.scalar_type import scalar_types

from bench import Bench, relative_error

# Heads of 64, biases, and a head that is the embedding.
QWEN2 = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_act": "silu",
    "hidden_size": 256,
    "intermediate_size": 512,
    "max_position_embeddings": 256,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "vocab_size": 320,
}
PROMPT, SPOKEN = 24, 8


class EightBits(MPLinearKernel):
    """Weights of 8 bits as vLLM's loader laid them, turned into floats: vLLM has no kernel for them on the CPU."""

    @classmethod
    def get_min_capability(cls) -> int:
        return -1

    @classmethod
    def can_implement(cls, config) -> tuple[bool, str | None]:
        return config.weight_type in (scalar_types.uint8, scalar_types.uint8b128), "8 bits only"

    def process_weights_after_loading(self, layer: torch.nn.Module) -> None:
        codes, scales, zeros = self._get_weight_params(layer)
        values = bytes_along(codes, codes.input_dim).float()
        scales = scales.t() if scales.output_dim == 1 else scales
        group = values.shape[1] // scales.shape[1]
        if self.config.zero_points:
            values = values - bytes_along(zeros, zeros.output_dim).t().float().repeat_interleave(group, 1)
        else:
            values = values - 128
        layer.values = values * scales.float().repeat_interleave(group, 1)

    def apply_weights(self, layer: torch.nn.Module, x: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        return torch.nn.functional.linear(x.float(), layer.values, bias if bias is None else bias.float()).to(x.dtype)


def bytes_along(words: torch.Tensor, dimension: int) -> torch.Tensor:
    """Words whose four bytes lie along a dimension, as bytes with that dimension last."""
    return words.data.movedim(dimension, -1).contiguous().view(torch.uint8)


def quantized_layers(model: torch.nn.Module) -> int:
    layers = (module for module in model.modules() if isinstance(module, LinearBase))
    return sum(not isinstance(layer.quant_method, UnquantizedLinearMethod) for layer in layers)


def answers(folder: pathlib.Path, dtype: str, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Logits after every token but the last, the likeliest tokens that follow, and how many layers hold codes."""
    model = LLM(
        str(folder),
        dtype=dtype,
        enforce_eager=True,
        logprobs_mode="raw_logits",
        max_logprobs=-1,
        max_model_len=128,
        max_num_seqs=4,
        skip_tokenizer_init=True,
        use_tqdm_on_load=False,
    )
    try:
        [layers] = model.apply_model(quantized_layers)
        asked = SamplingParams(temperature=0, max_tokens=SPOKEN, ignore_eos=True, prompt_logprobs=-1, detokenize=False)
        rows = model.generate([{"prompt_token_ids": row.tolist()} for row in ids], asked, use_tqdm=False)
    finally:
        del model
        gc.collect()
        cleanup_dist_env_and_memory()
    logits = [[[place[token].logprob for token in sorted(place)] for place in row.prompt_logprobs[1:]] for row in rows]
    return np.array(logits, np.float32), np.array([row.outputs[0].token_ids for row in rows]), layers


def compared(bench: Bench, folder: pathlib.Path, dtype: str, bound: float) -> str:
    """vLLM's logits of a prompt and its choice of what follows, held against ours."""
    vocabulary = json.loads((folder / "config.json").read_text())["vocab_size"]
    ids = np.random.default_rng(3).integers(3, vocabulary, (2, PROMPT))
    theirs, spoken, layers = answers(folder, dtype, ids)
    ours = bench.logits(folder, np.concatenate([ids, spoken], 1))
    error = relative_error(theirs, ours[:, : PROMPT - 1])
    assert error <= bound, f"{folder.name}: relative difference of logits {error:.2e}, more than {bound}"
    following = ours[:, PROMPT - 1 : -1]
    chosen = np.take_along_axis(following, spoken[..., None], -1)[..., 0]
    behind = float((following.max(-1) - chosen).max() / following.std())
    assert behind <= 4 * bound, f"{folder.name}: a token that vLLM chose lies {behind:.2e} deviations behind ours"
    return f"{layers} layers of codes, relative difference of logits {error:.1e}, chosen tokens at most {behind:.1e} behind"


def written(bench: Bench, model: pathlib.Path, form: str, settings: str) -> pathlib.Path:
    vocabulary = json.loads((model / "config.json").read_text())["vocab_size"]
    recipe, text = bench.folder / "recipe.toml", bench.folder / "ids.safetensors"
    method = "" if "method" in settings.partition("[[")[0] else 'method = "rtn"\n'
    recipe.write_text(f"version = 1\n[default]\nclip_search = 0\n{method}{settings}")
    save_file({"input_ids": np.random.default_rng(5).integers(3, vocabulary, 4096)}, text)
    drawn = ["--corpus", text, "--sequences", "32", "--length", "64"] if "static8" in settings else []
    number = len(list(bench.folder.glob("run-*")))
    return bench.compress(model, form, "--recipe", recipe, *drawn, out=f"run-{number}")


def models(bench: Bench) -> list[pathlib.Path]:
    return [bench.random_model(QWEN2, "qwen2"), bench.model("gutenberg-5M")]


# What is written, with what floats vLLM computes, how near it comes, and the recipe.
COMPUTED = {
    "dense": ("dense", "float32", 1e-3, "bits = 4\ngroup = 64\n"),
    "4 symmetric bits in groups": ("gptq", "float16", 1e-2, "bits = 4\ngroup = 64\nsymmetric = true\n"),
    "4 symmetric bits a row, one layer dense": (
        "gptq",
        "float16",
        1e-2,
        'bits = 4\ngroup = 0\nsymmetric = true\n[[layer]]\nmatch = "*.1.mlp.down_proj"\nmethod = "none"\n',
    ),
    "4 bits in groups": ("awq", "float16", 1e-2, "bits = 4\ngroup = 64\n"),
    "4 bits a row, one layer dense": (
        "awq",
        "float16",
        1e-2,
        'bits = 4\ngroup = 0\n[[layer]]\nmatch = "*.1.mlp.down_proj"\nmethod = "none"\n',
    ),
    "4 bits, groups of 32": ("compressed-tensors", "float16", 1e-2, "bits = 4\ngroup = 32\n"),
    "4 symmetric bits a row": ("compressed-tensors", "float16", 1e-2, "bits = 4\ngroup = 0\nsymmetric = true\n"),
    "integers, inputs rounded as they come": (
        "compressed-tensors",
        "float32",
        1e-2,
        'bits = 8\ngroup = 0\nsymmetric = true\nactivations = "dynamic8"\n',
    ),
    "integers, inputs of a fixed scale": (
        "compressed-tensors",
        "float32",
        1e-2,
        'bits = 8\ngroup = 0\nsymmetric = true\nactivations = "static8"\n',
    ),
    "a mixture": (
        "compressed-tensors",
        "float16",
        1e-2,
        'bits = 4\ngroup = 32\nsymmetric = true\n[[layer]]\nmatch = "*.mlp.down_proj"\nbits = 8\ngroup = 0\n'
        'activations = "dynamic8"\n[[layer]]\nmatch = "*.1.mlp.down_proj"\nmethod = "none"\n',
    ),
}
# Of these only how vLLM reads them is checked.
LOADED = {
    "8 symmetric bits in groups": ("gptq", "float16", 1e-2, "bits = 8\ngroup = 64\nsymmetric = true\n"),
    "4 symmetric bits, 8 of some layers": (
        "gptq",
        "float16",
        1e-2,
        'bits = 4\ngroup = 64\nsymmetric = true\n[[layer]]\nmatch = "*.mlp.down_proj"\nbits = 8\ngroup = 32\n',
    ),
    "8 bits, groups of 32": ("compressed-tensors", "float16", 1e-2, "bits = 8\ngroup = 32\n"),
    "8 symmetric bits a row": ("compressed-tensors", "float16", 1e-2, "bits = 8\ngroup = 0\nsymmetric = true\n"),
}
# What vLLM does not take, with its words.
REFUSED = {
    "4 bits with zeros of their own": ("gptq", "float16", "Unsupported quantization config: bits=4, sym=False", "bits = 4\ngroup = 64\n"),
    "NF4": ("bnb-nf4", "float16", "Unknown quantization method: bitsandbytes", 'method = "nf4"\nbits = 4\ngroup = 64\n'),
}


def each(bench: Bench, rows: dict) -> Iterator[str]:
    for model in models(bench):
        for word, (form, dtype, bound, settings) in rows.items():
            found = compared(bench, written(bench, model, form, settings), dtype, bound)
            yield f"{model.name} as {form}, {word}, in {dtype}: {found}"


def vllm_computes(bench: Bench) -> Iterator[str]:
    """vLLM's own kernels on what we write: logits and what it says next."""
    yield from each(bench, COMPUTED)


def vllm_loads(bench: Bench) -> Iterator[str]:
    """Codes that vLLM multiplies on graphics cards only, as its loader reads them."""
    others = kernels._POSSIBLE_KERNELS[PlatformEnum.CPU]
    with (
        mock.patch.dict(kernels._POSSIBLE_KERNELS, {PlatformEnum.CPU: [*others, EightBits]}),
        mock.patch.object(auto_gptq, "verify_marlin_supported"),
    ):
        yield from each(bench, LOADED)


def vllm_refuses(bench: Bench) -> Iterator[str]:
    """What the table says that vLLM does not take, it does not take."""
    ids = np.full((1, 4), 3)
    for word, (form, dtype, reason, settings) in REFUSED.items():
        folder = written(bench, bench.model("gutenberg-5M"), form, settings)
        try:
            answers(folder, dtype, ids)
        except Exception as error:
            assert reason in str(error), f"{form}, {word}: {error}"
            yield f"{form}, {word}: {reason}"
        else:
            raise AssertionError(f"{form}, {word}: vLLM takes it now")


CHECKS = {check.__name__: check for check in (vllm_computes, vllm_loads, vllm_refuses)}
