"""XMR Lab: transfer learning for cross-modal retrieval, in small rooms that data flows through.

    data        collections and their splits            encoders    item -> vector
    fusion      several vectors of one item -> one      transfer    source domain -> target domain
    matching    two or three spaces -> one space        retrieval   queries x gallery -> ranking
    metrics     ranking + relevance -> numbers          audit       what could be wrong with them
    experiment  seeds, intervals, comparisons           report      provenance, expected, notebooks
    plots       every figure, each with its alt text    cli         xmr-lab

Import a room where you need it: ``from xmr_lab.data import load_stamps``. Importing the package alone
is quick: it loads neither torch nor any model.
"""

from xmr_lab._torchaudio import install_stand_in

__all__ = ["__version__"]
__version__ = "0.1.0"

install_stand_in()  # before anything can import torchaudio
