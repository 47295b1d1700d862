"""Adapters against the PEFT library: what we train loads there, what it saves is worked into weights here."""

import json
import pathlib
import shutil
from collections.abc import Iterator

import numpy as np
from safetensors.numpy import load_file, save_file

from bench import Bench
from peft_models import keys_that_do_not_fit, made, opened, outputs, with_adapter

LIMIT = 1e-4
SENTENCES = 40


def renamed(source: pathlib.Path, out: pathlib.Path, rename, noise: float = 0.0) -> pathlib.Path:
    """A copy of a checkpoint whose tensors are called otherwise, matrices moved a little where noise says."""
    shutil.copytree(source, out)
    generator = np.random.default_rng(3)
    tensors = {}
    for name, values in load_file(source / "model.safetensors").items():
        if noise and values.ndim == 2:
            values = values + (noise * generator.standard_normal(values.shape)).astype(values.dtype)
        tensors[rename(name)] = values
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    return out


def without(prefix: str):
    return lambda name: name.removeprefix(prefix)


def cases(bench: Bench) -> Iterator[tuple[str, pathlib.Path, pathlib.Path]]:
    """A word, the student and its teacher: checkpoints with the class's prefix, without it, and with one too many."""
    llama = bench.model("stories260K")
    yield "llama", llama, llama
    for family, prefix in (("gpt2", "transformer."), ("opt", "model."), ("gpt_neox", "gpt_neox.")):
        golden = bench.shared / "golden" / family
        yield family, golden, golden
        bare = renamed(golden, bench.folder / f"bare-{family}", without(prefix))
        yield f"{family} without {prefix}", bare, bare
    bert = bench.model("minilm")
    yield "bert in bert.", renamed(bert, bench.folder / "in-bert", "bert.{}".format, 0.01), bert


def corpus(bench: Bench, model: pathlib.Path, vocabulary: int) -> pathlib.Path:
    """Random ids; of the encoder, sentences."""
    if (model / "vocab.txt").exists():
        rows = (bench.shared / "data" / "stsb" / "sts-test.tsv").read_text().splitlines()
        place = bench.folder / "sentences.txt"
        place.write_text("\n".join(row.split("\t")[1] for row in rows[:SENTENCES]))
        return place
    place = bench.folder / f"ids-{vocabulary}.safetensors"
    ids = np.random.default_rng(4).integers(3, vocabulary, 4096)
    save_file({"input_ids": ids.astype(np.int64)}, place)
    return place


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest, of the largest value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def trained(bench: Bench, student: pathlib.Path, teacher: pathlib.Path, text: pathlib.Path, out: pathlib.Path) -> None:
    words = ["--adapter", "--merge", "--rank", 4, "--steps", 6, "--batch", 4, "--length", 32]
    # A student that is its teacher learns from the text; the encoder comes nearer to its own in small steps only.
    words += ["--hard", 1, "--rate", 0.01] if text.suffix == ".safetensors" else ["--rate", 0.0005]
    bench.pare("distill", "--teacher", teacher, "--student", student, "--corpus", text, *words, "--out", out)


def held_against(bench: Bench, base: pathlib.Path, adapted, merged: pathlib.Path, ids: np.ndarray) -> str:
    """Our merged model against PEFT's adapter beside its base."""
    before, after = outputs(opened(base), ids), outputs(adapted, ids)
    moved, error = difference(after, before), difference(bench.logits(merged, ids), after)
    assert moved > 1e-3, f"the adapter moves outputs by {moved:.1e} only"
    assert error < LIMIT, f"merged outputs differ by {error:.1e} of the largest"
    return f"moves outputs by {moved:.1e}, merged {error:.1e} apart"


def peft(bench: Bench) -> Iterator[str]:
    """Adapters go both ways, on checkpoints with and without the prefix of their class."""
    for place, (word, student, teacher) in enumerate(cases(bench)):
        vocabulary = json.loads((student / "config.json").read_text())["vocab_size"]
        ids = np.random.default_rng(5).integers(3, vocabulary, (2, 24))
        merged = bench.folder / f"merged-{place}"
        trained(bench, student, teacher, corpus(bench, student, vocabulary), merged)
        unfit = keys_that_do_not_fit(student, merged / "adapter")
        assert not unfit, unfit
        ours = held_against(bench, student, with_adapter(student, merged / "adapter"), merged, ids)
        adapter, again = bench.folder / f"theirs-{place}", bench.folder / f"theirs-merged-{place}"
        adapted = made(student, adapter)
        bench.call(bench.blocks_path.with_name("merge_adapter"), student, adapter, again)
        theirs = held_against(bench, student, adapted, again, ids)
        yield f"{word}: ours {ours}; PEFT's {theirs}"


CHECKS = {"peft": peft}
