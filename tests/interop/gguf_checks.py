"""GGUF against ggml, llama.cpp and the `gguf` package."""

from collections.abc import Iterator

import numpy as np
from gguf import GGUFReader, quants
from gguf.constants import GGMLQuantizationType
from safetensors.numpy import load_file

from bench import Bench, relative_error, write_older_imatrix
from ggml import TYPES, Ggml

DENSE = ("F32", "F16", "BF16")

# llama.cpp rounds the inputs of quantized layers to bytes; so asked, Pare does, in the blocks that each type has there.
ROUNDED = ("--activations", "dynamic8")
F32_BAR, QUANTIZED_BAR = 1e-3, 1e-2


def random_rows(rows: int, columns: int, seed: int) -> np.ndarray:
    """Weights of many sizes, with the odd outlier."""
    generator = np.random.default_rng(seed)
    values = generator.normal(0, 0.05, (rows, columns)) * np.exp(generator.normal(0, 1, (rows, 1)))
    values[generator.random(values.shape) < 0.001] *= 20
    return values.astype(np.float32)


def blocks(bench: Bench) -> Iterator[str]:
    """Bytes and values of every type equal ggml's and the gguf package's."""
    ggml = Ggml(bench.build)
    values = random_rows(512, 1024, 1)
    importance = np.random.default_rng(2).gamma(0.5, 1.0, 1024).astype(np.float32)
    for word in TYPES:
        expected = ggml.reference(word, values)
        found = bench.codec("encode", word, 1024, arrays=[values])
        assert np.array_equal(found, expected), f"{word}: {np.mean(found != expected):.2%} of bytes differ"
        if word not in (*DENSE, "Q8_0"):
            weighed = ggml.weighed(word, values, importance)
            found = bench.codec("encode", word, 1024, arrays=[values, importance])
            assert np.array_equal(found, weighed), f"{word} with importance: {np.mean(found != weighed):.2%} of bytes differ"
        decoded = bench.codec("decode", word, 1024, arrays=[expected]).view(np.float32)
        assert np.array_equal(decoded, ggml.decode(word, expected)), f"{word}: values differ from ggml's"
        kind = GGMLQuantizationType[word]
        theirs = quants.dequantize(expected.reshape(512, -1), kind).astype(np.float32)
        assert np.allclose(decoded, theirs.reshape(-1), rtol=1e-6, atol=1e-9), f"{word}: values differ from the gguf package's"
        yield f"{word}: {values.size} values, bytes and values equal"


def reader(bench: Bench) -> Iterator[str]:
    """The gguf package finds the keys and tensors that were written."""
    for name in ("stories260K", "gutenberg-5M"):
        model = bench.model(name)
        source = {}
        for file in model.glob("*.safetensors"):
            source.update(load_file(file))
        found = GGUFReader(bench.export(model, "F32"))
        keys = {key: field.contents() for key, field in found.fields.items()}
        tensors = {tensor.name: tensor for tensor in found.tensors}
        assert keys["general.architecture"] == "llama", keys["general.architecture"]
        embedding = source["model.embed_tokens.weight"].astype(np.float32)
        assert np.array_equal(tensors["token_embd.weight"].data, embedding)
        assert len(keys["tokenizer.ggml.tokens"]) == embedding.shape[0]
        assert len(set(keys["tokenizer.ggml.tokens"])) == embedding.shape[0], "tokens are distinct"
        query = source["model.layers.0.self_attn.q_proj.weight"].astype(np.float32)
        heads = keys["llama.attention.head_count"]
        turned = query.reshape(heads, 2, -1, query.shape[1]).swapaxes(1, 2).reshape(query.shape)
        assert np.array_equal(tensors["blk.0.attn_q.weight"].data, turned)
        yield f"{name}: {len(keys)} keys, {len(tensors)} tensors"


def token_ids(bench: Bench, vocabulary: int, tokens: int) -> np.ndarray:
    return np.random.default_rng(3).integers(3, vocabulary, (2, tokens))


