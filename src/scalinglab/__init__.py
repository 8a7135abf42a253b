"""scalinglab: scaling laws, in-context learning and emergence, measured in one cached DAG."""

__version__ = "0.1.0"
