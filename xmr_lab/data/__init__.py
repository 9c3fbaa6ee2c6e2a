"""Collections of pictures, texts and sounds, and their splits."""

from .audio import Audio, decode_audio
from .check import BrokenFile, BrokenFiles
from .collection import Collection, Item, View
from .folder import load_folder
from .image import decode_image
from .splits import near_duplicates, stratified_group_split
from .stamps import load_stamps

__all__ = [
    "Audio",
    "BrokenFile",
    "BrokenFiles",
    "Collection",
    "Item",
    "View",
    "decode_audio",
    "decode_image",
    "load_folder",
    "load_stamps",
    "near_duplicates",
    "stratified_group_split",
]
