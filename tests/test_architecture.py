"""The house's own rules, read from the sources: who imports whom, what may be in a file.

`docs/architecture.md` says why; these tests say when one is broken.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import maskupe

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "maskupe": ROOT / "maskupe",
    "maskupe_client": ROOT / "daemon" / "maskupe_client",
    "maskupe_daemon": ROOT / "daemon" / "maskupe_daemon",
    "maskupe_training": ROOT / "training" / "maskupe_training",
    "maskupe_gimp": ROOT / "gimp_plugin" / "maskupe_gimp",
}
PLUGIN = ROOT / "gimp_plugin" / "maskupe-local-underexposure"
TESTS = ROOT / "tests"

#: Which of our packages each of our packages may import.
MAY_IMPORT = {
    "maskupe": set(),
    "maskupe_client": set(),
    "maskupe_daemon": {"maskupe", "maskupe_client"},
    "maskupe_training": {"maskupe"},
    "maskupe_gimp": {"maskupe", "maskupe_client"},
}


def sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


OURS = [path for folder in PACKAGES.values() for path in sources(folder)]
EVERYTHING = [*OURS, *sources(PLUGIN), *sources(TESTS)]


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path, *, when_run: bool = False) -> Iterator[tuple[int, str]]:
    """(line, absolute name) of each import; ``when_run`` leaves out functions' own ones.

    Imports under ``if TYPE_CHECKING:`` are never run and never count.
    """
    package = next((name for name, root in PACKAGES.items() if path.is_relative_to(root)), None)

    def walk(node: ast.AST) -> Iterator[tuple[int, str]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                for other in child.orelse:
                    yield from walk(other)
            elif isinstance(child, ast.Import):
                for alias in child.names:
                    yield child.lineno, alias.name
            elif isinstance(child, ast.ImportFrom):
                name = child.module or ""
                if child.level and package:
                    inside = path.relative_to(PACKAGES[package]).parent.parts
                    base = [package, *inside][: 1 + len(inside) - (child.level - 1)]
                    name = ".".join([*base, name]).rstrip(".")
                for alias in child.names:
                    yield child.lineno, f"{name}.{alias.name}"
            elif when_run and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            else:
                yield from walk(child)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")))


def test_there_is_something_to_look_at():
    assert len(OURS) > 40 and all(len(sources(folder)) > 3 for folder in PACKAGES.values())


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_run_one_way(package):
    wrong = []
    for path in sources(PACKAGES[package]):
        for line, name in imports(path):
            top = name.partition(".")[0]
            if top in PACKAGES and top != package and top not in MAY_IMPORT[package]:
                wrong.append(f"{short(path)}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_nobody_imports_the_tests():
    wrong = [
        f"{short(path)}:{line}"
        for path in [*OURS, *sources(PLUGIN)]
        for line, name in imports(path)
        if name.partition(".")[0] in ("tests", "pytest", "hypothesis")
    ]
    assert not wrong, wrong


def test_lower_layers_do_not_know_the_higher_ones():
    """Within maskupe: files, areas, maps and renderer know nothing of command lines and jobs."""
    above = ("maskupe.cli", "maskupe.batch", "maskupe.photo_job")
    wrong = []
    for path in sources(PACKAGES["maskupe"]):
        place = path.relative_to(PACKAGES["maskupe"]).parts[0].removesuffix(".py")
        if place in ("cli", "batch", "photo_job"):
            continue
        for line, name in imports(path):
            if name.startswith(above):
                wrong.append(f"{short(path)}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


def modules_after(statement: str) -> set[str]:
    program = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    ("statement", "never"),
    [
        ("import maskupe", {"torch", "numpy", "cv2", "onnxruntime"}),
        ("import maskupe.cli.app", {"torch", "numpy", "cv2", "onnxruntime", "rich"}),
        ("import maskupe.pipeline", {"torch", "matplotlib", "skimage", "scipy"}),
        ("import maskupe.registry, maskupe.weights_file", {"torch", "onnxruntime"}),
        ("import maskupe.io", {"torch", "onnxruntime"}),
        ("import maskupe_daemon.cli", {"torch", "numpy", "cv2", "onnxruntime", "zmq"}),
        ("import maskupe_gimp.cli", {"torch", "numpy", "cv2", "onnxruntime", "zmq"}),
        ("import maskupe_training.cli", {"torch", "numpy", "cv2", "onnxruntime", "rich"}),
        ("import maskupe_daemon.server", {"torch"}),
        ("import maskupe_client.client", {"torch", "numpy", "zmq", "maskupe"}),
    ],
)
def test_what_an_import_brings(statement, never):
    assert not modules_after(statement) & never


# ---------------------------------------------------------------------------- inside GIMP


def test_the_plug_in_needs_the_standard_library_only():
    """GIMP's Python has no pip and none of our packages; msgpack's pure form is bundled."""
    local = {path.stem for path in [*sources(PLUGIN), *sources(PACKAGES["maskupe_client"])]}
    local |= {path.name for path in PLUGIN.iterdir() if path.is_dir()}
    allowed = set(sys.stdlib_module_names) | {"gi", "msgpack", "maskupe_client"} | local
    wrong = []
    for path in [*sources(PLUGIN), *sources(PACKAGES["maskupe_client"])]:
        for line, name in imports(path):
            top = name.partition(".")[0]
            if top and top not in allowed:
                wrong.append(f"{short(path)}:{line} imports {name}")
    assert sources(PLUGIN), "there is no plug-in"
    assert not wrong, "\n".join(wrong)


# -------------------------------------------------------------------------------- security


def test_nothing_is_unpickled_or_evaluated():
    forbidden = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
    wrong = []
    for path in [*OURS, *sources(PLUGIN)]:
        for line, name in imports(path):
            if name.partition(".")[0] in forbidden:
                wrong.append(f"{short(path)}:{line} imports {name}")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            options = {option.arg: ast.unparse(option.value) for option in node.keywords}
            if called in ("eval", "exec", "os.system"):
                wrong.append(f"{short(path)}:{node.lineno} calls {called}")
            if called == "torch.load" and options.get("weights_only") != "True":
                wrong.append(f"{short(path)}:{node.lineno} calls torch.load on anything")
            if called == "np.load" and options.get("allow_pickle", "False") != "False":
                wrong.append(f"{short(path)}:{node.lineno} unpickles arrays")
            if options.get("shell") == "True":
                wrong.append(f"{short(path)}:{node.lineno} runs a shell")
    assert not wrong, "\n".join(wrong)


# ----------------------------------------------------------------------------- housekeeping


def tracked() -> list[Path]:
    """Text files that belong to the project, as git knows them."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    names = [name for name in done.stdout.decode().split("\0") if name]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def test_no_machine_s_paths_and_no_leftovers():
    # Written in two halves so that this file does not find itself.
    pattern = re.compile(
        "|".join(["/" + "home/[a-z]", "/" + "root/", "/" + "work/", r"\.\./" + "shared"])
        + "|"
        + r"\b(?:TO"
        + r"DO|FIX"
        + r"ME|X"
        + r"XX)\b"
    )
    wrong = []
    for path in tracked():
        if path.suffix in (".jpg", ".png", ".tif", ".safetensors", ".onnx", ".so", ".mo"):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            if pattern.search(line):
                wrong.append(f"{short(path)}:{number}: {line.strip()[:100]}")
    assert not wrong, "\n".join(wrong)


def test_the_version_stands_in_one_place():
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'dynamic = ["version"]' in pyproject
    assert 'path = "maskupe/__init__.py"' in pyproject
    assignment = re.compile(r"^__version__\s*=|^version\s*=\s*[\"']\d", re.MULTILINE)
    found = [short(path) for path in EVERYTHING if assignment.search(path.read_text("utf-8"))]
    assert found == ["maskupe/__init__.py"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[?{re.escape(maskupe.__version__)}\b", changelog, re.MULTILINE)


def test_every_console_script_exists():
    tomllib = pytest.importorskip("tomllib")

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    targets = [*project["scripts"].values()]
    for group in project["entry-points"].values():
        targets += group.values()
    for target in targets:
        module, _, function = target.partition(":")
        path = PACKAGES[module.partition(".")[0]].joinpath(*module.split(".")[1:])
        file = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
        tree = ast.parse(file.read_text(encoding="utf-8"))
        names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert function in names, target
