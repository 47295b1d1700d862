"""ONNX models against onnx's checker, ONNX Runtime and the transformers library's outputs."""

import json
import pathlib
from collections.abc import Iterator

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file, save_file

from bench import Bench, relative_error
from onnx_layers import worst_layer

DENSE, QUANTIZED = 1e-4, 1e-2
LENGTHS = (23, 17)


def session(folder: pathlib.Path, optimized: bool = True) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])


def checked(folder: pathlib.Path) -> onnx.ModelProto:
    """The model, found well-formed with all shapes inferred."""
    onnx.checker.check_model(str(folder / "model.onnx"), full_check=True)
    return onnx.load(folder / "model.onnx", load_external_data=False)


def outputs(runner: onnxruntime.InferenceSession, rows: list[np.ndarray], padding: int, left: bool = False) -> list[np.ndarray]:
    """What ONNX Runtime computes for token ids of several lengths as one batch, without the padding."""
    longest = max(map(len, rows))
    ids, mask = np.full((len(rows), longest), padding, np.int64), np.zeros((len(rows), longest), np.int64)
    places = [slice(longest - len(row), longest) if left else slice(0, len(row)) for row in rows]
    for index, (row, place) in enumerate(zip(rows, places)):
        ids[index, place], mask[index, place] = row, 1
    names = {port.name for port in runner.get_inputs()}
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    found = runner.run(None, {name: value for name, value in given.items() if name in names})[0]
    return [found[index, place] for index, place in enumerate(places)]


def expected(bench: Bench, model: pathlib.Path, rows: list[np.ndarray]) -> list[np.ndarray]:
    return [bench.logits(model, row[None])[0] for row in rows]


