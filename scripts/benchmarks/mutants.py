"""python -m scripts.benchmarks.mutants [count=160] [seed=0] [room=eval/metrics]: would the tests notice a fault?

Each mutant is one small fault in one file: a comparison, an operator, a constant, a condition, a call or a returned
value that is another one. It is caught if a fast test of its room fails. A seeded sample is drawn evenly over
the rooms; survivors are printed with their line, to be closed by a test or called equivalent in `EQUIVALENT`.

mutmut and cosmic-ray start a Python for each mutant, which imports torch and transformers for ten seconds, and mutmut
copies the tree and rewrites each function. Here the libraries that the tests load are imported once; a fork of this
process compiles the mutated file in place of the real one, which stays as it is, and runs the nearest fast tests up to
the first failure: the mirrored test file, then those of the room that import the module; the whole room where there is
neither. A mutant costs a few seconds. Tests that start processes of their own see no mutant.
"""

from __future__ import annotations

import ast
import importlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from itertools import islice
from pathlib import Path
from typing import Any

from scripts.benchmarks.words import read_words

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {  # what is mutated → what must notice
    "eval/metrics": (["eval/metrics/*.py"], ["tests/eval/metrics"]),
    "data/ddqa": (
        [f"data/ddqa/{name}.py" for name in ("tasks", "regions", "ask", "assign", "compose")],
        ["tests/data/ddqa"],
    ),
    "models/mdlm": (["models/mdlm/*.py"], ["tests/models/mdlm"]),
    "train/mdlm": (
        ["train/mdlm/losses.py", "train/mdlm/loop.py", "train/mdlm/mix.py", "train/engine/optim.py"],
        ["tests/train/mdlm", "tests/train/engine/test_optim.py", "tests/train/engine/test_ranks.py"],
    ),
    "data/training": (["data/training/batches.py", "data/training/weighted.py"], ["tests/data/training"]),
    "models/chat": (
        ["models/chat/letters.py", "models/chat/reuse.py", "models/chat/answers.py"],
        ["tests/models/chat"],
    ),
    "models/experts": (["models/experts/gate.py"], ["tests/models/experts"]),
}
OWN = {"data", "models", "eval", "train", "scripts", "tests", "conftest", "__main__"}  # loaded anew in each fork
TARGET = 0.9
PATIENCE = 4.0  # a mutant may take so many times as long as the real code, and then it hangs, which is noticed
EQUIVALENT = {  # "path: line: change" → why no test can tell it from the real code
    "data/ddqa/tasks.py: x0, y0, x1, y1 = zip(*(region.box for region in regions), strict=True): True -> False": (
        "a check that never fails: every box has four numbers"
    ),
    "data/training/weighted.py: return number, own_epoch, int(shuffled(size, self._seed, 1000 + number, own_epoch)"
    "[offset]): 1000 + number -> 1000 - number": "another seed of the same kind",
    "eval/metrics/histogram.py: shift = max(shift, self.shift): max -> min": "the range of the scores alone decides",
    "eval/metrics/keys.py: CHUNK = 1 << 16  # scores at a time: their bins stay in the cache: 1 -> 2": "speed alone",
    "models/chat/letters.py: TOKENS_AT_ONCE = 4096  # in a batch, padding included: more leave the processor's cache: "
    "4096 -> 4097": "speed alone",
    "models/chat/letters.py: WORTH_A_PASS = 32  # tokens that images share are run by themselves if they are so many: "
    "32 -> 33": "speed alone",
    "models/experts/gate.py: f1 = 2 * found / (last + 1 + positive.sum()): 2 -> 3": "all F1 grow alike",
    "models/mdlm/model.py: llava.requires_grad_(False): llava.requires_grad_(False) -> None": (
        "PEFT freezes all but its own weights itself"
    ),
}

