"""The public names: imported when they are asked for, and the same in whatever order things are imported."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

import drofcm
from drofcm.cli import app

HEAVY = ("linopy", "xarray", "pandas", "dask", "distributed", "geopandas", "scipy.stats", "matplotlib", "bokeh")


def fresh(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


ORDERS = {
    "package first": "import drofcm",
    "subpackage first": "import drofcm.solve.execution\nimport drofcm",
    "subpackage between": "import drofcm\nimport drofcm.solve.execution",
    "function first": "import drofcm\ndrofcm.solve\nimport drofcm.solve.execution",
    "function by name": "from drofcm import solve\nimport drofcm.solve.execution\nimport drofcm",
    "module by name": "from drofcm.solve import execution\nimport drofcm",
    "home of the function first": "from drofcm.dsl.program import solve\nimport drofcm",
    "everything": "from drofcm import *\nimport drofcm.solve.execution\nimport drofcm",
    "reloaded": "import importlib, drofcm, drofcm.solve.execution\nimportlib.reload(drofcm)",
}


@pytest.mark.parametrize("order", ORDERS)
def test_solve_is_the_function_in_every_order_of_imports(order: str) -> None:
    proof = """
import sys, types
from drofcm import solve as named
from drofcm.solve.execution import executor
from drofcm.solve import execution
from drofcm.dsl.program import solve as own
assert drofcm.solve is own and named is own, drofcm.solve
assert isinstance(sys.modules["drofcm.solve"], types.ModuleType)
assert execution is sys.modules["drofcm.solve.execution"] and execution.executor is executor
print("right")
"""
    assert fresh(ORDERS[order] + proof) == "right"


def test_a_worker_imports_what_it_needs_and_no_more() -> None:
    code = "import json, sys, drofcm.solve.execution; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(fresh(code)))
    assert loaded.isdisjoint(HEAVY)
    assert not {name for name in loaded if name.startswith(("drofcm.dsl", "drofcm.validate", "drofcm.scenarios"))}


def test_every_public_name_is_there_and_listed_before_it_is_imported() -> None:
    code = "import drofcm, json, sys; print(json.dumps([dir(drofcm), sorted(sys.modules)]))"
    listed, loaded = json.loads(fresh(code))
    assert set(drofcm.__all__) <= set(listed)
    assert "numpy" not in loaded
    for name in drofcm.__all__:
        assert getattr(drofcm, name).__module__.startswith("drofcm.")


def test_what_type_checkers_see_is_what_is_imported() -> None:
    tree = ast.parse(Path(drofcm.__file__).read_text(encoding="utf-8"))
    (seen,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    stated = {alias.name: node.module for node in seen.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert sorted(stated) == sorted(drofcm.__all__)
    for name, module in stated.items():
        assert getattr(drofcm, name) is getattr(importlib.import_module(module), name), name


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="module 'drofcm' has no attribute 'Wassertein'"):
        drofcm.Wassertein  # noqa: B018
    with pytest.raises(ImportError, match="Wassertein"):
        from drofcm import Wassertein  # noqa: F401


def test_a_public_name_can_be_replaced_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    own = drofcm.solve
    with monkeypatch.context() as patch:
        patch.setattr(drofcm, "solve", len)
        assert drofcm.solve is len
    assert drofcm.solve is own


def test_version_is_that_of_the_distribution() -> None:
    assert drofcm.__version__ == metadata.version("drofcm")
    told = CliRunner().invoke(app, ["--version"])
    assert (told.exit_code, told.output) == (0, f"drofcm {drofcm.__version__}\n")
