"""Loads an adapter that Pare wrote with the real PEFT library and compares it with Pare's own merged model.

`cargo run -p pare-tests --bin quantized_report -- --keep DIR`, then
`python tests/interop/peft_check.py BASE DIR/dense-adapter DIR/dense-merged`.
"""

import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

LIMIT = 1e-4


def logits(model, ids):
    with torch.no_grad():
        return model(ids).logits.float()


def main(base, adapter, merged):
    torch.manual_seed(0)
    plain = AutoModelForCausalLM.from_pretrained(base, torch_dtype=torch.float32)
    ids = torch.randint(0, plain.config.vocab_size, (2, 40))
    before = logits(plain, ids)
    adapted = logits(PeftModel.from_pretrained(plain, adapter).eval(), ids)
    ours = logits(AutoModelForCausalLM.from_pretrained(merged, torch_dtype=torch.float32), ids)
    scale = ours.abs().max()
    moved = ((adapted - before).abs().max() / scale).item()
    error = ((adapted - ours).abs().max() / scale).item()
    print(f"adapter moves logits by {moved:.2e}, PEFT and Pare differ by {error:.2e} of the largest")
    if moved < 1e-3 or error > LIMIT:
        raise SystemExit("the adapter does not give the logits that Pare gives")


if __name__ == "__main__":
    main(*sys.argv[1:4])
