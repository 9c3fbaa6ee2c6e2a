"""The audit: what could be wrong with a retrieval experiment, asked of what it leaves behind.

evidence   scores or embeddings, relevance, splits, trials, printed tables: whatever there is
files      the same, read from Parquet, CSV, NPZ, TREC run and qrels files
findings   what is wrong, how one sees it, why it matters, what to do
splits     does the test know the training? do its queries tune it?
vectors    are the embeddings fit to be compared?
rankings   are the scores fit to be ranked?
figures    do reported figures say what they are called?
claims     do the differences hold?
tables     can printed figures go together?
"""

from .evidence import Evidence
from .files import read_evidence
from .findings import Finding, Report
from .run import CHECKS, audit
from .tables import f1_verdict

__all__ = ["CHECKS", "Evidence", "Finding", "Report", "audit", "f1_verdict", "read_evidence"]
