"""Loops over bf16 activations on the CPU, compiled by numba: operations that torch does slowly or in several passes.

bf16 values come as int16 bit patterns; arrays are flat, C contiguous, in NHWC order. A kernel uses one thread and adds
in a fixed order, so it gives the same bits every time. Measured against torch 2.14.1 on a core with AVX-512: max
pooling and its gradient up to 10 times as fast; benchmarks/PROFILE.md says what that is worth in a step.
"""

import numpy as np
from numba import njit

U = np.uintp  # unsigned indices need no check for negative ones, which would prevent vectorising
compiled = njit(cache=True, nogil=True, error_model="numpy")


@njit
def _load(bits):  # type: ignore[no-untyped-def]  # numba infers the types here and below
    """int16 bits of a bf16 -> float32."""
    return np.uint32(np.uint32(np.uint16(bits)) << np.uint32(16)).view(np.float32)


@njit
def _store(value):  # type: ignore[no-untyped-def]
    """float32 -> int16 bits of the nearest bf16, ties to even."""
    bits = np.float32(value).view(np.uint32)
    odd = np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1))
    return np.int16(np.uint32(bits + np.uint32(np.uint32(0x7FFF) + odd)) >> np.uint32(16))


@njit
def _ordered(bits):  # type: ignore[no-untyped-def]
    """bf16 bits as an integer that sorts as the number does; its own inverse."""
    return np.int16(bits ^ np.int16(np.int16(bits >> 15) & np.int16(0x7FFF)))


@njit
def _sigmoid(x):  # type: ignore[no-untyped-def]
    """1 / (1 + exp(-x)) to 3e-6, in float32 arithmetic that vectorises: exp2 of the fraction by its Taylor series."""
    power = min(max(x * np.float32(-1.4426950408889634), np.float32(-120.0)), np.float32(120.0))
    # Adding 1.5 * 2**23 rounds to a whole number, and leaves it in the low bits.
    whole = power + np.float32(12582912.0)
    part = power - (whole - np.float32(12582912.0))  # -0.5 to 0.5
    series = part * np.float32(1.3333558146e-3) + np.float32(9.6181291076e-3)
    series = series * part + np.float32(5.5504108665e-2)
    series = series * part + np.float32(2.4022650696e-1)
    series = series * part + np.float32(6.9314718056e-1)
    series = series * part + np.float32(1.0)
    exponent = np.uint32(np.uint32(np.float32(whole).view(np.uint32) << np.uint32(23)) + np.uint32(0x3F800000))
    return np.float32(1.0) / (np.float32(1.0) + series * np.uint32(exponent).view(np.float32))


@compiled
def max_pool(x, shape, pooled, winner):  # type: ignore[no-untyped-def]
    """2x2 windows of x (N, H, W, C) = `shape`, without an odd last row and column.

    Fills pooled (N, H//2, W//2, C) and winner, int8: which of the four (0 to 3, row by row), the first of equals.
    """
    images, height, width, channels = shape
    row, pixel, out = U(width * channels), U(channels), U(0)
    for image in range(images):
        for i in range(height // 2):
            at = U((image * height + 2 * i) * width * channels)
            for _ in range(width // 2):
                for c in range(pixel):
                    here = at + c
                    a, b = _ordered(x[here]), _ordered(x[here + pixel])
                    d, e = _ordered(x[here + row]), _ordered(x[here + row + pixel])
                    upper, lower = max(a, b), max(d, e)
                    first = np.int8(1) if b > a else np.int8(0)
                    second = np.int8(3) if e > d else np.int8(2)
                    pooled[out + c] = _ordered(max(upper, lower))
                    winner[out + c] = second if lower > upper else first
                out += pixel
                at += U(2) * pixel


@compiled
def max_pool_gradient(gradient, winner, shape, dx):  # type: ignore[no-untyped-def]
    """Fill dx (N, H, W, C) = `shape` with the gradient (N, H//2, W//2, C) where its pixel won, and 0 elsewhere."""
    images, height, width, channels = shape
    pixel = U(channels)
    for image in range(images):
        for y in range(height):
            at = U((image * height + y) * width * channels)
            rest = U(width * channels)
            if y < height // 2 * 2:
                source = U((image * (height // 2) + y // 2) * (width // 2) * channels)
                left = np.int8(y % 2 * 2)
                right = np.int8(left + 1)
                for _ in range(width // 2):
                    for c in range(pixel):
                        value = gradient[source + c]
                        dx[at + c] = value if winner[source + c] == left else np.int16(0)
                    at += pixel
                    for c in range(pixel):
                        value = gradient[source + c]
                        dx[at + c] = value if winner[source + c] == right else np.int16(0)
                    at += pixel
                    source += pixel
                rest = U(width % 2 * channels)
            for c in range(rest):
                dx[at + c] = np.int16(0)


@compiled
def moments(x, images, sums):  # type: ignore[no-untyped-def]
    """Fill sums (2C,), float64, with each channel's sum and sum of squares over x (N, M, C)."""
    pixel, at = U(len(sums) // 2), U(0)
    partial = np.empty(len(sums), np.float32)  # over one image: short enough for float32
    sums[:] = 0
    for _ in range(images):
        partial[:] = np.float32(0)
        for _ in range(len(x) // images // (len(sums) // 2)):
            for c in range(pixel):
                value = _load(x[at + c])
                partial[c] += value
                partial[pixel + c] += value * value
            at += pixel
        for c in range(len(sums)):
            sums[c] += partial[c]


@compiled
def scaled_silu(x, factors, y):  # type: ignore[no-untyped-def]
    """y = silu(scale * x + shift) for x (M, C); factors (2C,), float32: each channel's scale, then its shift."""
    pixel, at = U(len(factors) // 2), U(0)
    for _ in range(len(x) // (len(factors) // 2)):
        for c in range(pixel):
            z = _load(x[at + c]) * factors[c] + factors[pixel + c]
            y[at + c] = _store(z * _sigmoid(z))
        at += pixel


@compiled
def scaled_silu_gradient(x, dy, factors, images, dz, sums):  # type: ignore[no-untyped-def]
    """Of z = scale * x + shift, x (N, M, C): dz = dy * silu'(z); sums (2C,), float64: of dz, and of dz * x."""
    pixel, at = U(len(factors) // 2), U(0)
    partial = np.empty(len(sums), np.float32)
    sums[:] = 0
    for _ in range(images):
        partial[:] = np.float32(0)
        for _ in range(len(x) // images // (len(factors) // 2)):
            for c in range(pixel):
                value = _load(x[at + c])
                z = value * factors[c] + factors[pixel + c]
                gate = _sigmoid(z)
                slope = _load(dy[at + c]) * (gate + z * gate * (np.float32(1.0) - gate))
                dz[at + c] = _store(slope)
                partial[c] += slope
                partial[pixel + c] += slope * value
            at += pixel
        for c in range(len(sums)):
            sums[c] += partial[c]


@compiled
def combined(x, dz, factors, dx):  # type: ignore[no-untyped-def]
    """dx = f * dz + g * x + h for x and dz (M, C); factors (3C,), float32: each channel's f, then its g, its h."""
    pixel, at = U(len(factors) // 3), U(0)
    for _ in range(len(x) // (len(factors) // 3)):
        for c in range(pixel):
            dx[at + c] = _store(
                factors[c] * _load(dz[at + c]) + factors[pixel + c] * _load(x[at + c]) + factors[U(2) * pixel + c]
            )
        at += pixel
