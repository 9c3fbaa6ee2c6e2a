"""Collections of pictures, texts and sounds, and their splits."""

from .audio import Audio, decode_audio
from .check import BrokenFile, BrokenFiles
from .collection import Collection, Item, View
from .folder import load_folder
from .full import DATA_SETS, DataSet, load_data_set
from .image import decode_image
from .splits import near_duplicates, stratified_group_split
from .stamps import load_stamps

__all__ = [
    "DATA_SETS",
    "Audio",
    "BrokenFile",
    "BrokenFiles",
    "Collection",
    "DataSet",
    "Item",
    "View",
    "decode_audio",
    "decode_image",
    "load_data_set",
    "load_folder",
    "load_stamps",
    "near_duplicates",
    "stratified_group_split",
]
