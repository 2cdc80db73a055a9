"""The house itself: dependencies, import direction, what the wheel holds, and that importing has no side effects."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import grimp
import pytest
from importlinter.cli import lint_imports
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

CONDA_NAMES = {"dask-core": "dask", "matplotlib-base": "matplotlib"}
"""Where the conda-forge name of a package is not its PyPI name."""

DATA_FOLDERS = ("datasets", "geo", "studies")


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def requirements(lines: list[str]) -> dict[str, str]:
    parsed = [Requirement(line) for line in lines]
    return {requirement.name.lower(): str(requirement.specifier) for requirement in parsed}


@pytest.fixture(scope="module")
def pyproject(root: Path) -> dict[str, dict]:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def packages(root: Path) -> list[Path]:
    """Folders of the checkout that hold a data package, relative to it."""
    found = sorted(path.parent for name in ("datasets", "geo") for path in (root / name).rglob("datapackage.yaml"))
    assert found, "no datapackage.yaml under datasets/ or geo/"
    return [folder.relative_to(root) for folder in found]


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder, cwd=root)
    (built,) = folder.glob("*.whl")
    return built


# ---- dependencies ---------------------------------------------------------------------------------------------------


def test_pyproject_states_what_environment_states(root: Path, pyproject: dict[str, dict]) -> None:
    environment = YAML(typ="safe").load((root / "environment.yml").read_text(encoding="utf-8"))
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    conda = [line for line in environment["dependencies"] if isinstance(line, str)]
    (pip,) = (part["pip"] for part in environment["dependencies"] if isinstance(part, dict))
    named = requirements(conda) | requirements(pip)
    assert len(named) == len(conda) + len(pip), "a package is named twice"
    assert named.pop("python") == pyproject["project"]["requires-python"]
    named.pop("pip")

    project = pyproject["project"]
    extras = project["optional-dependencies"]
    stated = requirements([*project["dependencies"], *extras["test"], *extras["dev"]])
    assert {CONDA_NAMES.get(name, name): version for name, version in named.items()} == stated


def test_every_dependency_is_bounded_on_both_sides(pyproject: dict[str, dict]) -> None:
    """Conda users and who installs the wheel have no lock: a release that nobody tried must not reach them."""
    project = pyproject["project"]
    extras = project["optional-dependencies"]
    stated = [Requirement(line) for line in (*project["dependencies"], *extras["test"], *extras["dev"])]
    operators = {requirement.name: {part.operator for part in requirement.specifier} for requirement in stated}
    assert {name: found for name, found in operators.items() if found != {">=", "<"}} == {}


def test_the_lock_holds_what_pyproject_asks_for(root: Path, pyproject: dict[str, dict]) -> None:
    lock = (root / "requirements.lock").read_text(encoding="utf-8")
    entries = [entry.split() for entry in lock.replace("\\\n", " ").splitlines()]
    for entry in entries:
        assert any(word.startswith("--hash=sha256:") for word in entry), f"{entry[0]} has no hash"
    assert "://" not in lock, "where packages come from is the business of the machine"
    pinned: dict[str, list[str]] = {}
    for entry in entries:
        name, version = entry[0].split("==")
        pinned.setdefault(canonicalize_name(name), []).append(version)

    project = pyproject["project"]
    extras = project["optional-dependencies"]
    asked = (*project["dependencies"], *extras["test"], *extras["dev"], *pyproject["build-system"]["requires"])
    for requirement in map(Requirement, asked):
        versions = pinned.get(canonicalize_name(requirement.name), [])
        assert versions, f"{requirement.name} is not in requirements.lock: make lock"
        assert all(version in requirement.specifier for version in versions), f"{requirement}: {versions}: make lock"


def test_constraints_are_the_lock_without_hashes(root: Path) -> None:
    lock = (root / "requirements.lock").read_text(encoding="utf-8")
    expected = re.sub(r" \\\n *--hash=\S+", "", lock)
    assert (root / "constraints.txt").read_text(encoding="utf-8") == expected


def test_dependencies_are_those_imported(root: Path, pyproject: dict[str, dict]) -> None:
    """A package that drofcm imports is declared, not found by luck through another one."""
    graph = grimp.build_graph("drofcm", include_external_packages=True)
    external = {module for module in graph.modules if not module.startswith("drofcm")}
    imported = {module.split(".")[0] for module in external} - sys.stdlib_module_names
    declared = requirements(pyproject["project"]["dependencies"])
    top_level = {"ruamel.yaml": "ruamel", "netcdf4": "netCDF4", "power-grid-model": "power_grid_model", "pot": "ot"}
    optional = {"torch", "torch_geometric", "pydantic_core"}  # the last one is a part of pydantic
    assert imported - optional <= {top_level.get(name, name) for name in declared}


# ---- import direction -----------------------------------------------------------------------------------------------


def test_imports_go_one_way(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = lint_imports(config_filename=str(root / "pyproject.toml"), no_cache=True)
    assert status == 0, capsys.readouterr().out


def test_no_module_imports_the_curated_names() -> None:
    """`drofcm/__init__.py` imports from every row; a module that imported it would reach the rows above its own."""
    graph = grimp.build_graph("drofcm")
    assert graph.find_modules_that_directly_import("drofcm") == set()


def test_packages_say_what_they_are(root: Path) -> None:
    silent = [
        str(path.relative_to(root))
        for path in sorted((root / "drofcm").rglob("__init__.py"))
        if not path.read_text(encoding="utf-8").startswith('"""')
    ]
    assert silent == []


