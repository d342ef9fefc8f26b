"""The documentation keeps its word: every command line of every README is one that the command's own parser takes."""

import ast
import contextlib
import importlib
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import pytest

from data.errors import UserError
from scripts.command import help_page

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ["data", "models", "eval", "train", "scripts"]
PAGES = [ROOT / "README.md", *(ROOT / room / "README.md" for room in ROOMS), ROOT / ".github" / "CONTRIBUTING.md"]
COMMANDS = sorted(path.stem for path in (ROOT / "scripts").glob("*.py") if path.stem not in ("__init__", "command"))
LAUNCHERS = {"torchrun": 1, "sbatch": 0}  # option words take a value in all that the pages print
GROUPS = {path.name for path in (ROOT / "configs").iterdir() if path.is_dir()}
OTHERS = {"source", "export", "printf", "pip", "tensorboard", "swift", "hf", "wandb", "bash", "python", "curl"}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
INLINE = re.compile(r"(python (-m )?scripts|torchrun |sbatch |bash |pip install )")


@dataclass(frozen=True)
class Line:
    """One printed command: where it stands, and its words with variables and comments resolved."""

    page: Path
    section: str
    text: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}: {self.text}"


def blocks(text: str) -> list[tuple[str, str]]:
    """(language, content) of the fenced blocks of a page or a section."""
    return FENCE.findall(text)


def split_line(text: str, variables: dict[str, str]) -> tuple[str, ...]:
    """The words of a line, as a shell would read it; remembers assignments; empty where nothing is left to run."""
    for name, value in variables.items():
        text = re.sub(rf"\${name}\b|\${{{name}}}", value, text)
    words = shlex.split(text, comments=True)
    if words[:1] == ["export"]:
        words = words[1:]
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        name, _, value = words.pop(0).partition("=")
        variables[name] = value
    return tuple(words)


def printed_lines(page: Path) -> Iterator[Line]:
    """Every command line of a page: in its shell blocks, and between backticks in its text and tables."""
    variables = {"EIAD_DATA": "/datasets", "RUN": "runs/run", "DIR": "dir"}
    for section in page.read_text(encoding="utf-8").split("\n## "):
        title, _, _ = section.partition("\n")
        shell = "".join(block for language, block in blocks(section) if language == "bash")
        spans = [code for code in CODE.findall(FENCE.sub("", section)) if INLINE.match(code)]
        for text in [*shell.replace("\\\n", " ").splitlines(), *spans]:
            if words := split_line(text, variables):
                yield Line(page, title, text, words)


LINES = [line for page in PAGES if page.is_file() for line in printed_lines(page)]


def command_of(line: Line) -> tuple[str, list[str]] | None:
    """(module below `scripts`, its arguments) that a line starts, also through a launcher or a launch script."""
    words = list(line.words)
    if words[0] in ("sbatch", "bash"):
        at = next(index for index, word in enumerate(words) if word.endswith(".sh"))
        script, arguments = (ROOT / words[at]).read_text(encoding="utf-8"), words[at + 1 :]
        if module := re.search(r"-m scripts\.(\w+) ", script):
            return module[1], arguments
        if default := re.search(r"^training=(\w+)$", script, re.MULTILINE):  # the first word may name the training
            own = arguments[:1] if arguments and arguments[0].startswith("train_") else []
            return (own or [default[1]])[0], arguments[len(own) :]
        return None
    if "-m" in words and (module := re.fullmatch(r"scripts\.(.+)", words[words.index("-m") + 1])):
        return module[1], words[words.index("-m") + 2 :]
    if words[0] == "python" and words[1].startswith("scripts/"):
        return words[1].removeprefix("scripts/").removesuffix(".py").replace("/", "."), words[2:]
    return None


STARTED = [(line, *found) for line in LINES if (found := command_of(line))]


