"""Parameters of a notebook: read from its `parameters` cell, checked before anything runs.

The cell tagged ``parameters`` holds one typed assignment a line, with a comment that says what it is and,
at its end, what is allowed::

    seed: int = 0                 # random seed, >= 0
    k: int = 10                   # results per query [1, 1000]
    temperature: float = 0.07     # softness of the contrastive loss (0, 1]
    tier: str = "embedded"        # size of the models {embedded, hub}
    collection: str = ""          # folder of your own collection; empty means Stamps

Types are ``int``, ``float``, ``bool`` and ``str``. A range is ``[a, b]`` (a round bracket leaves its end
out), ``>= a``, ``> a``, ``<= b`` or ``< b``; a choice is ``{a, b, c}``. Without one, any value of the type is
allowed.
"""

from __future__ import annotations

import ast
import io
import math
import re
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat

__all__ = ["Parameter", "check_parameters", "parse_parameters", "read_parameters"]

Value = int | float | bool | str
_TYPES: dict[str, type] = {"int": int, "float": float, "bool": bool, "str": str}
_NUMBER = r"[-+]?[\d.]+(?:e[-+]?\d+)?"
# at the end of a comment: a range, a bound or a choice
_ALLOWED = re.compile(rf"([\[(]\s*{_NUMBER}\s*,\s*{_NUMBER}\s*[\])]|[<>]=?\s*{_NUMBER}|\{{[^{{]*\}})$", re.I)


@dataclass(frozen=True)
class Parameter:
    """One line of a `parameters` cell.

    Examples:
        >>> k, = parse_parameters("k: int = 10  # results per query [1, 1000]")
        >>> k.parse("25"), str(k)
        (25, 'k: int = 10  # results per query [1, 1000]')
        >>> k.parse("0")
        Traceback (most recent call last):
        ValueError: k=0 is not valid: expected an int in [1, 1000]
    """

    name: str
    type: str
    default: Value
    help: str
    allowed: str = ""

    def parse(self, value: Value) -> Value:
        """``value`` (text is read as this parameter's type) if it is allowed.

        Raises:
            ValueError: if it has another type or is out of range; the message says what is valid.
        """
        found = _convert(value, self.type)
        if found is None or not self._allows(found):
            where = f" {'' if self.allowed[0] in '<>' else 'in '}{self.allowed}" if self.allowed else ""
            article = "an" if self.type == "int" else "a"
            raise ValueError(f"{self.name}={value} is not valid: expected {article} {self.type}{where}")
        return found

    def _allows(self, value: Value) -> bool:
        if not self.allowed:
            return True
        if self.allowed.startswith("{"):
            return value in [_convert(choice.strip(" \"'"), self.type) for choice in self.allowed[1:-1].split(",")]
        number, ends = float(value), [float(end) for end in re.findall(_NUMBER, self.allowed, re.I)]
        if self.allowed[0] in "<>":
            above = number > ends[0] if self.allowed[0] == ">" else number < ends[0]
            return above or (number == ends[0] and "=" in self.allowed)
        return (
            ends[0] < number < ends[1]
            or (number == ends[0] and self.allowed[0] == "[")
            or (number == ends[1] and self.allowed[-1] == "]")
        )

    def __str__(self) -> str:
        default = f'"{self.default}"' if self.type == "str" else self.default
        return f"{self.name}: {self.type} = {default}  # {self.help} {self.allowed}".rstrip()


def _convert(value: Value, kind: str) -> Value | None:
    """``value`` as ``kind``, or None if it is something else. An int is a float; a bool is no int."""
    if isinstance(value, str) and kind != "str":
        text = value.strip()
        try:
            value = ast.literal_eval(text.capitalize() if kind == "bool" else text)
        except (ValueError, SyntaxError, TypeError):
            return None
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not _TYPES[kind] or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value


def parse_parameters(source: str, *, name: str = "parameters cell") -> list[Parameter]:
    """The parameters in the source of a `parameters` cell.

    Raises:
        ValueError: if a line is not ``name: type = default  # comment``, or a default is not allowed.
    """
    comments = {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found = []
    for line in ast.parse(source).body:
        text = ast.get_source_segment(source, line)
        comment = comments.get(line.end_lineno or 0)
        typed = isinstance(line, ast.AnnAssign) and ast.unparse(line.annotation) in _TYPES
        if not (isinstance(line, ast.AnnAssign) and typed and line.value and comment):
            raise ValueError(
                f"{name}: {text!r} should read `name: type = default  # what it is [from, to]`, "
                f"where the type is one of {', '.join(_TYPES)}"
            )
        match = _ALLOWED.search(comment)
        allowed = match[0] if match else ""
        parameter = Parameter(
            ast.unparse(line.target),
            ast.unparse(line.annotation),
            ast.literal_eval(line.value),
            comment.removesuffix(allowed).rstrip(" ,;:"),
            allowed,
        )
        parameter.parse(parameter.default)
        found.append(parameter)
    return found


def read_parameters(notebook: Path) -> list[Parameter]:
    """The parameters of a notebook; none if it has no cell tagged `parameters`."""
    for cell in nbformat.read(notebook, as_version=4).cells:
        if "parameters" in cell.metadata.get("tags", []):
            return parse_parameters(cell.source, name=notebook.name)
    return []


def check_parameters(declared: Sequence[Parameter], given: Mapping[str, Value], *, name: str) -> dict[str, Value]:
    """The values in ``given`` that differ from the defaults, each with its declared type.

    Raises:
        ValueError: listing every problem (unknown name, wrong type, out of range) and all that is valid.
    """
    known = {parameter.name: parameter for parameter in declared}
    problems, values = [], {}
    for key, value in given.items():
        try:
            if key not in known:
                raise ValueError(f"{key!r} is not a parameter of this notebook")
            values[key] = known[key].parse(value)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        valid = [f"  {parameter}" for parameter in declared] or ["  (it has none)"]
        raise ValueError("\n".join([f"{name}: {'; '.join(problems)}. Its parameters are:", *valid]))
    return {key: value for key, value in values.items() if value != known[key].default}