SWAPS: dict[type[Any], type[Any]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "argmax": "argmin", "argmin": "argmax"}
QUIET = ("log", "tqdm", "warnings")  # what they say is no behaviour of the room


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault.

    Attributes:
        path: The file, relative to the root.
        line: Where.
        source: The text of that line.
        change: What became what.
        node: Number of the changed node in the order of `ast.walk`.
        way: Which of its changes.
    """

    path: str
    line: int
    source: str
    change: str
    node: int
    way: int

    @property
    def name(self) -> str:
        """Its name in `EQUIVALENT`: the numbers of lines change."""
        return f"{self.path}: {self.source}: {self.change}"

    def plant(self, text: str) -> ast.Module:
        """The file with the fault."""
        tree = ast.parse(text)
        ways = _change(next(islice(ast.walk(tree), self.node, None)))
        next(islice(ways, self.way, None))  # left in the middle, before it is undone
        return ast.fix_missing_locations(tree)


def list_mutants(text: str, path: str) -> list[Mutant]:
    """All mutants of a file, in its order."""
    tree, lines = ast.parse(text), text.split("\n")
    numbers = {id(node): number for number, node in enumerate(ast.walk(tree))}
    found = []
    for node in _behaviour(tree):
        before = _show(node)
        for way, _ in enumerate(_change(node)):
            source, change = lines[node.lineno - 1].strip(), f"{before} -> {_show(node)}"
            found.append(Mutant(path, node.lineno, source, change, numbers[id(node)], way))
    return found


def _behaviour(node: ast.AST) -> Iterator[Any]:
    """The nodes that decide what a module does: no docstrings, annotations, decorators, messages and log lines."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_comment"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.Raise | ast.Assert | ast.JoinedStr):
                continue
            if isinstance(child, ast.Expr) and (isinstance(child.value, ast.Constant) or _is_quiet(child.value)):
                continue
            if hasattr(child, "lineno"):
                yield child
            yield from _behaviour(child)


def _is_quiet(node: ast.AST) -> bool:
    root = node
    while isinstance(root, ast.Call | ast.Attribute):
        root = root.func if isinstance(root, ast.Call) else root.value
    return isinstance(root, ast.Name) and root.id in QUIET


def _change(node: Any) -> Iterator[None]:
    """Makes the changes of a node one after the other; each is undone before the next."""
    if isinstance(node, ast.Compare):
        for index, sign in enumerate(list(node.ops)):
            if type(sign) in SWAPS:
                node.ops[index] = SWAPS[type(sign)]()
                yield
                node.ops[index] = sign
    if isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in SWAPS:
        operation: Any = node.op
        node.op = SWAPS[type(operation)]()
        yield
        node.op = operation
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        number = node.value
        if isinstance(number, bool):
            node.value = not number
        else:
            node.value = number + 1 if isinstance(number, int) else number * 1.5 + 1
        yield
        node.value = number
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node.op = ast.UAdd()
        yield
        node.op = ast.USub()
    if _is_not(node):
        inner = node.operand
        node.operand = ast.UnaryOp(op=ast.Not(), operand=inner)
        yield
        node.operand = inner
    if isinstance(node, ast.If | ast.IfExp | ast.While) and not _is_not(node.test):  # a `not` loses itself
        condition = node.test
        node.test = ast.UnaryOp(op=ast.Not(), operand=condition)
        yield
        node.test = condition
    if isinstance(node, ast.Return) and node.value is not None:
        returned = node.value
        if not (isinstance(returned, ast.Constant) and returned.value is None):
            node.value = ast.Constant(None)
            yield
            node.value = returned
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        call = node.value
        node.value = ast.Constant(None)
        yield
        node.value = call
    if isinstance(node, ast.Name) and node.id in NAMES:
        node.id = NAMES[node.id]
        yield
        node.id = NAMES[node.id]
    if isinstance(node, ast.Attribute) and node.attr in NAMES:
        node.attr = NAMES[node.attr]
        yield
        node.attr = NAMES[node.attr]


def _is_not(node: ast.AST) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)


def _show(node: ast.AST) -> str:
    shown = node.test if isinstance(node, ast.If | ast.While) else node
    return " ".join(ast.unparse(shown).split())[:100]


def sample(rooms: Sequence[str], count: int, seed: int) -> list[tuple[str, Mutant]]:
    """Some mutants of some rooms, as many of each as far as there are."""
    rng = random.Random(seed)
    pools = {}
    for room in rooms:
        files = sorted({path for pattern in ROOMS[room][0] for path in ROOT.glob(pattern)})
        names = [path.relative_to(ROOT).as_posix() for path in files if path.name != "__init__.py"]
        pools[room] = [mutant for name in names for mutant in list_mutants((ROOT / name).read_text(), name)]
        rng.shuffle(pools[room])
    chosen: list[tuple[str, Mutant]] = []
    while len(chosen) < count and any(pools.values()):
        chosen += [(room, pool.pop()) for room, pool in pools.items() if pool]
    return sorted(chosen[:count], key=lambda pair: (pair[0], pair[1].path, pair[1].line))


