"""What all checks of safetensors folders share: token ids, a folder's tensors, weights held bit for bit, logits of transformers.

Environments differ in what they have installed, so that torch and transformers are asked for where they are needed.
"""

import json
import pathlib
from collections.abc import Callable, Mapping

import numpy as np

from bench import Bench, relative_error

VOCABULARIES = {"babyllama-361": 361, "gutenberg-5M": 2048}

# Of the logits' norm.
BOUND = 1e-2


def token_ids(vocabulary: int) -> np.ndarray:
    return np.random.default_rng(3).integers(3, vocabulary, (2, 24))


def quantization_of(folder: pathlib.Path) -> dict:
    return json.loads((folder / "config.json").read_text())["quantization_config"]


def tensors_of(folder: pathlib.Path, load: Callable[[str], dict] | None = None) -> dict:
    """All tensors, as torch has them or as `load` reads a file."""
    if load is None:
        from safetensors.torch import load_file as load
    tensors = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors.update(load(str(file)))
    return tensors


def compare_weights(bench: Bench, folder: pathlib.Path, theirs: Mapping) -> int:
    """Holds the values that Pare reads against theirs (arrays or tensors of f32), bit for bit; how many layers there are."""
    assert theirs, f"{folder} holds no quantized layer"
    ours = tensors_of(bench.dense_copy(folder))
    for name, expected in theirs.items():
        expected = np.asarray(expected)
        different = int((ours[name].float().numpy() != expected).sum())
        assert different == 0, f"{name}: {different} of {expected.size} weights differ"
    return len(theirs)


def compare_logits(bench: Bench, folder: pathlib.Path, model: object, vocabulary: int) -> float:
    """Holds logits of a model of transformers against ours."""
    import torch

    ids = token_ids(vocabulary)
    with torch.no_grad():
        theirs = model(torch.from_numpy(ids)).logits.float().numpy()
    error = relative_error(theirs, bench.logits(folder, ids))
    assert error <= BOUND, f"{folder.name}: relative difference of logits {error:.2e}"
    return error