def without_flags(arguments: list[str]) -> list[str]:
    """The arguments without Hydra's own `--cfg job`."""
    kept = list(arguments)
    while any(word.startswith("--") for word in kept):
        at = next(index for index, word in enumerate(kept) if word.startswith("--"))
        del kept[at : at + 2]
    return kept


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configurations, and beside them every one that a page tells its reader to write."""
    folder = tmp_path / "configs"
    shutil.copytree(ROOT / "configs", folder)
    for page in PAGES:
        for language, block in blocks(page.read_text(encoding="utf-8")):
            if language == "yaml" and (path := re.search(r"^# (configs/\S+\.yaml)$", block, re.MULTILINE)):
                (tmp_path / path[1]).write_text(block, encoding="utf-8")
    monkeypatch.setattr("scripts.command.CONFIGS", folder)
    monkeypatch.setenv("EIAD_DATA", "/datasets")
    return folder


@pytest.mark.parametrize("line", LINES, ids=str)
def test_every_printed_line_is_known_and_its_files_exist(line: Line) -> None:
    program = line.words[0]
    assert program in {*OTHERS, *LAUNCHERS}, f"nothing checks '{program}'"
    for word in line.words:
        if re.match(r"(scripts|constraints|requirements)[\w/.-]*\.(sh|txt|py)$", word):
            assert (ROOT / word).is_file(), word
    if program in ("python", "torchrun", "sbatch") and "-c" not in line.words:
        assert command_of(line), "no command is started"


@pytest.mark.parametrize(("line", "name", "arguments"), [found for found in STARTED if found[1] in COMMANDS], ids=str)
def test_every_printed_command_is_taken_by_its_parser(
    line: Line, name: str, arguments: list[str], configs: Path
) -> None:
    if "--help" in arguments:
        assert help_page(name, arguments)
    else:
        importlib.import_module(f"scripts.{name}").main.parse(without_flags(arguments))


@pytest.mark.parametrize(
    ("line", "name", "arguments"),
    [found for found in STARTED if found[1] not in COMMANDS],
    ids=lambda value: str(value),
)
def test_every_printed_benchmark_exists_and_knows_its_words(line: Line, name: str, arguments: list[str]) -> None:
    file = ROOT / "scripts" / Path(*name.split(".")).with_suffix(".py")
    usage = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    for word in arguments:
        if found := re.match(r"(--[\w-]+|\w+=)", word):
            assert found[1] in usage, f"{name} does not say what {found[1]} is"


SNIPPETS = [
    (page, block)
    for page in PAGES
    for language, block in blocks(page.read_text(encoding="utf-8"))
    if language == "python" and not re.match(r"# \w+/", block)
]


@pytest.mark.parametrize(("page", "snippet"), SNIPPETS)
def test_every_python_snippet_imports_what_is_there(page: Path, snippet: str) -> None:
    for node in ast.walk(ast.parse(snippet)):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)


def test_every_command_is_shown() -> None:
    assert not set(COMMANDS) - {name for _, name, _ in STARTED}
    benchmarks = {
        f"benchmarks.{path.stem}"
        for path in (ROOT / "scripts" / "benchmarks").glob("*.py")
        if "__main__" in path.read_text(encoding="utf-8")
    }
    assert not benchmarks - {name for _, name, _ in STARTED}
    launchers = {path.name for path in (ROOT / "scripts" / "launch").glob("*.sh")}
    shown = {Path(word).name for line in LINES for word in line.words}
    assert not launchers - shown


def test_a_line_that_the_parser_refuses_would_be_noticed(configs: Path) -> None:
    build = importlib.import_module("scripts.build_ddqa").main.parse
    for wrong in ("wordnig=paraphrased", "tasks=[AD,XYZ]", "data=nowhere"):
        with pytest.raises(UserError):
            build([wrong, "run_dir=r"])


def test_the_switches_of_ddqa_can_be_set(configs: Path) -> None:
    build = importlib.import_module("scripts.build_ddqa").main.parse
    config = build(["run_dir=r", "data=mine", "wording=paraphrased", "tasks=[AD,RDL,DFM,DC,description]"])
    assert (config.wording.value, config.data.name) == ("paraphrased", "mine")
    assert [task.value for task in config.tasks] == ["AD", "RDL", "DFM", "DC", "description"]
    for command in ("eval_mmad", "reproduce"):
        parse = importlib.import_module(f"scripts.{command}").main.parse
        assert [parse(words).wording.name for words in ([], ["wording=inspector"])] == ["eiad", "inspector"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page: Path) -> None:
    whole = page.read_text(encoding="utf-8")
    text = FENCE.sub("", whole)
    named = set(re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text))
    missing = [link for link in sorted(named) if not (page.parent / link).exists()]
    paths = {code.rstrip("/") for code in CODE.findall(text)}
    made = {path for _, block in blocks(whole) for path in re.findall(r"^# (\w+/\S+\.\w+)$", block, re.MULTILINE)}
    inside = re.compile(rf"({'|'.join(ROOMS)}|configs|tests|\.github|\.ci)/[\w./-]+")
    missing += [path for path in sorted(paths - made) if inside.fullmatch(path) and not (ROOT / path).exists()]
    assert not missing


def test_the_front_page_stays_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 180


def spoken(node: ast.AST) -> str:
    """A message's text, with … for what is filled in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(spoken, node.values))
    if isinstance(node, ast.BinOp):
        return spoken(node.left) + spoken(node.right)
    return "…"


