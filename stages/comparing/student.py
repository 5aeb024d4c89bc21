"""Student's t without scipy: the few lines that an interval over some seeds needs."""

import math
from statistics import NormalDist

STEPS = 300  # of the continued fraction; it settles after some dozens
TINY = 1e-300  # stands in for a zero that would be divided by


def two_sided_p(t: float, freedom: float) -> float:
    """Probability of a |t| at least as large, with `freedom` degrees of freedom, a fraction perhaps."""
    if math.isinf(t):
        return 0.0
    return _incomplete_beta(freedom / (freedom + t * t), freedom / 2, 0.5)


def critical_t(freedom: float, *, level: float = 0.95) -> float:
    """The t whose two tails together hold 1 - `level`."""
    if freedom > 1e5:  # there the two agree to five digits
        return NormalDist().inv_cdf((1 + level) / 2)
    low, high = 0.0, 1.0
    while two_sided_p(high, freedom) > 1 - level:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided_p(middle, freedom) > 1 - level else (low, middle)
    return high


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # the fraction is quick on one side only
        return 1 - _incomplete_beta(1 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(log_front) * _fraction(x, a, b) / a


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction 26.5.8 of Abramowitz and Stegun, from the front (Lentz 1976, doi:10.1364/AO.15.000668)."""
    value, numerator, denominator = 1.0, 1.0, 0.0
    for step in range(STEPS):
        m = step // 2
        if step == 0:
            term = 1.0
        elif step % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        denominator = 1 / ((1 + term * denominator) or TINY)
        numerator = (1 + term / numerator) or TINY
        value *= numerator * denominator
        if step and abs(numerator * denominator - 1) < 1e-15:
            break
    return value - 1
