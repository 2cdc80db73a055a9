"""Changed copies of the problem page: one sign, comparison, step length, shift or arrival at a time."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

PAGE = "drofcm.problems.demand_shock"
DATA = "drofcm.problems.demand_shock_data"

# What does not enter rows or costs: checks of input and the mean scenario have tests of their own.
LEFT_OUT = ("expected_value", "_usual", "check")

_FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.LtE: ast.GtE,
    ast.GtE: ast.LtE,
    ast.Lt: ast.GtE,
    ast.Gt: ast.LtE,
    ast.NotEq: ast.Eq,
}
_OTHER_INSTANT = {"start": "end", "end": "start"}
_STEP_LENGTH = ("hours", "step_length")


@dataclass(frozen=True)
class Mutant:
    """One change of one module.

    Attributes
    ----------
    module
        Name of the module that is changed.
    function
        The function in which it is changed.
    kind
        ``sign``, ``comparison``, ``step length``, ``shift`` or ``arrival``.
    index
        Number of the place among all places of the module.
    text
        The expression before and after.
    """

    module: str
    function: str
    kind: str
    index: int
    text: str

    def __str__(self) -> str:
        return f"{self.function}: {self.kind}: {self.text}"


def mutants(module: str) -> list[Mutant]:
    """Every mutant of a module, in the order of its source."""
    found = []
    for index, (function, kind, before, after) in enumerate(_places(ast.parse(_source(module)))):
        found.append(Mutant(module, function, kind, index, f"{ast.unparse(before)}  ->  {ast.unparse(after)}"))
    return found


def load(mutant: Mutant) -> ModuleType:
    """The problem page with the change, beside the unchanged one."""
    tree = ast.parse(_source(mutant.module))
    _replace(tree, *list(_places(tree))[mutant.index][2:])
    changed = _executed(mutant.module, tree)
    return changed if mutant.module == PAGE else _page_on(changed)


def unchanged() -> ModuleType:
    """The problem page and its data, loaded as mutants are."""
    return _page_on(_executed(DATA, ast.parse(_source(DATA))))


def _page_on(data: ModuleType) -> ModuleType:
    original = sys.modules[DATA]
    sys.modules[DATA] = data
    try:
        return _executed(PAGE, ast.parse(_source(PAGE)))
    finally:
        sys.modules[DATA] = original


def _executed(name: str, tree: ast.Module) -> ModuleType:
    module = ModuleType(name)
    module.__file__ = str(_path(name))
    exec(compile(ast.fix_missing_locations(tree), module.__file__, "exec"), module.__dict__)
    return module


def _path(module: str) -> Path:
    file = importlib.import_module(module).__file__
    assert file is not None
    return Path(file)


def _source(module: str) -> str:
    return _path(module).read_text(encoding="utf-8")


def _places(tree: ast.Module) -> Iterator[tuple[str, str, ast.expr, ast.expr]]:
    """Function, kind, expression and what takes its place; the order depends on the source alone."""
    for function in tree.body:
        if isinstance(function, ast.FunctionDef) and function.name not in LEFT_OUT:
            for node in ast.walk(ast.Module(body=function.body, type_ignores=[])):
                if isinstance(node, ast.expr):
                    for kind, changed in _changes(node):
                        yield function.name, kind, node, changed


def _changes(node: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    match node:
        case ast.BinOp(left, ast.Add(), right):
            yield "sign", ast.BinOp(left, ast.Sub(), right)
        case ast.BinOp(left, ast.Sub(), right):
            yield "sign", ast.BinOp(left, ast.Add(), right)
        case ast.BinOp(left, ast.Mult(), right) if _is_step_length(left):
            yield "step length", right
        case ast.BinOp(left, ast.Mult(), right) if _is_step_length(right):
            yield "step length", left
        case ast.UnaryOp(ast.USub(), operand):
            yield "sign", operand
        case ast.Compare(left, [comparison], [right]) if type(comparison) in _FLIPPED:
            yield "comparison", ast.Compare(left, [_FLIPPED[type(comparison)]()], [right])
        case ast.Compare(left, [ast.Eq()], [right]):
            # a row that no longer holds with equality
            yield "comparison", ast.Compare(left, [ast.LtE()], [right])
            yield "comparison", ast.Compare(left, [ast.GtE()], [right])
        case ast.Call(ast.Attribute(_, "shift") as method, [], [ast.keyword(dim, ast.Constant(1))]):
            yield "shift", ast.Call(method, [], [ast.keyword(dim, ast.Constant(2))])
        case ast.Name(name, ast.Load()) if name in _OTHER_INSTANT:
            yield "arrival", ast.Name(_OTHER_INSTANT[name], ast.Load())


def _is_step_length(node: ast.expr) -> bool:
    match node:
        case ast.Name(name) | ast.Attribute(_, name) | ast.Subscript(_, ast.Constant(name)):
            return name in _STEP_LENGTH
    return False


def _replace(tree: ast.Module, old: ast.expr, new: ast.expr) -> None:
    class Replace(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            return new if node is old else self.generic_visit(node)

    Replace().visit(tree)
