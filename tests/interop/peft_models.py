"""Models of transformers with adapters of PEFT beside them, and what they give."""

import json
import pathlib

import torch
from peft import LoraConfig, PeftModel, get_peft_model, load_peft_weights, set_peft_model_state_dict
from transformers import AutoModel, AutoModelForCausalLM

# Layers that PEFT's own adapters are put on, by architecture.
TARGETS = {
    "llama": ["q_proj", "down_proj"],
    "gpt2": ["c_attn", "c_proj"],
    "opt": ["q_proj", "fc2"],
    "gpt_neox": ["query_key_value", "dense_4h_to_h"],
    "bert": ["query", "output.dense"],
}
ENCODERS = ("bert",)


def kind_of(base: pathlib.Path) -> str:
    return json.loads((base / "config.json").read_text())["model_type"]


def opened(base: pathlib.Path) -> torch.nn.Module:
    loader = AutoModel if kind_of(base) in ENCODERS else AutoModelForCausalLM
    return loader.from_pretrained(base, dtype=torch.float32).eval()


def outputs(model: torch.nn.Module, ids):
    """Logits, of an encoder hidden states, as an array."""
    ids = torch.from_numpy(ids)
    with torch.no_grad():
        found = model(input_ids=ids, attention_mask=torch.ones_like(ids))
    return (found.logits if hasattr(found, "logits") else found.last_hidden_state).float().numpy()


def keys_that_do_not_fit(base: pathlib.Path, adapter: pathlib.Path) -> list[str]:
    """What PEFT misses, or does not expect, of the adapter's tensors."""
    model = get_peft_model(opened(base), LoraConfig.from_pretrained(str(adapter)))
    found = set_peft_model_state_dict(model, load_peft_weights(str(adapter), device="cpu"))
    missing = [f"missing {key}" for key in found.missing_keys if "lora_" in key]
    return missing + [f"unexpected {key}" for key in found.unexpected_keys]


def with_adapter(base: pathlib.Path, adapter: pathlib.Path) -> torch.nn.Module:
    return PeftModel.from_pretrained(opened(base), str(adapter)).eval()


def made(base: pathlib.Path, adapter: pathlib.Path) -> torch.nn.Module:
    """The base with a random adapter, which is saved."""
    torch.manual_seed(0)
    kind = kind_of(base)
    config = LoraConfig(
        r=4,
        lora_alpha=6,
        use_rslora=True,
        target_modules=TARGETS[kind],
        task_type="FEATURE_EXTRACTION" if kind in ENCODERS else "CAUSAL_LM",
        init_lora_weights=False,
        fan_in_fan_out=kind == "gpt2",
    )
    model = get_peft_model(opened(base), config).eval()
    model.save_pretrained(str(adapter))
    return model