def agreement(bench: Bench, path, ids: np.ndarray, word: str, bar: float | None = None) -> str:
    """llama.cpp's outputs of a file against ours, at most `bar` apart, and where a difference comes from.

    A quantized file is written again in F32, with the values that Pare reads of it: llama.cpp runs these as we run the file
    itself. What is left is what llama.cpp's rounding of inputs does, and ours does as much where it is asked to. Two programs
    that round do not come nearer to each other than that: where their sums differ in the last bit, some inputs fall to other
    steps, so that the difference grows to a step within a few layers. `layers` compares each layer on the same inputs.
    """
    theirs, ours = bench.llama_logits(path, ids), bench.logits(path, ids)
    error = relative_error(theirs, ours)
    if bar is not None:
        assert error <= bar, f"{path.name}: relative difference {error:.2e}, more than {bar}"
    if word in DENSE:
        return f"{word} {error:.1e}"
    floats = bench.llama_logits(bench.export(path, "F32", name="floats.gguf"), ids)
    (bench.folder / "floats.gguf").unlink()
    exact, own = relative_error(floats, ours), relative_error(theirs, floats)
    rounded = relative_error(bench.logits(path, ids, *ROUNDED), ours)
    assert exact <= F32_BAR, f"{path.name}: llama.cpp runs the values that we read otherwise: {exact:.2e}"
    assert own / 1.25 <= rounded <= own * 1.25, f"{path.name}: rounding moves llama.cpp by {own:.2e} and us by {rounded:.2e}"
    return f"{word} {error:.1e} (its values {exact:.1e}, inputs rounded there {own:.1e}, here {rounded:.1e})"


def input_values(word: str, values: np.ndarray) -> np.ndarray:
    """The inputs of a layer of a type as ggml rounds them, `[tokens, columns]`."""
    if word == "BF16":
        return ((values.view(np.uint32) + 0x7FFF + ((values.view(np.uint32) >> 16) & 1)) & 0xFFFF0000).view(np.float32)
    if word in DENSE:
        return values if word == "F32" else values.astype(np.float16).astype(np.float32)
    cut = values.reshape(-1, 256 if word.endswith("_K") else 32)
    step = np.abs(cut).max(axis=1, keepdims=True) / np.float32(127)
    codes = np.rint(cut / np.where(step == 0, 1, step))
    kept = step if word.endswith("_K") else step.astype(np.float16).astype(np.float32)
    return (codes * kept).reshape(values.shape)


def product(word: str, block_bytes: np.ndarray, values: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """What a layer of a type gives in ggml: Q4_1 and Q5_1 keep the sum of a block of inputs as a half too."""
    rounded = input_values(word, inputs).astype(np.float64)
    outputs = rounded @ values.astype(np.float64).T
    if word not in ("Q4_1", "Q5_1"):
        return outputs
    cut, sums = inputs.reshape(len(inputs), -1, 32), rounded.reshape(len(inputs), -1, 32).sum(axis=2)
    step = np.abs(cut).max(axis=2, keepdims=True) / np.float32(127)
    exact = (np.rint(cut / np.where(step == 0, 1, step)) * step).sum(axis=2)
    least = block_bytes.reshape(len(values), sums.shape[1], -1)[:, :, 2:4].copy().view(np.float16)[:, :, 0]
    return outputs + (exact.astype(np.float16) - sums) @ least.astype(np.float64).T


def layers(bench: Bench) -> Iterator[str]:
    """On the inputs that it has in llama.cpp, each layer gives what the values that we read of it give."""
    for name, vocabulary in (("gutenberg-5M", 2048), ("minilm", 30000)):
        ids = token_ids(bench, vocabulary, 32)
        for word in TYPES:
            path = bench.export(bench.model(name), word)
            kept = bench.llama_layers(path, ids)
            worst, count = 0.0, 0
            for tensor in GGUFReader(path).tensors:
                if tensor.name not in kept:
                    continue
                (columns, rows), kind = tensor.shape.tolist(), GGMLQuantizationType(tensor.tensor_type).name
                raw = tensor.data.view(np.uint8)
                values = bench.codec("decode", kind, columns, arrays=[raw]).view(np.float32).reshape(rows, columns)
                inputs, outputs = kept[tensor.name]
                expected = product(kind, raw, values, inputs.reshape(-1, columns))
                worst, count = max(worst, relative_error(outputs.reshape(-1, rows), expected)), count + 1
            assert count > 30, f"{name} {word}: {count} layers"
            assert worst <= F32_BAR, f"{name} {word}: relative difference {worst:.2e}"
            yield f"{name} {word}: {count} layers, at most {worst:.1e} apart"


def logits(bench: Bench) -> Iterator[str]:
    """llama.cpp loads every type and its logits agree with ours; what cannot fit a width is told and replaced."""
    for name, vocabulary in (("stories260K", 512), ("gutenberg-5M", 2048)):
        ids = token_ids(bench, vocabulary, 64)
        for word in TYPES:
            path = bench.export(bench.model(name), word)
            replaced = len(bench.report["fallbacks"])
            told = agreement(bench, path, ids, word, F32_BAR if word == "F32" else QUANTIZED_BAR)
            yield f"{name}: relative difference {told}" + (f", {replaced} layers in other types" if replaced else "")


def dense(bench: Bench) -> Iterator[str]:
    """A file in F32 is the model that it was made of."""
    for name, vocabulary in (("stories260K", 512), ("gutenberg-5M", 2048)):
        ids = token_ids(bench, vocabulary, 64)
        ours = bench.logits(bench.model(name), ids)
        again = bench.logits(bench.export(bench.model(name), "F32"), ids)
        assert np.array_equal(ours, again), f"{name}: {relative_error(again, ours)}"
        yield f"{name}: equal"


def tokens(bench: Bench) -> Iterator[str]:
    """llama.cpp cuts texts into the tokens that Pare cuts them into."""
    texts = ["Once upon a time, there was a little girl.", "It's 1813; the  whole   village knew!", "naïve café – “quoted”"]
    for name in ("stories260K", "gutenberg-5M"):
        path = bench.export(bench.model(name), "F16")
        for text in texts:
            theirs, ours = llama_tokens(bench, path, text), reference_tokens(bench.model(name), text)
            assert theirs == ours, f"{name} {text!r}: {theirs} instead of {ours}"
        yield f"{name}: {len(texts)} texts"
    model = metaspace(bench)
    path = bench.export(model, "F16")
    for text in texts:
        theirs, ours = llama_tokens(bench, path, text), reference_tokens(model, text)
        assert theirs == ours, f"metaspace {text!r}: {theirs} instead of {ours}"
    yield f"words cut by Metaspace, as newer programs save it: {len(texts)} texts"


def llama_tokens(bench: Bench, path, text: str) -> list[int]:
    import ast

    file = bench.folder / "text.txt"
    file.write_text(text)
    printed = bench.tool("llama-tokenize", "-m", path, "-f", file, "--ids", "--log-disable")
    return ast.literal_eval(printed[printed.index("[") : printed.rindex("]") + 1])


def metaspace(bench: Bench):
    """stories260K whose tokenizer says in its other spelling that a text gets a space in front."""
    cut = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False}
    changed = {"tokenizer.json": lambda tokenizer: tokenizer | {"normalizer": None, "pre_tokenizer": cut}}
    return bench.copied(bench.model("stories260K"), "metaspace", changed)


