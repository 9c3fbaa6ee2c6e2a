"""All checks, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .claims import CLAIMS
from .evidence import Evidence
from .figures import FIGURES
from .findings import Finding, Report
from .rankings import RANKINGS
from .splits import SPLITS
from .tables import TABLES
from .vectors import VECTORS

__all__ = ["CHECKS", "audit"]

Check = Callable[[Evidence], Iterator[Finding]]

CHECKS: dict[str, tuple[str, Check]] = {
    **SPLITS,
    **VECTORS,
    **RANKINGS,
    **FIGURES,
    **CLAIMS,
    **TABLES,
}  # name: (what it needs, the check)


def audit(evidence: Evidence) -> Report:
    """Make every check for which there is evidence.

    Examples:
        >>> import numpy as np
        >>> scores = np.array([[0.5, np.nan], [0.1, 0.9]])
        >>> [finding.check for finding in audit(Evidence(scores=scores)).findings]
        ['not-finite']
    """
    findings, made, skipped = list(evidence.already), [], {}
    for name, (needs, check) in CHECKS.items():
        if not all(evidence.has(need) for need in needs.split()):
            skipped[name] = needs.replace(" ", ", ")
            continue
        made.append(name)
        findings += check(evidence)
    return Report(findings, made, skipped)
