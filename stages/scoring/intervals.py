"""How far a share that was seen in a sample may be from the true one."""

import math

NORMAL_95 = 1.959964  # 95 % of a normal distribution lies within so many standard deviations


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share seen in `count` trials (Wilson 1927, doi:10.1080/01621459.1927.10502953).

    No trials say nothing: 0 to 1.
    """
    if count == 0:
        return 0.0, 1.0
    z = NORMAL_95
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, centre - reach), min(1.0, centre + reach)