def reference_tokens(model, text: str) -> list[int]:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(model / "tokenizer.json")).encode(text).ids


def imatrix(bench: Bench) -> Iterator[str]:
    """llama-quantize takes our imatrix and makes of it the bytes that we make; we take llama-imatrix's, in both forms."""
    model = bench.model("gutenberg-5M")
    corpus = bench.text("gutenberg_train_4MB.txt")
    drawn = ["--corpus", corpus, "--sequences", "64", "--length", "256"]
    own = bench.folder / "own.imatrix.gguf"
    bench.pare("calibrate", model, *drawn, "--imatrix", own)
    plain = bench.export(model, "F32")
    for word in ("Q4_K", "Q6_K"):
        theirs = bench.folder / f"theirs-{word}.gguf"
        bench.tool("llama-quantize", "--pure", "--imatrix", own, plain, theirs, f"{word}_S" if word != "Q6_K" else word, "2")
        ours = bench.export(model, word, "--imatrix", own, name=f"ours-{word}.gguf")
        same, all_of = equal_tensors(ours, theirs)
        assert same == all_of, f"{word}: {same} of {all_of} tensors equal those of llama-quantize"
        yield f"{word}: {all_of} tensors equal those of llama-quantize"
    binary = bench.folder / "own.imatrix.dat"
    bench.pare("calibrate", model, *drawn, "--imatrix", binary)
    bench.tool("llama-quantize", "--pure", "--imatrix", binary, plain, bench.folder / "theirs-dat.gguf", "Q4_K_S", "2")
    ours = bench.export(model, "Q4_K", "--imatrix", binary, name="ours-dat.gguf")
    same, all_of = equal_tensors(ours, bench.folder / "theirs-dat.gguf")
    assert same == all_of, f"older form: {same} of {all_of} tensors equal those of llama-quantize"
    yield f"the older form is written: {all_of} tensors equal those of llama-quantize"
    squares = {
        tensor.name.removesuffix(".in_sum2"): tensor.data.reshape(-1)
        for tensor in GGUFReader(own).tensors
        if tensor.name.endswith(".in_sum2")
    }
    older = bench.folder / "older.imatrix"
    write_older_imatrix(older, squares)
    ours = bench.export(model, "Q4_K", "--imatrix", older, name="older.gguf")
    # The same up to a factor, which changes no choice but for rounding.
    yield f"the older form is read: {equal_tensors(ours, bench.folder / 'ours-Q4_K.gguf')[0]} tensors equal"


