"""The programs that checks call: Pare, llama.cpp's, and a temporary folder for what they write."""

import json
import pathlib
import shutil
import struct
import subprocess

import numpy as np
from safetensors.numpy import load_file, save_file

# Beside the checkout.
SHARED = pathlib.Path(__file__).resolve().parents[3] / "shared"
THREADS = "2"


class Missing(Exception):
    """Something that a check needs is not on this machine: it is skipped, and these words say why."""


class Bench:
    def __init__(self, build: pathlib.Path, pare: pathlib.Path, blocks: pathlib.Path, folder: pathlib.Path):
        self.build, self.pare_path, self.blocks_path, self.folder = build, pare, blocks, folder

    @property
    def shared(self) -> pathlib.Path:
        """Models and texts that the repository does not carry."""
        if not SHARED.is_dir():
            raise Missing(f"there is no {SHARED}")
        return SHARED

    def model(self, name: str) -> pathlib.Path:
        return self.shared / "models" / name

    def text(self, name: str) -> pathlib.Path:
        return self.shared / "text" / name

    def call(self, *words: object) -> str:
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, words))}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        return done.stdout

    def pare(self, *words: object) -> dict:
        cache = self.folder / "cache"
        return json.loads(self.call(self.pare_path, *words, "--json", "--threads", THREADS, "--cache", cache))

    def tool(self, name: str, *words: object) -> str:
        return self.call(self.build / "bin" / name, *words)

    def export(self, model: object, kind: str | None, *words: object, name: str | None = None) -> pathlib.Path:
        stem = pathlib.Path(str(model)).name
        out = self.folder / (name or f"{stem}-{kind or 'own'}.gguf")
        kinds = ["--type", kind] if kind else []
        self.report = self.pare("export", model, "--format", "gguf", "--out", out, *kinds, *words)
        return out

    def compress(self, model: str, form: str, *words: object, out: str) -> pathlib.Path:
        """A compressed copy of a shared model."""
        folder = self.folder / out
        self.report = self.pare("compress", self.model(model), "--out", folder, "--format", form, *words)
        return folder

    def dense_copy(self, model: pathlib.Path) -> pathlib.Path:
        """All values of a quantized folder as Pare reads them, in F32."""
        wide, out = self.folder / f"{model.name}-f32", self.folder / f"{model.name}-dense"
        for place in (wide, out):
            shutil.rmtree(place, ignore_errors=True)
        self.copied(model, wide.name, {"config.json": lambda config: {**config, "dtype": "float32", "torch_dtype": "float32"}})
        self.pare("compress", wide, "--out", out, "--method", "none", "--format", "dense")
        return out

    def logits(self, model: object, ids: np.ndarray, *words: object) -> np.ndarray:
        """What Pare computes for token ids `[sequences, tokens]`."""
        asked, out = self.folder / "ids.safetensors", self.folder / "logits.safetensors"
        save_file({"input_ids": ids.astype(np.int64)}, asked)
        self.pare("logits", model, "--ids", asked, "--out", out, *words)
        return next(iter(load_file(out).values()))

    def llama_logits(self, model: pathlib.Path, ids: np.ndarray) -> np.ndarray:
        """What llama.cpp computes for the same."""
        asked, out = self.folder / "ids.bin", self.folder / "logits.bin"
        ids.astype(np.int32).tofile(asked)
        self.call(self.build / "llama_worker", model, asked, out, THREADS, ids.shape[1])
        return np.fromfile(out, np.float32).reshape(*ids.shape, -1)

    def llama_layers(self, model: pathlib.Path, ids: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """What every layer got and gave in llama.cpp, `[tokens, columns]` and `[tokens, rows]` as flat arrays."""
        asked, out, folder = self.folder / "ids.bin", self.folder / "logits.bin", self.folder / "layers"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        ids.astype(np.int32).tofile(asked)
        self.call(self.build / "llama_worker", model, asked, out, THREADS, ids.shape[1], folder)
        inputs = {place.name.removesuffix(".in"): np.fromfile(place, np.float32) for place in folder.glob("*.in")}
        return {name: (found, np.fromfile(folder / f"{name}.out", np.float32)) for name, found in inputs.items()}

    def random_model(self, config: dict, name: str) -> pathlib.Path:
        """A random checkpoint of a configuration, in F32."""
        place, out = self.folder / "config.json", self.folder / name
        place.write_text(json.dumps(config))
        self.call(self.blocks_path.with_name("make_checkpoint"), "--config", place, "--out", out, "--dtype", "f32", "--seed", "7")
        return out

    def copied(self, model: pathlib.Path, name: str, changes: dict) -> pathlib.Path:
        """A copy of a model folder, with changed JSON files."""
        out = self.folder / name
        shutil.copytree(model, out, copy_function=shutil.copyfile)
        for folder in (out, *(place for place in out.rglob("*") if place.is_dir())):
            folder.chmod(0o755)
        for file, change in changes.items():
            place = out / file
            place.chmod(0o644)
            place.write_text(json.dumps(change(json.loads(place.read_text()))))
        return out

    def codec(self, *words: object, arrays: list[np.ndarray]) -> np.ndarray:
        """`ggml_blocks` on arrays."""
        places = []
        for number, array in enumerate(arrays):
            place = self.folder / f"array-{number}"
            array.tofile(place)
            places.append(place)
        out = self.folder / "array-out"
        self.call(self.blocks_path, *words, out, *places)
        return np.fromfile(out, np.uint8)


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Of the whole, in the norm."""
    difference = found.astype(np.float64) - expected.astype(np.float64)
    return float(np.linalg.norm(difference) / np.linalg.norm(expected.astype(np.float64)))


def write_older_imatrix(path: pathlib.Path, entries: dict[str, np.ndarray]) -> None:
    """The form of imatrix files before they were GGUF."""
    with path.open("wb") as file:
        file.write(struct.pack("<i", len(entries)))
        for name, squares in entries.items():
            file.write(struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", 1, squares.size))
            file.write(squares.astype(np.float32).tobytes())