def worst(found: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape, f"{one.shape} instead of {other.shape}"
        assert np.isfinite(one).all(), "an output is not finite"
    return max(relative_error(one, other) for one, other in zip(found, wanted))


def drawn(config: dict, padding: int) -> list[np.ndarray]:
    generator = np.random.default_rng(5)
    rows = [generator.integers(3, config["vocab_size"], length) for length in LENGTHS]
    return [np.where(row == padding, 3, row) for row in rows]


def of_config(model: pathlib.Path) -> tuple[dict, int, bool]:
    config = json.loads((model / "config.json").read_text())
    encoder = config["model_type"] in ("bert", "roberta", "distilbert")
    return config, config.get("pad_token_id") or 0, encoder


def exported(bench: Bench, model: pathlib.Path, name: str) -> pathlib.Path:
    out = bench.folder / name
    bench.report = bench.pare("export", model, "--format", "onnx", "--out", out)
    written = sum(file.stat().st_size for file in out.rglob("*") if file.is_file() and ".pare" not in file.parts)
    assert bench.report["bytes"] == written, f"{bench.report['bytes']} bytes told, {written} written"
    return out


def models(bench: Bench) -> list[pathlib.Path]:
    golden = sorted(path for path in (bench.shared / "golden").iterdir() if path.is_dir())
    return golden + [bench.model(name) for name in ("stories260K", "gutenberg-5M", "babyllama-361", "minilm")]


def onnx_dense(bench: Bench) -> Iterator[str]:
    """Every family: well-formed, and ONNX Runtime computes what Pare and the transformers library compute, padded or not."""
    for model in models(bench):
        config, padding, encoder = of_config(model)
        out = exported(bench, model, f"dense-{model.name}")
        nodes = len(checked(out).graph.node)
        runner = session(out)
        rows = drawn(config, padding)
        wanted = expected(bench, model, rows)
        errors = {"padded behind": worst(outputs(runner, rows, padding), wanted)}
        if not encoder or config["model_type"] == "roberta":
            errors["padded before"] = worst(outputs(runner, rows, padding, left=True), wanted)
        errors["alone"] = worst(outputs(runner, rows[1:], padding), wanted[1:])
        errors["not optimized"] = worst(outputs(session(out, optimized=False), rows, padding), wanted)
        golden = model / "golden.safetensors"
        if golden.exists():
            stored = load_file(golden)
            answers = next(value for name, value in stored.items() if name != "input_ids")
            theirs = list(outputs(runner, list(stored["input_ids"]), padding))
            bound = 2e-2 if "bf16" in model.name else 2 * DENSE
            error = worst(theirs, list(answers.astype(np.float32)))
            assert error <= bound, f"{model.name}: relative difference to transformers {error:.2e}, more than {bound}"
        for what, error in errors.items():
            assert error <= DENSE, f"{model.name} {what}: relative difference {error:.2e}, more than {DENSE}"
        yield f"{model.name}: {nodes} nodes, relative difference {max(errors.values()):.1e}"


RECIPES = {
    "8 bits, rows": ["--method", "rtn", "--bits", "8", "--group", "0", "--symmetric"],
    "8 bits, groups of 32 with zeros": ["--method", "rtn", "--bits", "8", "--group", "32"],
    "8 bits, rows with zeros": ["--method", "rtn", "--bits", "8", "--group", "0"],
    "6 bits, groups of 64": ["--method", "rtn", "--bits", "6", "--group", "64"],
    "4 bits, groups of 32 with zeros": ["--method", "rtn", "--bits", "4", "--group", "32"],
    "4 bits, groups of 128, symmetric": ["--method", "rtn", "--bits", "4", "--group", "128", "--symmetric"],
    "4 bits, rows": ["--method", "rtn", "--bits", "4", "--group", "0"],
    "3 bits, groups of 64": ["--method", "rtn", "--bits", "3", "--group", "64"],
    "2 bits, groups of 48": ["--method", "rtn", "--bits", "2", "--group", "48"],
    "4 bits, hqq": ["--method", "hqq", "--bits", "4", "--group", "64"],
    "3 bits, hqq": ["--method", "hqq", "--bits", "3", "--group", "64"],
}

TABLES = """
version = 1
[default]
method = "rtn"
bits = 4
group = 32
[embeddings]
method = "rtn"
bits = {bits}
group = {group}
"""

INPUTS = """
version = 1
[default]
method = "rtn"
bits = {bits}
group = {group}
symmetric = {symmetric}
activations = "{mode}"
activation_block = {block}
[calibration]
sequences = 16
length = 128
"""

FACTORED = """
version = 1
[default]
method = "rtn"
bits = 4
group = 32
rank = 8
[calibration]
sequences = 16
length = 128
"""


def compare_run(bench: Bench, name: str, model: pathlib.Path, label: str, words: list, bound: float) -> str:
    """Compresses to the format pare, exports the run, and compares both; the run written at once has the same bytes."""
    run, out = bench.folder / f"{name}-run", bench.folder / f"{name}-onnx"
    bench.pare("compress", model, "--out", run, *words)
    out = exported(bench, run, out.name)
    config, padding, _ = of_config(model)
    model_proto = checked(out)
    rows = drawn(config, padding)
    wanted = expected(bench, run, rows)
    runner = session(out)
    error = worst(outputs(runner, rows, padding), wanted)
    plain = worst(outputs(session(out, optimized=False), rows, padding), wanted)
    assert error <= bound and plain <= bound, f"{model.name} {label}: relative difference {error:.2e}, {plain:.2e}, more than {bound}"
    kinds = {"MatMulNBits", "DequantizeLinear", "MatMulInteger", "QuantizeLinear"}
    used = sorted(kinds & {node.op_type for node in model_proto.graph.node})
    size = (out / "model.onnx_data").stat().st_size
    return f"{model.name}, {label}: relative difference {error:.1e}, {plain:.1e} unoptimized, {size} bytes, {' '.join(used)}"


def onnx_quantized(bench: Bench) -> Iterator[str]:
    """Codes of every width: the runtime's outputs against ours for the same codes."""
    for model in (bench.model("gutenberg-5M"), bench.model("minilm"), bench.shared / "golden" / "gpt2"):
        for number, (label, words) in enumerate(RECIPES.items()):
            yield compare_run(bench, f"{model.name}-{number}", model, label, words, DENSE)


def recipe(bench: Bench, text: str, **values: object) -> list:
    path = bench.folder / "recipe.toml"
    path.write_text(text.format(**values))
    return ["--recipe", path]


def onnx_tables(bench: Bench) -> Iterator[str]:
    """Embeddings as codes, tied to the head or not."""
    for model in ("gutenberg-5M", "minilm", "stories260K"):
        for bits, group in ((8, 0), (8, 48), (4, 32), (4, 0)):
            words = recipe(bench, TABLES, bits=bits, group=group)
            yield compare_run(bench, f"{model}-{bits}-{group}", bench.model(model), f"embedding of {bits} bits, group {group}", words, DENSE)


# Bits, group, symmetric, and the blocks in which dynamic inputs are rounded: those of the weights where they have some.
ROUNDED = ((8, 0, "true", 0), (8, 0, "false", 0), (8, 128, "false", 128), (4, 32, "false", 32))


def onnx_inputs(bench: Bench) -> Iterator[str]:
    """Rounded inputs, of each token as it comes or by a fixed scale, and factors."""
    model, corpus = bench.model("gutenberg-5M"), ["--corpus", bench.text("gutenberg_train_4MB.txt")]
    for mode in ("dynamic8", "static8"):
        for bits, group, symmetric, block in ROUNDED:
            words = recipe(bench, INPUTS, bits=bits, group=group, symmetric=symmetric, mode=mode, block=block) + corpus
            label = f"{mode}, {bits} bits, group {group}, {'symmetric' if symmetric == 'true' else 'with zeros'}"
            yield compare_run(bench, f"{model.name}-{mode}-{bits}-{group}-{symmetric}", model, label, words, QUANTIZED)
    for name, text in (("gutenberg-5M", "gutenberg_train_4MB.txt"), ("minilm", "wikitext2_valid.txt")):
        words = recipe(bench, FACTORED) + ["--corpus", bench.text(text)]
        yield compare_run(bench, f"{name}-factors", bench.model(name), "4 bits and factors", words, DENSE)


def sentences(bench: Bench, model: pathlib.Path, count: int) -> list[np.ndarray]:
    """Token ids of as many long lines of a text, 64 each."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    lines = [line for line in bench.text("wikitext2_valid.txt").read_text().split("\n") if len(line) > 300]
    return [np.array(tokenizer.encode(line).ids[:64]) for line in lines[40 : 40 + count]]


def nudged(bench: Bench, run: pathlib.Path) -> pathlib.Path:
    """A copy of a run, the gains of whose first normalization are moved by their last bit."""
    from safetensors import safe_open

    out = bench.copied(run, f"{run.name}-nudged", {})
    moved = 0
    for place in out.glob("*.safetensors"):
        place.chmod(0o644)
        tensors = load_file(place)
        with safe_open(place, "np") as file:
            metadata = file.metadata()
        for name in tensors:
            if name.endswith("embeddings.LayerNorm.weight"):
                tensors[name] = np.nextafter(tensors[name], np.float32(np.inf))
                moved += 1
        save_file(tensors, place, metadata=metadata)
    assert moved == 1, f"{moved} tensors moved"
    return out


def floats_of(bench: Bench, run: pathlib.Path) -> dict[str, np.ndarray]:
    """What the codes of a run stand for."""
    out = bench.folder / f"{run.name}-dense"
    bench.pare("export", run, "--format", "dense", "--out", out)
    return {name: values.astype(np.float32) for name, values in load_file(next(out.glob("*.safetensors"))).items()}


def mean(found: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    return float(np.mean([relative_error(one, other) for one, other in zip(found, wanted, strict=True)]))


def onnx_layers(bench: Bench) -> Iterator[str]:
    """MiniLM with rounded inputs: moving one gain by its last bit moves our own outputs by as much as ONNX Runtime's
    differ from them. So each layer is held on the inputs that it got, and the whole by its distance to the floats."""
    model = bench.model("minilm")
    rows = sentences(bench, model, 12)
    corpus = ["--corpus", bench.text("wikitext2_valid.txt")]
    given = {"input_ids": np.stack(rows), "attention_mask": np.ones((12, 64), np.int64), "token_type_ids": np.zeros((12, 64), np.int64)}
    for mode in ("dynamic8", "static8"):
        for bits, group, symmetric, block in ROUNDED:
            label = f"{mode}, {bits} bits, group {group}, {'symmetric' if symmetric == 'true' else 'with zeros'}"
            name = label.replace(", ", "-").replace(" ", "-")
            run, floats = bench.folder / f"{name}-run", bench.folder / f"{name}-floats"
            words = {"bits": bits, "group": group, "symmetric": symmetric}
            bench.pare("compress", model, "--out", run, *recipe(bench, INPUTS, mode=mode, block=block, **words), *corpus)
            bench.pare("compress", model, "--out", floats, *recipe(bench, INPUTS, mode="none", block=0, **words), *corpus)
            out = exported(bench, run, f"{name}-onnx")
            values = floats_of(bench, run)
            worst_one, count = worst_layer(out, values, given)
            assert worst_one <= QUANTIZED / 10, f"{label}: a layer is off by {worst_one:.2e}"
            together = lambda place: list(bench.logits(place, np.stack(rows)))
            ours, wanted = together(run), together(floats)
            theirs = outputs(session(out), rows, 0)
            costs = {"ours": mean(ours, wanted), "theirs": mean(theirs, wanted)}
            apart, own = mean(theirs, ours), mean(together(nudged(bench, run)), ours)
            line = (
                f"{label}: {count} layers, worst {worst_one:.1e}; rounding costs {costs['theirs']:.3f} in ONNX Runtime and "
                f"{costs['ours']:.3f} in Pare; both {apart:.1e} apart, Pare from itself, nudged, {own:.1e}"
            )
            assert count == 36, line
            assert costs["theirs"] <= 1.05 * costs["ours"], line
            assert apart <= QUANTIZED or own > apart / 4, line
            yield line


def onnx_at_once(bench: Bench) -> Iterator[str]:
    """`compress --format onnx` writes what `export` writes of the same recipe, as many bytes as foretold."""
    for name in ("gutenberg-5M", "minilm"):
        words = ["--method", "rtn", "--bits", "4", "--group", "32"]
        run, out = bench.folder / f"{name}-run", bench.folder / f"{name}-at-once"
        bench.pare("compress", bench.model(name), "--out", run, *words)
        later = exported(bench, run, f"{name}-later")
        foretold = bench.pare("compress", bench.model(name), "--out", out, "--format", "onnx", "--dry-run", *words)
        report = bench.pare("compress", bench.model(name), "--out", out, "--format", "onnx", *words)
        for file in ("model.onnx", "model.onnx_data"):
            assert (later / file).read_bytes() == (out / file).read_bytes(), f"{file} differs"
        assert foretold["bytes_after"] == report["bytes_after"]
        yield f"{name}: {report['bytes_after']} bytes instead of {report['bytes_before']}"


def onnx_sentences(bench: Bench) -> Iterator[str]:
    """Sentence embeddings of MiniLM, mean-pooled over real tokens: cosine to those of the model itself."""
    from tokenizers import Tokenizer

    model = bench.model("minilm")
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_padding()
    texts = ["A man is playing a guitar.", "Someone plays an instrument on stage, and people listen.", "The stock market fell."]
    rows = [np.array(tokenizer.encode(text).ids) for text in texts]
    pooled = lambda states: np.stack([state.mean(0) / np.linalg.norm(state.mean(0)) for state in states])
    wanted = pooled(expected(bench, model, rows))
    run = bench.folder / "run"
    bench.pare("compress", model, "--out", run, "--method", "rtn", "--bits", "8", "--group", "0")
    for label, folder, least in (("dense", model, 0.999999), ("8 bits", run, 0.999)):
        found = pooled(outputs(session(exported(bench, folder, f"sentences-{folder.name}")), rows, 0))
        cosine = float((found * wanted).sum(1).min())
        assert cosine >= least, f"{label}: cosine {cosine}"
        yield f"{label}: least cosine {cosine:.7f}"


CHECKS = {
    "onnx_dense": onnx_dense,
    "onnx_quantized": onnx_quantized,
    "onnx_tables": onnx_tables,
    "onnx_inputs": onnx_inputs,
    "onnx_layers": onnx_layers,
    "onnx_at_once": onnx_at_once,
    "onnx_sentences": onnx_sentences,
}
