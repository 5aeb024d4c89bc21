"""Remarks on a set of pictures, one sentence each; empty if there is nothing to remark."""

from collections.abc import Sequence

import numpy as np

Pairs = Sequence[tuple[int, int]] | np.ndarray  # (N, 2)
CUT = 0.5  # fraction of the area lost to the crop; for 16:9 it is 0.44, for 4:3 0.25
NARROW = 16384  # values of 16-bit pictures: a quarter of the range
SMALLEST = 8  # pixels, the shorter side


def cut_away(sizes: Pairs, shape: tuple[int, int] = (1, 1)) -> str:
    """How much area pictures of these (width, height) lose by a central crop to the shape (H, W)."""
    wanted = shape[1] / shape[0]
    width, height = _array(sizes).T
    lost = 1 - np.minimum(width / height / wanted, height / width * wanted)
    most = lost[lost >= CUT]
    if not len(most):
        return ""
    return (
        f"{len(most):,} of {len(sizes):,} pictures lose {_percent(most)} of their area, as only their middle is kept; "
        "where the rest counts, set prepare.fit to pad or stretch"
    )


def enlarged(sizes: Pairs, side: int, *, fit: str) -> str:
    """Whether most pictures of these (width, height) are smaller than the square of `side` pixels that they fill."""
    shorter = np.sort(_array(sizes).max(1) if fit == "pad" else _array(sizes).min(1))
    small = int((shorter < side).sum())
    if 2 * small <= len(sizes):
        return ""
    return (
        f"{small:,} of {len(sizes):,} pictures are smaller than {side} pixels and become larger, not sharper; "
        f"prepare.size={shorter[(len(shorter) - 1) // 2]} would be their own size"
    )


def narrow_range(ranges: Pairs) -> str:
    """Whether most 16-bit pictures, by their (smallest, largest) values, are too dark, and the window that fixes it."""
    window = needed_window(ranges)
    if window is None:
        return ""
    narrow = _narrow(ranges)
    low, high = narrow[:, 0].min(), narrow[:, 1].max()
    return (
        f"{len(narrow):,} of {len(ranges):,} 16-bit pictures have values from {low} to {high} of 65535, which become "
        f"{round(low / 257)} to {round(high / 257)} of 255; set prepare.window=[{window[0]},{window[1]}] to see them"
    )


def tiny(sizes: Pairs) -> str:
    """How many pictures of these (width, height) are smaller than prepare accepts."""
    small = int((_array(sizes).min(1) < SMALLEST).sum())
    if not small:
        return ""
    return f"{small:,} of {len(sizes):,} pictures have a side under {SMALLEST} pixels; their answers mean little"


def needed_window(ranges: Pairs) -> tuple[int, int] | None:
    """The prepare.window for 16-bit pictures of these (smallest, largest) values, if most need one.

    It is a full range such as 12 bits if the values fit into one, else the values.
    """
    narrow = _narrow(ranges)
    if 2 * len(narrow) <= len(ranges):
        return None
    low, high = int(narrow[:, 0].min()), int(narrow[:, 1].max())
    whole = 2 ** high.bit_length() - 1
    return (0, whole) if whole < NARROW else (low, high)


def _array(pairs: Pairs) -> np.ndarray:
    return np.asarray(pairs).reshape(-1, 2)


def _narrow(ranges: Pairs) -> np.ndarray:
    pairs = _array(ranges)
    across = pairs[:, 1] - pairs[:, 0]
    return pairs[(across > 0) & (across < NARROW)]


def _percent(fractions: np.ndarray) -> str:
    low, high = f"{100 * fractions.min():.0f}", f"{100 * fractions.max():.0f}"
    return f"{low} %" if low == high else f"{low} to {high} %"
