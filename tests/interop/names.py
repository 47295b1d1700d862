"""Suites, their checks, and which of them are asked for: read from their text, so that no package is needed and a
mistyped name is told before anything is installed.

python names.py [NAME …]

A name is that of a check or of a suite; without names all are asked for. Prints a line for each suite: its name, then
its checks. The exit status is 2 where a name is unknown.
"""

import ast
import difflib
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
# In the order in which they run: what is large to install, or compiles llama.cpp, comes last.
SUITES = ("onnx", "mlx", "bnb", "compressed", "awq", "gptq", "peft", "gguf", "vllm")


def checks_of(suite: str) -> list[str]:
    """The keys of `CHECKS`: a dictionary, or one made of a tuple of functions."""
    for node in ast.parse((HERE / f"{suite}_checks.py").read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "CHECKS":
            if isinstance(node.value, ast.Dict):
                return [key.value for key in node.value.keys]
            return [function.id for function in node.value.generators[0].iter.elts]
    raise ValueError(f"{suite}_checks.py has no CHECKS")


def suites() -> dict[str, list[str]]:
    written = {file.name.removesuffix("_checks.py") for file in HERE.glob("*_checks.py")}
    assert written == set(SUITES), f"names.py has no place for {written ^ set(SUITES)}"
    return {suite: checks_of(suite) for suite in SUITES}


def main() -> int:
    asked, known = sys.argv[1:], suites()
    words = [*known, *(check for checks in known.values() for check in checks)]
    unknown = [name for name in asked if name not in words]
    for name in unknown:
        near = difflib.get_close_matches(name, words, 1)
        print(f"there is no check {name}" + (f"; is {near[0]} meant?" if near else ""), file=sys.stderr)
    if unknown:
        rows = (f"  {suite}: {' '.join(checks)}" for suite, checks in known.items())
        print("suites and their checks:", *rows, sep="\n", file=sys.stderr)
        return 2
    for suite, checks in known.items():
        chosen = [check for check in checks if not asked or suite in asked or check in asked]
        if chosen:
            print(suite, *chosen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