def warm_up(tests: Sequence[str]) -> float:
    """Runs tests without a fault, and imports the libraries that they loaded; returns how long they took.

    Raises:
        SystemExit: If they fail.
    """
    with tempfile.NamedTemporaryFile("r") as loaded:
        passed, seconds = run_tests(tests, None, 1800.0, Path(loaded.name))
        if not passed:
            sys.exit(f"Without any mutant these tests fail: {' '.join(tests)}")
        for name in loaded.read().split():
            if name.partition(".")[0] not in OWN:
                with suppress(Exception):  # parts that only their own package can load
                    importlib.import_module(name)
    return seconds


def run_tests(
    tests: Sequence[str], mutant: Mutant | None, limit: float, loaded: Path | None = None
) -> tuple[bool, float]:
    """Whether the tests pass in a fork of this process, with a fault or without, and how long they took.

    Args:
        tests: Test files.
        mutant: The fault; None takes the real code.
        limit: Seconds after which they count as failed.
        loaded: Gets the names of the modules that they loaded.
    """
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        os.setsid()
        _test(tests, mutant, loaded)
    status = 0
    while time.monotonic() - began < limit:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.05)
    else:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return False, limit
    return os.waitstatus_to_exitcode(status) == 0, time.monotonic() - began


def _test(tests: Sequence[str], mutant: Mutant | None, loaded: Path | None) -> None:
    """In the fork: runs pytest and ends the process with its exit code."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    code = 99
    try:
        with tempfile.TemporaryDirectory() as folder:
            if mutant is not None:
                path = ROOT / mutant.path
                _install(path, mutant.plant(path.read_text(encoding="utf-8")))
                if "numba" not in path.read_text(encoding="utf-8"):
                    sys.modules["numba"] = None  # type: ignore[assignment]  # to compile takes longer than to do without
            import pytest

            options = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", "-p", "no:timeout"]
            code = int(pytest.main([*options, f"--basetemp={folder}/tests", *tests]))
        if loaded is not None:
            loaded.write_text("\n".join(sys.modules))
    finally:
        os._exit(code)


def _install(path: Path, tree: ast.Module) -> None:
    """Compiles the tree wherever that file is imported."""
    real = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, fullname: str) -> Any:
        return compile(tree, str(path), "exec") if self.path == str(path) else real(self, fullname)

    SourceFileLoader.get_code = get_code  # type: ignore[method-assign, assignment]


def nearest_tests(places: Sequence[str], path: str) -> list[str]:
    """The test files of a room that are nearest to a source file: the mirrored one, and those that import it."""
    found = [file for place in places for file in sorted((ROOT / place).glob("test_*.py")) or [ROOT / place]]
    module = path.removesuffix(".py").replace("/", ".")
    own = [test for test in found if test.name == f"test_{Path(path).name}"]
    importing = [test for test in found if test not in own and f"from {module} import" in test.read_text()]
    return [test.relative_to(ROOT).as_posix() for test in own + importing or found]


def main(arguments: Sequence[str] | None = None) -> None:
    """Draws, tests and prints; exit code 1 if fewer than the target are caught or equivalent."""
    given = read_words(__doc__, {"count": "160", "seed": "0", "room": ""}, arguments)
    rooms = [given["room"]] if given["room"] else list(ROOMS)
    chosen = sample(rooms, int(given["count"]), int(given["seed"]))
    usual: dict[str, float] = {}
    caught: Counter[str] = Counter()
    for room, mutant in chosen:
        tests = nearest_tests(ROOMS[room][1], mutant.path)
        if mutant.path not in usual:
            usual[mutant.path] = warm_up(tests)
            print(f"{mutant.path}: {usual[mutant.path]:.0f} s without a mutant", flush=True)
        passed, seconds = run_tests(tests, mutant, max(60.0, PATIENCE * usual[mutant.path]))
        caught[room] += not passed
        note = EQUIVALENT.get(mutant.name, "")
        verdict = "SURVIVED" if passed else "caught  "
        print(f"{verdict} {seconds:4.0f} s {mutant.path}:{mutant.line}: {mutant.change} {note}", flush=True)
        caught["equivalent"] += bool(passed and note)
    drawn = Counter(room for room, _ in chosen)
    for room in rooms:
        print(f"{room:<16}{caught[room]:>5} of {drawn[room]:>4} caught")
    total = sum(caught[room] for room in rooms)
    equivalent = caught["equivalent"]
    print(f"{total} of {len(chosen)} caught ({100 * total / len(chosen):.1f} %), {equivalent} survivors are equivalent")
    sys.exit(total + equivalent < TARGET * len(chosen))


if __name__ == "__main__":
    main()