# ---- importing drofcm -----------------------------------------------------------------------------------------------

SIDE_EFFECTS = """
import json, logging, multiprocessing, os, sys, threading, warnings
import linopy, numpy, pandas, xarray

def state():
    return {
        "linopy": {key: str(linopy.options[key]) for key in linopy.options._defaults},
        "xarray": {key: str(value) for key, value in xarray.get_options().items()},
        "numpy": str(numpy.get_printoptions()) + str(numpy.geterr()),
        "threads": threading.active_count(),
        "children": len(multiprocessing.active_children()),
        "handlers": len(logging.getLogger().handlers),
        "filters": len(warnings.filters),
        "environment": dict(os.environ),
        "folder": sorted(os.listdir()),
    }

before = state()
import drofcm
for name in drofcm.__all__:
    getattr(drofcm, name)
after = state()
print(json.dumps({
    "changed": [key for key in before if before[key] != after[key]],
    "loaded": sorted(name for name in ("torch", "pandapower", "matplotlib.pyplot") if name in sys.modules),
}))
"""


def test_importing_drofcm_has_no_side_effects(root: Path, tmp_path: Path) -> None:
    # these register what they do on their own import; only the part of drofcm is measured
    preload = "import dask, distributed, geopandas, highspy, linopy, pandera, pyogrio, ruamel.yaml, scipy.special\n"
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", preload + SIDE_EFFECTS],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"changed": [], "loaded": []}


def test_public_names_resolve() -> None:
    import drofcm

    assert len(drofcm.__all__) == len(set(drofcm.__all__))
    assert 1 <= len(drofcm.__all__) <= 35, "the curated names are about 30"
    for name in drofcm.__all__:
        assert getattr(drofcm, name).__doc__, f"drofcm.{name} has no docstring"


# ---- data folders and the wheel -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DATA_FOLDERS)
def test_data_folders_are_never_packages(root: Path, name: str) -> None:
    assert (root / name).is_dir()
    assert list((root / name).rglob("__init__.py")) == []


def test_wheel_lists_the_data(wheel: Path, root: Path, packages: list[Path]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"drofcm"}
    held = {name.removeprefix("drofcm/_data/") for name in names if name.startswith("drofcm/_data/")}
    expected = {
        str(path.relative_to(root))
        for folder in packages
        for path in (root / folder).rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    }
    assert held == expected
    assert "drofcm/py.typed" in names
    modules = {str(path.relative_to(root)) for path in (root / "drofcm").rglob("*.py")}
    assert modules <= set(names)


LOAD_EVERYTHING = """
import importlib.util, sys
from pathlib import Path
import geopandas, pandas
import drofcm
from drofcm import data

home = Path(drofcm.__file__).parent
assert home.is_relative_to(sys.prefix), home
for name in ("datasets", "geo", "studies"):
    assert importlib.util.find_spec(name) is None, f"{name} is importable"
for name in sys.argv[1:]:
    folder = home / "_data" / name
    findings = data.verify_datapackage(folder)
    assert not findings, findings
    parent, label = Path(name).parts[-2:]
    kind = {"feeders": "feeder", "catalogue": "catalogue", "traces": "trace", "geo": "area"}[parent]
    assert data.find_dataset(kind, label) == folder
    if kind == "feeder":
        table = data.load_feeder(label)
        assert table.sizes["bus"] > table.sizes["line"] > 0
    elif kind == "catalogue":
        assert data.load_catalogue(label).sizes["fcm"] > 0
    elif kind == "trace":
        tables = sorted(folder.glob("*.csv"))
        assert tables and all(len(pandas.read_csv(table)) for table in tables)
    else:
        layers = [geopandas.read_file(path) for path in sorted(folder.glob("*.gpkg"))]
        assert layers and all(len(layer) and layer.crs is not None for layer in layers)
    print(name)
"""


def test_installed_wheel_loads_every_dataset(wheel: Path, packages: list[Path], tmp_path: Path) -> None:
    """The wheel in a virtual environment of its own, whose dependencies are those of this one."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)  # the environment of the tests need not have one
    python = home / "bin" / "python"
    run(python, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", wheel, cwd=tmp_path)
    # A path line in a .pth file adds the folder without reading the .pth files in it, so that an editable drofcm there
    # stays out of sight.
    (site,) = home.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    printed = run(python, "-I", "-c", LOAD_EVERYTHING, *packages, cwd=tmp_path)
    assert printed.split() == [str(folder) for folder in packages]


# ---- what must not be in the repository -----------------------------------------------------------------------------


def test_no_machine_paths_in_the_repository(root: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, timeout=60)
    if listed.returncode:
        pytest.skip("not a git checkout")
    machine = re.compile(r"(?<![\w.])/(?:home|root|Users|work)/\w")
    names = [name for name in listed.stdout.split("\0") if name.endswith((".py", ".toml", ".yaml", ".yml", ".md"))]
    found = [
        f"{name}:{number}"
        for name in names
        if (root / name).is_file()
        for number, line in enumerate((root / name).read_text(encoding="utf-8").splitlines(), start=1)
        if machine.search(line)
    ]
    assert found == []