@cache
def messages() -> frozenset[str]:
    """What the code may say: the text of every `UserError`, and every text with something filled in."""
    texts: set[str] = set()
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "UserError" and node.args:
                texts.add(spoken(node.args[0]))
            elif isinstance(node, ast.JoinedStr):
                texts.add(spoken(node))
    return frozenset(texts)


@pytest.mark.parametrize("room", ROOMS)
def test_troubleshooting_quotes_what_the_code_really_says(room: str) -> None:
    text = (ROOT / room / "README.md").read_text(encoding="utf-8")
    _, found, section = text.partition("\n## When it stops\n")
    assert found, "no section `When it stops`"
    quoted = re.findall(r"^\| `([^`]+)` \|", section.partition("\n## ")[0], re.MULTILINE)
    assert len(quoted) >= 4
    wrong = [quote for quote in quoted if not any(text.startswith(quote.rstrip("…")) for text in messages())]
    assert not wrong


def settings(page: Path) -> list[str]:
    """Every single setting between backticks in a page's text: `key=value`, each value of `key=a|b`."""
    found = []
    for code in CODE.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if match := re.fullmatch(r"(\+*[a-z_]+(?:\.\w+)*)=(\S*)", code.strip("'")):
            found += [f"{match[1]}={value}" for value in re.split(r"\\?\|", match[2])]
    return found


def needed_by(name: str) -> list[str]:
    """What a command cannot be composed without."""
    values = {"dataset": "mvtec_ac"}
    schema = importlib.import_module(f"scripts.{name}").main.schema
    known = {entry.name for entry in fields(schema)}
    text = (ROOT / "configs" / f"{name}.yaml").read_text(encoding="utf-8")
    missing = set(re.findall(r"^(\w+): \?\?\?", text, re.MULTILINE)) & known
    return [f"{key}={values.get(key, 'x')}" for key in sorted(missing)]


