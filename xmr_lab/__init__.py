"""XMR Lab: transfer learning for cross-modal retrieval, in small rooms that data flows through.

    data        collections and their splits            encoders    item -> vector
    fusion      several vectors or scores -> one        matching    two spaces -> one space
    retrieval   queries x gallery -> ranking            metrics     ranking + relevance -> numbers
    experiment  intervals, paired tests                 evaluation  tables of numbers, beside chance
    plots       every figure, each with its alt text    report      provenance, expected numbers
    runner      notebooks -> reports                    book        reports -> pages
    search      all of it, for one query                cli         xmr-lab

Import a room where you need it: ``from xmr_lab.data import load_stamps``. Importing the package alone
is quick: it loads neither torch nor any model.
"""

from xmr_lab._torchaudio import install_stand_in

__all__ = ["__version__"]
__version__ = "0.1.0"

install_stand_in()  # before anything can import torchaudio
