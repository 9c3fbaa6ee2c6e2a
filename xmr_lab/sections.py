"""Notebooks on a collection that lacks something: the parts that need it are skipped, and say so."""

from __future__ import annotations

import ast

import pandas as pd
from IPython import get_ipython

__all__ = ["Sections"]


class Sections:
    """Which parts of a notebook apply to a collection.

    Call it at the start of each part, in a cell of its own, with what the part needs. If the collection has less, a
    line says so, and the cells up to the next such call are skipped; cells that call it never are. A part without
    needs always runs.

    Args:
        have: how much there is of each thing, such as ``pictures=792, training_pairs=471``.

    Examples:
        >>> section = Sections(pictures=10, captions=0)
        >>> section("1 · Pictures", pictures=2)
        >>> section("2 · Pairs", pictures=2, captions=2)
        2 · Pairs does not apply here: it needs captions (2 at least, found 0).
        >>> section.summary()["applies"].tolist()
        ['yes', 'no: it needs captions (2 at least, found 0)']
    """

    def __init__(self, **have: int) -> None:
        self.have, self.parts = dict(have), dict[str, str]()
        self.skipping = ""
        if (shell := get_ipython()) is not None:
            transforms = shell.input_transformers_post
            transforms[:] = [each for each in transforms if not isinstance(getattr(each, "__self__", None), Sections)]
            transforms.append(self.transform)

    def __call__(self, part: str, **needs: int) -> None:
        """Begin a part of the notebook.

        Raises:
            ValueError: if something is needed that was never counted.
        """
        if unknown := set(needs) - set(self.have):
            raise ValueError(f"{part!r} needs {', '.join(sorted(unknown))}; counted were {', '.join(self.have)}")
        short = [
            f"{name.replace('_', ' ')} ({n} at least, found {self.have[name]})"
            for name, n in needs.items()
            if self.have[name] < n
        ]
        self.parts[part] = f"no: it needs {', '.join(short)}" if short else "yes"
        self.skipping = f"{part} does not apply here: it needs {', '.join(short)}." if short else ""
        if short:
            print(self.skipping)

    def transform(self, lines: list[str]) -> list[str]:
        """The cell as it is, or nothing while parts are skipped."""
        return [] if self.skipping and not self._begins_part("".join(lines)) else lines

    def _begins_part(self, code: str) -> bool:
        """Whether the cell calls this object, by any of its names."""
        try:
            calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
        except SyntaxError:
            return True  # let Python say what is wrong
        shell = get_ipython()
        names = {name for name, value in (shell.user_ns if shell else {}).items() if value is self}
        functions = [call.func.value if isinstance(call.func, ast.Attribute) else call.func for call in calls]
        return any(isinstance(function, ast.Name) and function.id in names for function in functions)

    def summary(self) -> pd.DataFrame:
        """One row a part: whether it applied, and if not, why."""
        return pd.DataFrame({"applies": self.parts.values()}, index=pd.Index(self.parts, name="part"))
