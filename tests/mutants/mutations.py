"""The mutants of a source file: copies of it that are wrong in one place.

A mutant changes one comparison, condition, operator, number or truth value, leaves out one statement, returns nothing, or
lets one exception pass. It keeps all line numbers. Left alone are annotations, docstrings and other text, imports, and
``del`` of a local name.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

COMPARISONS = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
OPERATORS = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.BitOr: ("|", "&"),
    ast.BitAnd: ("&", "|"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
}


@dataclass(frozen=True)
class Mutant:
    """One change, named so that it is found again when lines have moved: by its function, its line's text and the change."""

    line: int
    last_line: int
    function: str  # its qualified name; empty: outside all functions
    text: str  # the line, stripped
    change: str
    source: str
    number: int = 1  # of those with the same names

    @property
    def name(self) -> str:
        number = f" ({self.number})" if self.number > 1 else ""
        return f"{self.function or 'module'}: {self.text} => {self.change}{number}"


class _Mutations(ast.NodeVisitor):
    def __init__(self, source: str) -> None:
        self.source = source
        self.lines = source.encode().splitlines(keepends=True)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))
        self.whole = source.encode()
        self.names: list[str] = []
        self.functions = 0
        self.assigned: list[dict[str, int]] = []
        self.found: list[Mutant] = []

    # Where a node lies, and what stands in its place

    def span(self, node: ast.AST) -> tuple[int, int]:
        assert isinstance(node, ast.expr | ast.stmt | ast.excepthandler)
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self.starts[node.lineno - 1] + node.col_offset, self.starts[node.end_lineno - 1] + node.end_col_offset

    def replace(self, node: ast.AST, text: str, change: str, span: tuple[int, int] | None = None) -> None:
        begin, end = span or self.span(node)
        removed = self.whole[begin:end]
        lost = removed.count(b"\n") - text.count("\n")
        if lost > 0:
            # Line numbers stay: within brackets, or after the statement.
            text = f"({text}" + "\n" * lost + ")" if isinstance(node, ast.expr) else text + "\n" * lost
        mutated = (self.whole[:begin] + text.encode() + self.whole[end:]).decode()
        line = self.whole[:begin].count(b"\n") + 1
        last = self.whole[:end].count(b"\n") + 1
        stripped = self.lines[line - 1].decode().split("  #")[0].strip()
        self.found.append(Mutant(line, last, ".".join(self.names) if self.functions else "", stripped, change, mutated))

    def text(self, node: ast.AST) -> str:
        begin, end = self.span(node)
        return self.whole[begin:end].decode()

    def between(self, left: ast.AST, right: ast.AST, symbol: str) -> tuple[int, int]:
        """Return where an operator stands between its operands: brackets and comments may be there too."""
        begin, end = self.span(left)[1], self.span(right)[0]
        at = self.whole.index(symbol.encode(), begin, end)
        return at, at + len(symbol)

    # Expressions

    def visit_Compare(self, node: ast.Compare) -> None:
        left: ast.expr = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            old, new = COMPARISONS[type(operator)]
            self.replace(node, new, f"{old} -> {new}", self.between(left, right, old))
            left = right
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        texts = (ast.Constant, ast.JoinedStr)
        is_text = isinstance(node.left, texts) and isinstance(getattr(node.left, "value", ""), str)
        if type(node.op) in OPERATORS and not is_text:
            old, new = OPERATORS[type(node.op)]
            self.replace(node, new, f"{old} -> {new}", self.between(node.left, node.right, old))
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        word = "and" if isinstance(node.op, ast.And) else "or"
        for left_out in node.values:
            rest = f" {word} ".join(f"({self.text(value)})" for value in node.values if value is not left_out)
            flat = " ".join(self.text(left_out).split())
            self.replace(node, f"({rest})", f"without {word} {flat}")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self.replace(node, f"({self.text(node.operand)})", "without not")
        elif isinstance(node.op, ast.USub):
            self.replace(node, f"({self.text(node.operand)})", "without -")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self.replace(node, str(not value), f"{value} -> {not value}")
        elif isinstance(value, int):
            for other in (value + 1, value - 1):
                self.replace(node, f"({other})" if other < 0 else str(other), f"{value} -> {other}")
        elif isinstance(value, float):
            self.replace(node, repr(value * 10 or 1.0), f"{value} -> {value * 10 or 1.0}")

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.condition(node.test)
        self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Text."""

    def condition(self, node: ast.expr) -> None:
        for value in ("True", "False"):
            if self.text(node) != value:
                flat = " ".join(self.text(node).split())
                self.replace(node, value, f"{flat} -> {value}")

    # Statements

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" in self.text(node.test):
            return
        self.condition(node.test)
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        if self.text(node.test) != "True":
            self.replace(node.test, "False", f"while {self.text(node.test)} -> False")
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self.condition(test)
        self.generic_visit(node)

    def leave_out(self, node: ast.stmt) -> None:
        self.replace(node, "pass", "left out")

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant):
            return  # a docstring
        self.leave_out(node)
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if self.functions and not all(self.is_first(target) for target in node.targets):
            self.leave_out(node)
        self.generic_visit(node)

    def is_first(self, target: ast.expr) -> bool:
        """Return True if only this statement gives the name a value: without it the function raises NameError at once."""
        if isinstance(target, ast.Tuple):
            return all(self.is_first(element) for element in target.elts)
        return isinstance(target, ast.Name) and self.assigned[-1].get(target.id, 0) < 2

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            if self.functions and not isinstance(node.target, ast.Name):
                self.leave_out(node)
            self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.leave_out(node)
        if type(node.op) in OPERATORS:
            old, new = OPERATORS[type(node.op)]
            self.replace(node, new, f"{old}= -> {new}=", self.between(node.target, node.value, old))
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None and self.text(node.value) != "None":
            self.replace(node, "return None", "return None")
        elif node.value is None:
            self.leave_out(node)
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self.leave_out(node)
        self.generic_visit(node)

    def visit_Break(self, node: ast.Break) -> None:
        self.leave_out(node)

    def visit_Continue(self, node: ast.Continue) -> None:
        self.leave_out(node)

    def visit_Delete(self, node: ast.Delete) -> None:
        if not all(isinstance(target, ast.Name) for target in node.targets):
            self.leave_out(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type is not None:
            self.replace(node.type, "()", f"except {self.text(node.type)} lets it pass")
        for statement in node.body:
            self.visit(statement)

    def visit_Import(self, node: ast.Import) -> None:
        """Nothing would run."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Nothing would run."""

    # Functions and classes

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.names.append(node.name)
        for statement in node.body:
            self.visit(statement)
        self.names.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for default in (*node.args.defaults, *(default for default in node.args.kw_defaults if default)):
            self.visit(default)
        counts: dict[str, int] = {}
        for argument in ast.walk(node.args):
            if isinstance(argument, ast.arg):
                counts[argument.arg] = 1
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                counts[inner.id] = counts.get(inner.id, 0) + 1
            if isinstance(inner, ast.Global | ast.Nonlocal):
                counts.update(dict.fromkeys(inner.names, 2))
        self.assigned.append(counts)
        self.names.append(node.name)
        self.functions += 1
        for statement in node.body:
            self.visit(statement)
        self.functions -= 1
        self.names.pop()
        self.assigned.pop()

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)


def mutants(source: str) -> Iterator[Mutant]:
    """Return the mutants of a source, in the order of the file; the same change of a line once."""
    mutations = _Mutations(source)
    mutations.visit(ast.parse(source))
    seen = set()
    names: Counter[str] = Counter()
    for mutant in sorted(mutations.found, key=lambda found: found.line):
        if mutant.source not in seen:
            seen.add(mutant.source)
            names[mutant.name] += 1
            yield replace(mutant, number=names[mutant.name])