@cache
def is_taken(setting: str, name: str) -> bool:
    """Whether a command's parser takes a setting; one that is printed without a value, with some value."""
    command = importlib.import_module(f"scripts.{name}").main
    key, _, value = setting.lstrip("+").partition("=")
    words = (ROOT / "scripts" / f"{name}.py").read_text(encoding="utf-8")
    files = [ROOT / "configs" / f"{name}.yaml", *(ROOT / "configs" / name).glob("*.yaml")]
    defaults = "".join(file.read_text(encoding="utf-8") for file in files)
    groups = {group for group in GROUPS if re.search(rf"\b{group}\b", defaults)}
    takes = {entry.name for entry in fields(command.schema)} | groups | {"plugins"}
    if key.split(".")[0] not in takes and f'"{key}":' not in words:
        return False
    others = [other for other in needed_by(name) if not other.startswith(f"{key}=")]
    is_printed = re.fullmatch(r"[^<]+", value) and value not in ("N", "SECONDS")
    values = [value] if is_printed else ["x", "3", "tiny", "auto", "[x]"]
    for preset, tried in itertools.product([[], ["preset=paper"]], values):
        with contextlib.suppress(UserError, ValueError):
            command.parse([*others, *preset, setting.partition("=")[0] + f"={tried}"])
            return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_setting_in_the_text_is_one(page: Path, configs: Path) -> None:
    known = {setting: any(is_taken(setting, name) for name in COMMANDS) for setting in settings(page)}
    assert not {setting for setting, taken in known.items() if not taken}


# What makes a printed command small enough to be tried here, and the sections whose commands are tried in their order.
GOOD = "/data/unseen/gear/test/good/000.png"
SMALL = {
    "make_synthetic": [
        *("size=64", "workers=1", "several_share=0", "seen.categories=[washer,wood]", "unseen.categories=[gear]"),
        *(f"{side}.{kind}=4" for side in ("seen", "unseen") for kind in ("train_normals", "test_normals", "anomalous")),
        "unseen.train_normals=6",
    ],
    "train_eddm": ["optim.max_steps=3"],
    "train_mdlm": ["loop.steps=4"],
    "contact_sheet": ["size=64", "tile=32", "categories=[gear]"],
    "inspect": [f"images=runs/demo{GOOD}"],
    "describe": [],
    "doctor": ["data=runs/demo/data/unseen/gear"],
}
TRIED = [
    (ROOT / "train" / "README.md", "Every step by hand"),
    (ROOT / "README.md", "Your first hour"),
    (ROOT / "data" / "README.md", "Generated products"),
    (ROOT / "eval" / "README.md", "A vision expert"),
]
LEFT_OUT = {"plan", "export_adapter", "run_all", "app"}  # tried elsewhere, at length; the page does not end by itself
DRIVER = """
import importlib, json, sys
_, jobs, snippet = sys.argv
for name, *arguments in json.loads(jobs):
    print("==", name, *arguments, file=sys.stderr, flush=True)
    sys.argv = [f"scripts.{name}", *arguments]
    try:
        importlib.import_module(f"scripts.{name}").main()
    except SystemExit as error:
        if error.code:
            raise
exec(snippet)
"""


@pytest.mark.slow
def test_the_tiny_commands_run_as_printed(tmp_path: Path) -> None:
    jobs = [
        [name, *arguments, *SMALL.get(name, [])]
        for page, section in TRIED
        for line, name, arguments in STARTED
        if (line.page, line.section) == (page, section) and name in COMMANDS and name not in LEFT_OUT
    ]
    jobs = [[re.sub(r"\bruns/(steps|demo)\b", str(tmp_path / "run"), word) for word in job] for job in jobs]
    jobs = [[word.replace("hex_nut", "gear") for word in job] for job in jobs]  # the one unseen product above
    ran = [job[0] for job in jobs]
    assert ran.index("train_eddm") < ran.index("train_mdlm") < ran.index("inspect")
    jobs = [[re.sub(r"\bruns/", f"{tmp_path}/", word) for word in job] for job in jobs]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "EIAD_DATA": str(tmp_path)}
    look = next(snippet for page, snippet in SNIPPETS if page == ROOT / "models" / "README.md")
    look = re.sub(r'"runs/demo(/data[^"]*)?"', lambda path: f'"{tmp_path}/run{GOOD if path[1] else ""}"', look)
    command = [sys.executable, "-c", DRIVER, json.dumps(jobs), look]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    assert (tmp_path / "run" / "report.html").is_file()
    assert done.stdout.splitlines()[-1].endswith("(64, 64)")  # what the snippet prints: description, score, size
