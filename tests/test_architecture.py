"""The structure holds: imports go one way, rooms stay small, the front stays light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("mms", "loaders", "loadtests")
MAX_MODULE_LINES = 350
MAX_FUNCTION_LINES = 60

PARTS = ("pickles", "rows")  # what the formats' loaders are made of
FORMATS = ("sklearn", "onnx", "boosting", "scripts")
# modules that others stand on
SINGLE = ("base", "sniff", "faults", "manifest", "folder", "environment", "allocation")
UNDER = {"loaders.base", "loaders.sniff", "loaders.faults"}
BELOW = {f"loaders.{name}" for name in PARTS}
# Who may import whom, by room. What isn't named here is a leaf and may be imported from anywhere.
LAYERS: dict[str, set[str]] = {
    "mms.cli": {"mms.app", "mms.demo", "mms.scan"},
    "mms.scan": {"mms.fleet", "mms.store"},
    "mms.app": {"mms.api", "mms.engine", "mms.fleet", "mms.store"},
    "mms.api": set(),
    "mms.engine": {"mms.fleet", "mms.store"},
    "mms.fleet": set(),
    "mms.store": set(),
    "mms.worker": {
        "mms.fleet",
        "loaders",
        "loaders.allocation",
        "loaders.base",
        "loaders.environment",
        "loaders.scripts",
    },
    "mms.demo": set(),
    "loaders": {f"loaders.{name}" for name in (*PARTS, *FORMATS, *SINGLE)},
    **{f"loaders.{name}": UNDER for name in PARTS},
    "loaders.sklearn": {"loaders.environment"} | UNDER | BELOW,
    "loaders.boosting": UNDER | BELOW,
    "loaders.onnx": {"loaders.base", "loaders.sniff", "loaders.rows", "loaders.allocation"},
    "loaders.scripts": {"loaders.base", "loaders.folder", "loaders.rows", "loaders.sklearn"},
    **{f"loaders.{name}": {"loaders.base"} for name in ("sniff", "manifest", "environment")},
    "loaders.faults": set(),
    "loaders.folder": {"loaders.base", "loaders.manifest", "loaders.sniff"},
    "loaders.base": set(),
    "loaders.allocation": set(),
    "loadtests": set(),
}
LEAVES = {"mms", "mms.errors", "mms.types", "mms.target", "mms.redaction"}
LEAF_ROOMS = ("mms.media", "mms.settings", "mms.log", "mms.metrics")
SHARED_WITH_WORKERS = {"mms.fleet.wire", "mms.fleet.payloads", "mms.fleet.page"}
S3 = {"mms.store.s3", "mms.store.s3_client", "mms.store.s3_gets"}
HEAVY = {"numpy", "pandas", "joblib", "sklearn", "onnxruntime", "scipy"}


def modules() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= members if all(map(is_module, members)) else members | {node.module}
    return found


def room(module: str) -> str | None:
    candidates = [r for r in LAYERS if module == r or module.startswith(r + ".")]
    return max(candidates, key=len, default=None)


MODULES = list(modules())
BY_NAME = [pytest.param(name, path, id=name) for name, path in MODULES]


@pytest.mark.parametrize(("name", "path"), BY_NAME)
def test_imports_go_one_way(name: str, path: Path) -> None:
    """A room imports only the rooms below it."""
    here = room(name)
    for imported in imports(path):
        there = room(imported)
        if there is None or there == here:
            continue
        if here is None:
            assert name.endswith("__main__"), f"{name} is a leaf and imports {imported}"
            continue
        if here == "mms.worker" and there == "mms.fleet":
            assert any(imported.startswith(m) for m in SHARED_WITH_WORKERS | {"mms.fleet"})
        assert there in LAYERS[here], f"{name} imports {imported}"


@pytest.mark.parametrize(("name", "path"), BY_NAME)
def test_frameworks_stay_in_their_rooms(name: str, path: Path) -> None:
    """boto3 is the store's, Starlette the API's, and the front knows no array library."""
    roots = {imported.split(".")[0] for imported in imports(path)}
    if not name.startswith(("mms.demo", "loadtests")) and name not in S3:
        assert not {"boto3", "botocore"} & roots
    peers = "loadtests.bench.servers"  # what users write by hand
    if not name.startswith(("mms.api", "mms.app", peers)):
        assert not {"starlette", "uvicorn"} & roots
    if name.startswith("mms") and not name.startswith(("mms.worker", "mms.demo")):
        assert not HEAVY & roots


@pytest.mark.parametrize(("name", "path"), BY_NAME)
def test_rooms_stay_small(name: str, path: Path) -> None:
    """A module one wouldn't like to live in is rebuilt, not extended; so is a function."""
    text = path.read_text()
    if "allowlist" not in name:  # generated data
        assert text.count("\n") <= MAX_MODULE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{name}.{node.name}: {lines} lines"


def test_every_room_says_what_it_is() -> None:
    """Every module opens with a docstring; package files may be empty."""
    for name, path in MODULES:
        tree = ast.parse(path.read_text())
        if tree.body:
            assert ast.get_docstring(tree), f"{name} has no docstring"


def test_no_module_of_the_source_is_a_leaf_by_accident() -> None:
    """A new room gets a place in the table above."""
    for name, _ in MODULES:
        is_leaf = name in LEAVES or name.startswith(LEAF_ROOMS)
        assert room(name) or is_leaf or name.endswith("__main__"), name


def test_only_the_settings_read_the_environment() -> None:
    """``os.environ`` stands where settings are read, and where children's are made."""
    readers = {
        name
        for name, path in MODULES
        if any(
            isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
            for node in ast.walk(ast.parse(path.read_text()))
        )
    }
    allowed = {"mms.cli", "mms.settings", "mms.app.application", "mms.scan.run"}
    children = ("mms.demo", "mms.fleet", "loadtests.bench")
    assert {r for r in readers if not r.startswith(children)} <= allowed


def test_the_front_imports_no_machine_learning() -> None:
    """What ``mms serve`` imports before it listens holds no array library and no boto3."""
    code = (
        "import sys, mms.app; "
        f"print(sorted(m for m in sys.modules if m in {sorted(HEAVY | {'boto3', 'loaders'})!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"


def worker_side() -> list[Path]:
    """What an older interpreter has to read: everything that a worker imports of ours."""
    code = "import sys; from mms.worker import zygote, runtime; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = set(done.stdout.split())
    lazily = {name for name, _ in MODULES if name.startswith(("loaders", "mms.worker"))}
    by_hand = {"loaders.pickles.generate_allowlist"}
    return [path for name, path in MODULES if name in (loaded | lazily) - by_hand]


def test_workers_run_on_an_older_python() -> None:
    """A worker may run in an environment of its own, which may have Python 3.9."""
    paths = [str(path) for path in worker_side()]
    assert len(paths) > 40
    vermin = [str(Path(sys.executable).with_name("vermin")), "-t=3.9-", "--no-tips", "--violations"]
    found = subprocess.run([*vermin, *paths], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
    for path in paths:
        text = Path(path).read_text()
        assert not re.search(r"isinstance\([^()]*\|", text), f"{path}: isinstance with X | Y"
        assert not re.search(r"[*+?}]\+[^=+ ,]", text), f"{path}: a possessive quantifier"