def equal_tensors(one, other) -> tuple[int, int]:
    left = {tensor.name: tensor for tensor in GGUFReader(one).tensors}
    right = {tensor.name: tensor for tensor in GGUFReader(other).tensors}
    assert left.keys() == right.keys(), left.keys() ^ right.keys()
    same = sum(np.array_equal(left[name].data, right[name].data) for name in left)
    return same, len(left)


def quality(bench: Bench) -> Iterator[str]:
    """On gutenberg-5M our K-quants are no further from the model than llama-quantize's with an imatrix of the same text."""
    model = bench.model("gutenberg-5M")
    corpus, held_out = bench.text("gutenberg_train_4MB.txt"), bench.text("gutenberg_valid_1MB.txt")
    plain = bench.export(model, "F16")
    # llama-imatrix takes a text from its beginning on; ours are drawn from the same part of it.
    head = bench.folder / "train.txt"
    head.write_text(corpus.read_text()[:120_000])
    theirs_matrix = bench.folder / "theirs.imatrix.gguf"
    bench.tool("llama-imatrix", "-m", plain, "-f", head, "-o", theirs_matrix, "-c", "256", "-t", "2")
    drawn = ["--corpus", head, "--sequences", "128", "--length", "256"]
    for word, name in (("Q4_K", "Q4_K_S"), ("Q6_K", "Q6_K")):
        theirs = bench.folder / f"theirs-{word}.gguf"
        bench.tool("llama-quantize", "--pure", "--imatrix", theirs_matrix, plain, theirs, name, "2")
        ours = bench.export(model, word, *drawn, name=f"ours-{word}.gguf")
        figures = {}
        for who, path in (("ours", ours), ("theirs", theirs)):
            found = bench.pare("evaluate", path, "--corpus", held_out, "--reference", model, "--length", "256", "--windows", "200")
            figures[who] = (found["kl"]["mean"], found["kl"]["stderr"])
        (mine, _), (other, _) = figures["ours"], figures["theirs"]
        assert mine <= other, f"{word}: KL {mine:.6f}, llama-quantize {other:.6f}"
        yield f"{word}: KL {mine:.6f}, llama-quantize {other:.6f}"


def like_llama(model_type: str, **more: object) -> dict:
    return {
        "model_type": model_type, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "max_position_embeddings": 256,
        "vocab_size": 320, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": False, **more,
    }


def like_neox(**more: object) -> dict:
    return {
        "model_type": "gpt_neox", "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 512, "max_position_embeddings": 256, "vocab_size": 320, "hidden_act": "gelu",
        "layer_norm_eps": 1e-5, "rotary_pct": 0.5, "rotary_emb_base": 10000, "use_parallel_residual": True,
        "tie_word_embeddings": False, **more,
    }


LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}

FAMILIES = {
    "llama": like_llama("llama"),
    "llama3": like_llama("llama", rope_parameters=LLAMA3),
    "yarn": like_llama("llama", rope_scaling={
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "attention_factor": 1.3,
    }),
    "biases": like_llama("llama", attention_bias=True),
    "mistral": like_llama("mistral", sliding_window=None),
    "qwen2": like_llama("qwen2"),
    "qwen3": like_llama("qwen3", tie_word_embeddings=True),
    "phi3": like_llama("phi3", rope_scaling=None, original_max_position_embeddings=256),
    "partial": like_llama("phi3", rope_scaling=None, original_max_position_embeddings=256, partial_rotary_factor=0.75),
    "longrope": like_llama("phi3", original_max_position_embeddings=32, rope_scaling={
        "rope_type": "longrope", "short_factor": [1 + i / 32 for i in range(32)], "long_factor": [1 + i / 4 for i in range(32)],
    }),
    "gemma3": like_llama(
        "gemma3_text", hidden_activation="gelu_pytorch_tanh", query_pre_attn_scalar=64, sliding_window=16,
        rope_local_base_freq=10000.0, rope_theta=1000000.0, tie_word_embeddings=True,
    ),
    "gpt2": {
        "model_type": "gpt2", "n_embd": 256, "n_layer": 2, "n_head": 4, "n_positions": 256, "vocab_size": 320,
        "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new",
    },
    "gptneox": like_neox(),
    "neox_linear": like_neox(rope_scaling={"type": "linear", "factor": 4.0}, use_parallel_residual=False),
    "neox_yarn": like_neox(rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}),
    "neox_tied": like_neox(tie_word_embeddings=True),
    "bert": {
        "model_type": "bert", "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 512,
        "max_position_embeddings": 256, "vocab_size": 320, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "type_vocab_size": 2,
    },
}


