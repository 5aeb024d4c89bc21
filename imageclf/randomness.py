"""Counter-based random numbers: all randomness is a pure function of its counters, in any order of work.

The mixer is SplitMix64 (Steele, Lea, Flood 2014, doi:10.1145/2660193.2660195) folded over the counters.
"""

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def random_bits(*counters: int | np.ndarray) -> np.ndarray:
    """64 random bits for each element of the broadcast `counters`, uint64.

    >>> int(random_bits(0, 1)) == int(random_bits(0, 1)), int(random_bits(0, 1)) == int(random_bits(1, 0))
    (True, False)
    """
    state = np.zeros(np.broadcast_shapes(*(np.shape(counter) for counter in counters)), np.uint64)
    with np.errstate(over="ignore"):  # the arithmetic is modulo 2**64 on purpose
        for counter in counters:
            state = _mix(state + _GOLDEN + _mix(np.asarray(counter).astype(np.uint64)))
    return state


def random_integers(below: int, *counters: int | np.ndarray) -> np.ndarray:
    """Integers in [0, below), int64. The bias of the modulo is under below / 2**64."""
    return (random_bits(*counters) % np.uint64(below)).astype(np.int64)


def random_fractions(*counters: int | np.ndarray) -> np.ndarray:
    """Uniform random numbers in [0, 1), float64."""
    return (random_bits(*counters) >> np.uint64(11)) * 2.0**-53


def permutation(count: int, *counters: int) -> np.ndarray:
    """A permutation of range(count), int64: the order of the elements' random bits."""
    return np.argsort(random_bits(*counters, np.arange(count)), kind="stable")


def torch_seed(*counters: int) -> int:
    """A seed for a torch generator, within the range of every device."""
    return int(random_bits(*counters)) >> 1


def _mix(bits: np.ndarray) -> np.ndarray:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
