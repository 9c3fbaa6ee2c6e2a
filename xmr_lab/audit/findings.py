"""What an audit says: findings, and the report that holds them."""

from __future__ import annotations

import html
import json
import textwrap
from dataclasses import asdict, dataclass, field
from typing import Literal

__all__ = ["Finding", "Report", "Severity"]

Severity = Literal["error", "warning", "note"]
RANK = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True)
class Finding:
    """One thing that may be wrong.

    Attributes:
        check: the name of the check, such as ``"split-captions"``.
        severity: ``"error"``: the number does not mean what it says; ``"warning"``: it may not, look; ``"note"``: worth
            knowing, and no reason to fail.
        what: in one sentence.
        evidence: the numbers and names by which one sees it.
        why: why it matters.
        remedy: what to do.
        source: where that is written.
    """

    check: str
    severity: Severity
    what: str
    evidence: str
    why: str
    remedy: str
    source: str = ""

    def __str__(self) -> str:
        rows = {"evidence": self.evidence, "why": self.why, "remedy": self.remedy, "source": self.source}
        lines = [f"{self.severity}: {self.what} [{self.check}]"]
        for name, text in rows.items():
            lines += (
                textwrap.wrap(f"{name}: {text}", 100, initial_indent="  ", subsequent_indent="    ") if text else []
            )
        return "\n".join(lines)


@dataclass(frozen=True)
class Report:
    """The findings of an audit, the gravest first, which checks were made and which could not be.

    Attributes:
        findings: see `Finding`.
        made: names of the checks for which there was enough evidence.
        skipped: the others, and what they need.
    """

    findings: list[Finding]
    made: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "findings", sorted(self.findings, key=lambda found: RANK[found.severity]))

    @property
    def ok(self) -> bool:
        """Whether there is neither an error nor a warning."""
        return all(found.severity == "note" for found in self.findings)

    def __str__(self) -> str:
        count = {name: sum(found.severity == name for found in self.findings) for name in RANK}
        told = ", ".join(f"{n} {name}{'s' * (n != 1)}" for name, n in count.items())
        made = f"{len(self.made)} check{'s' * (len(self.made) != 1)} made: {told}."
        rest = f"{len(self.skipped)} not made for want of evidence: {', '.join(self.skipped)}." if self.skipped else ""
        return "\n\n".join([*map(str, self.findings), " ".join([made, rest]).strip()])

    def to_json(self) -> str:
        """For programs: ``{"ok": …, "findings": […], "made": […], "skipped": {…}}``."""
        content = {"ok": self.ok, **asdict(self)}
        return json.dumps(content, indent=1, ensure_ascii=False)

    def _repr_html_(self) -> str:
        cells = [(f.severity, f.what, f.evidence, f.why, f.remedy, f.source) for f in self.findings]
        head = "".join(f"<th>{name}</th>" for name in ("", "what", "evidence", "why it matters", "remedy", "source"))
        rows = ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in cells]
        if not rows:
            return f"<p>{html.escape(str(self))}</p>"
        return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
