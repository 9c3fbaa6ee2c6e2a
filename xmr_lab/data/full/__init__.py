"""Full-size data sets, each from the folder that its official archives unpack to: a file for each family."""

from .common import DataSet
from .loading import DATA_SETS, load_data_set, present

__all__ = ["DATA_SETS", "DataSet", "load_data_set", "present"]