def with_tanh(config: dict) -> dict:
    """llama.cpp runs the gelu with tanh where these networks have the one with erf: the file says which it is of."""
    return config | {"hidden_act": "gelu_new"} if config.get("hidden_act") == "gelu" else config


def families(bench: Bench) -> Iterator[str]:
    """Random networks of every architecture: llama.cpp computes what we compute, dense and in quantized types."""
    for name, config in FAMILIES.items():
        model = bench.random_model(with_tanh(config), name)
        ids = token_ids(bench, config["vocab_size"], 48)
        told = [agreement(bench, bench.export(model, "F32"), ids, "F32", F32_BAR)]
        told += [agreement(bench, bench.export(model, "F16"), ids, "F16", QUANTIZED_BAR)]
        # Nothing in random weights averages out what rounding inputs does.
        told += [agreement(bench, bench.export(model, word), ids, word) for word in ("Q8_0", "Q4_1", "Q4_K")]
        if with_tanh(config) != config:
            erf = bench.random_model(config, f"{name}-erf")
            error = relative_error(bench.llama_logits(bench.export(erf, "F32"), ids), bench.logits(erf, ids))
            told.append(f"F32 of the network with erf {error:.1e}")
        yield f"{name}: relative difference {', '.join(told)}"


def split(bench: Bench) -> Iterator[str]:
    """A series of files loads as the one file does."""
    model = bench.model("gutenberg-5M")
    ids = token_ids(bench, 2048, 64)
    whole = bench.llama_logits(bench.export(model, "Q8_0"), ids)
    bench.export(model, "Q8_0", "--split-max-size", "2MB", name="parts.gguf")
    files = sorted(bench.folder.glob("parts-*.gguf"))
    assert len(files) > 2, files
    assert all(file.stat().st_size <= 2_000_000 for file in files)
    assert np.array_equal(bench.llama_logits(files[0], ids), whole)
    assert np.array_equal(bench.logits(files[0], ids), bench.logits(bench.folder / "gutenberg-5M-Q8_0.gguf", ids))
    yield f"{len(files)} files: {', '.join(file.name for file in files)}"


def again(bench: Bench) -> Iterator[str]:
    """Files of llama-quantize, written again: the same bytes in every tensor."""
    plain = bench.export(bench.model("gutenberg-5M"), "F16")
    for word in ("Q4_K_M", "Q5_K_S", "Q3_K_M", "Q2_K", "IQ4_NL"):
        theirs = bench.folder / f"theirs-{word}.gguf"
        bench.tool("llama-quantize", plain, theirs, word, "2")
        ours = bench.export(theirs, None, name=f"again-{word}.gguf")
        same, all_of = equal_tensors(ours, theirs)
        assert same == all_of, f"{word}: {same} of {all_of} tensors are equal"
        yield f"{word}: {all_of} tensors equal"


def encoder(bench: Bench) -> Iterator[str]:
    """MiniLM: llama.cpp's hidden states and tokens against ours."""
    model = bench.model("minilm")
    ids = np.concatenate([np.full((2, 1), 101), token_ids(bench, 30000, 30), np.full((2, 1), 102)], axis=1)
    like_theirs = bench.copied(model, "tanh", {"config.json": with_tanh})
    for word in ("F32", "F16", "Q8_0", "Q4_1", "Q4_K", "Q6_K"):
        path = bench.export(like_theirs, word)
        told = agreement(bench, path, ids, word, F32_BAR if word == "F32" else None)
        theirs, ours = bench.llama_logits(path, ids), bench.logits(bench.export(model, word), ids)
        one, other = theirs.mean(axis=1), ours.mean(axis=1)
        cosine = np.min((one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1))
        assert cosine >= 0.999, f"{word}: embeddings have a cosine of {cosine}"
        pooling = GGUFReader(path).fields["bert.pooling_type"].contents()
        assert pooling == 1, f"pooling type {pooling}"
        of_erf = f"of the network with erf and float inputs {relative_error(theirs, ours):.1e}, embeddings' least cosine {cosine:.5f}"
        yield f"minilm: relative difference {told}, {of_erf}"


CHECKS = {
    "blocks": blocks,
    "reader": reader,
    "dense": dense,
    "logits": logits,
    "layers": layers,
    "families": families,
    "encoder": encoder,
    "split": split,
    "again": again,
    "tokens": tokens,
    "imatrix": imatrix,
    "quality": quality,
}
