"""Matching: bring two spaces together, from pairs (`RidgeMap`, `CCA`, `TwoTower`, `MaxSimRidge`) or none (`ConSE`).

Each matcher is fitted with ``fit(x, y)`` on paired rows; ``transform(rows, view)`` takes rows of the first
view (0) or the second (1) into the shared space, as rows of length 1.
"""

from .base import Matcher
from .cca import CCA
from .conse import ConSE
from .maxsim import MaxSimRidge, maxsim
from .ridge import RidgeMap
from .two_tower import TwoTower, info_nce

__all__ = ["CCA", "ConSE", "Matcher", "MaxSimRidge", "RidgeMap", "TwoTower", "info_nce", "maxsim"]
