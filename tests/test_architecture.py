"""The house's own rules, read from the sources: who imports whom, what may be in a file.

`docs/architecture.md` says why; these tests say when one is broken.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
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


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, absolute name) of each import, those in functions and under TYPE_CHECKING too."""
    package = next((name for name, root in PACKAGES.items() if path.is_relative_to(root)), None)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            name = node.module or ""
            if node.level and package:
                inside = path.relative_to(PACKAGES[package]).parent.parts
                base = [package, *inside][: 1 + len(inside) - (node.level - 1)]
                name = ".".join([*base, name]).rstrip(".")
            for alias in node.names:
                yield node.lineno, f"{name}.{alias.name}"


def module_of(path: Path, root: Path, package: str) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join([package, *parts]).removesuffix(".__init__")


def import_graph(files: dict[str, Path]) -> dict[str, set[str]]:
    """Which of some modules each of them imports: the module itself, not the packages it is in."""
    graph: dict[str, set[str]] = {}
    for module, path in files.items():
        wanted = set()
        for _, name in imports(path):
            # "from package import name" means the module of that name where there is one.
            found = next((n for n in (name, name.rpartition(".")[0]) if n in files), None)
            if found is not None and found != module:
                wanted.add(found)
        graph[module] = wanted
    return graph


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """The modules of one circle, first and last the same; none if there is no circle."""
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        return list(error.args[1])
    return []


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


@pytest.mark.parametrize("package", PACKAGES)
def test_no_imports_run_in_a_circle(package):
    root = PACKAGES[package]
    graph = import_graph({module_of(path, root, package): path for path in sources(root)})
    assert any(graph.values())
    assert not circle_in(graph), " -> ".join(circle_in(graph))


def test_no_imports_of_the_plug_in_run_in_a_circle():
    graph = import_graph({module_of(path, PLUGIN, "")[1:]: path for path in sources(PLUGIN)})
    assert any(graph.values())
    assert not circle_in(graph), " -> ".join(circle_in(graph))


@pytest.mark.parametrize(
    "back",
    [
        "import pair.one",
        "from pair import one",
        "def f():\n    from pair.one import name",
        "if TYPE_CHECKING:\n    from pair.one import name",
    ],
)
def test_a_circle_is_found_wherever_the_import_stands(tmp_path, back):
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    one.write_text("from pair.two import name\n")
    files = {"pair.one": one, "pair.two": two}
    two.write_text("")
    assert circle_in(import_graph(files)) == []
    two.write_text(f"{back}\n")
    assert set(circle_in(import_graph(files))) == {"pair.one", "pair.two"}


def test_the_client_needs_the_standard_library_and_msgpack_only():
    """It runs inside GIMP, whose Python has neither pip nor our packages."""
    allowed = {*sys.stdlib_module_names, "msgpack", "maskupe_client"}
    wrong = [
        f"{short(path)}:{line} imports {name}"
        for path in sources(PACKAGES["maskupe_client"])
        for line, name in imports(path)
        if name.partition(".")[0] not in allowed
    ]
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


def test_the_plug_in_needs_the_standard_library_and_the_client_only():
    """GIMP's Python has no pip and none of our packages; msgpack's pure form is bundled."""
    allowed = {*sys.stdlib_module_names, "gi", "msgpack", "maskupe_client", "maskupe_plugin"}
    wrong = [
        f"{short(path)}:{line} imports {name}"
        for path in sources(PLUGIN)
        for line, name in imports(path)
        if name.partition(".")[0] not in allowed
    ]
    assert sources(PLUGIN), "there is no plug-in"
    assert not wrong, "\n".join(wrong)


# ------------------------------------------------------------------- one definition per fact

#: Where each of these facts may be written down. What runs inside GIMP cannot import the library,
#: so the wire and the dialog repeat its limits; the values must be the same then.
DEFINED_IN = {
    "MAX_STRENGTH": {
        "maskupe/validation.py",
        "daemon/maskupe_client/messages.py",
        "gimp_plugin/maskupe-local-underexposure/maskupe_plugin/settings.py",
    },
    "MAX_WARMTH": {
        "maskupe/validation.py",
        "daemon/maskupe_client/messages.py",
        "gimp_plugin/maskupe-local-underexposure/maskupe_plugin/settings.py",
    },
    "OUTPUTS": {"maskupe/validation.py", "daemon/maskupe_client/messages.py"},
    "STRIP_PIXELS": {"maskupe/parallel.py"},
    "ITEM_SIZES": {"daemon/maskupe_client/framing.py"},
    "PIXEL_TYPES": {"maskupe/pixel_layout.py"},
    "LUMA": {"maskupe/pixel_layout.py"},
}
#: Tables by type of pixel: the sizes, and GIMP's names and sizes of the same.
TYPE_TABLES = {
    "daemon/maskupe_client/framing.py",
    "gimp_plugin/maskupe-local-underexposure/maskupe_plugin/encoding.py",
}
TYPE_NAMES = ({"u8", "u16", "f32"}, {"uint8", "uint16", "float32"})


def definitions(path: Path) -> Iterator[tuple[str, ast.expr]]:
    """Name, without leading underscores, and value of each constant of a module."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            targets = [node.target]
        for target in targets:
            if isinstance(target, ast.Name):
                yield target.id.lstrip("_"), node.value  # type: ignore[union-attr]


def type_tables(path: Path) -> Iterator[int]:
    """The lines of dictionaries whose keys are the types of pixels, however they are written."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Dict):
            keys = {ast.unparse(key) for key in node.keys if key is not None}
            names = {re.sub(r"^(?:np\.dtype\()?(?:np\.)?|[\"')]", "", key) for key in keys}
            if names in TYPE_NAMES:
                yield node.lineno


@pytest.mark.parametrize("name", DEFINED_IN)
def test_a_fact_is_written_down_where_it_belongs(name):
    found = {
        short(path): ast.unparse(value)
        for path in [*OURS, *sources(PLUGIN), *sources(ROOT / "benchmarks")]
        for known, value in definitions(path)
        if known == name
    }
    assert set(found) == DEFINED_IN[name]
    if name == "OUTPUTS":  # the wire has an order of its own
        assert len({frozenset(ast.literal_eval(value)) for value in found.values()}) == 1
    else:
        assert len(set(found.values())) == 1, found


def test_there_is_one_table_of_the_types_of_pixels():
    files = [*OURS, *sources(PLUGIN), *sources(ROOT / "benchmarks")]
    assert {short(path) for path in files if any(type_tables(path))} == TYPE_TABLES


@pytest.mark.parametrize(
    "table",
    [
        '{"u8": 1, "u16": 2, "f32": 4}',
        "{'uint8': 1, 'uint16': 2, 'float32': 4}",
        "{np.dtype(np.uint8): 0, np.dtype(np.uint16): 1, np.dtype(np.float32): 2}",
    ],
)
def test_a_table_is_found_however_it_is_written(tmp_path, table):
    path = tmp_path / "module.py"
    path.write_text(f"def f():\n    return {table}\n")
    assert list(type_tables(path)) == [2]


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
