"""gptq folders in `transformers`, through optimum and GPTQModel, on the CPU."""

from collections.abc import Iterator

import torch
from transformers import AutoModelForCausalLM

from bench import Bench
from folders import VOCABULARIES, compare_logits

RECIPES = {
    "4 symmetric bits, gptq": "bits = 4\ngroup = 32\nsymmetric = true\n",
    "4 bits, gptq_v2": "bits = 4\ngroup = 32\n",
    "8 symmetric bits a row, one layer dense": 'bits = 8\ngroup = 0\nsymmetric = true\n[[layer]]\nmatch = "*.mlp.down_proj"\nmethod = "none"\n',
}


def gptq_load(bench: Bench) -> Iterator[str]:
    """What we write: logits of transformers within 1e-2."""
    for name, vocabulary in VOCABULARIES.items():
        for number, (word, settings) in enumerate(RECIPES.items()):
            recipe = bench.folder / f"{number}.toml"
            recipe.write_text(f'version = 1\n[default]\nmethod = "rtn"\nclip_search = 0\n{settings}')
            folder = bench.compress(name, "gptq", "--recipe", recipe, out=f"{name}-{number}")
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float16, device_map="cpu")
            layers = sum(hasattr(module, "qzeros") for module in model.modules())
            assert layers, "transformers made no quantized layer"
            error = compare_logits(bench, folder, model, vocabulary)
            yield f"{name}, {word}: {layers} layers, relative difference of logits {error:.1e}"


CHECKS = {check.__name__: check for check in (gptq_load,)}
