"""What grows how fast: the power of one column against another."""

import numpy as np
import pandas as pd


def power(x: pd.Series, y: pd.Series) -> float:
    """b of y = a x^b, by least squares in the logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])
