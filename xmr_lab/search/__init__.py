"""Search: a text, pictures and sounds, together or alone, against Stamps or a folder of one's own.

bridges    what Stamps teaches: ways between pictures, speech, sounds and sentences
sentences  texts in other languages, among English ones
searcher   ranks the items of a collection
index      a folder's vectors, kept, so that only what is new is computed
queries    words and file names become queries
table      results in a terminal
page       results as a contact sheet and as a page
panel      the same in JupyterLab
command    the same on the command line
"""

from .command import index_command, search_command
from .index import FolderIndex
from .panel import search_panel
from .queries import read_queries, read_query
from .searcher import Found, Searcher

__all__ = [
    "FolderIndex",
    "Found",
    "Searcher",
    "index_command",
    "read_queries",
    "read_query",
    "search_command",
    "search_panel",
]
