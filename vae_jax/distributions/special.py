"""Special functions of the densities, in logs and without cancellation. Plain arithmetic: any derivative is right."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

# log sinh(h)/h = sum_k c_k h^(2k): c_k = 2^(2k) B_2k / (2k (2k)!), to 1e-11 for |h| < 1/2
_LOG_SINHC = (1 / 6, -1 / 180, 1 / 2835, -1 / 37800, 1 / 467775, -691 / 3831077250)
_SHIFT = 8  # Stirling's series is used for arguments of at least this
_DEBYE_FROM = 24.0  # and Debye's expansion for orders of at least this: with five terms it is right to 2e-10


def log_sinhc(h: Array) -> Array:
    """log(sinh(h) / h), also at 0: a series for |h| < 1/2, |h| + log1p(-exp(-2 |h|)) - log 2 |h| elsewhere."""
    small = jnp.abs(h) < 0.5
    near, far = jnp.where(small, h, 0.0) ** 2, jnp.where(small, 1.0, jnp.abs(h))
    series = jnp.zeros_like(h)
    for c in reversed(_LOG_SINHC):
        series = near * (series + c)
    return jnp.where(small, series, far + jnp.log1p(-jnp.exp(-2 * far)) - jnp.log(2 * far))


def _stirling(x: Array) -> Array:
    """log Gamma(x) - ((x - 1/2) log x - x + 1/2 log 2 pi) for x >= 8, to 3e-12 (DLMF 5.11.1)."""
    y = 1 / (x * x)
    return (1 / 12 - y * (1 / 360 - y * (1 / 1260 - y / 1680))) / x


def log_rising(log_a: Array, n: Array, log_scale: Array) -> Array:
    """log Gamma(a + n) / Gamma(a) - n log_scale for a = exp(log_a) > 0, n >= 0.

    As a difference of two lgamma it would lose all digits in float32 where a or n is large (by nats from 1e5 on).
    """
    a = jnp.exp(log_a)
    some = n > 0
    first = jnp.where(some, -jax.nn.softplus(jnp.log(jnp.where(some, n, 1.0)) - log_a), 0.0)  # log a / (a + n)
    for i in range(1, _SHIFT, 3):
        # three a logarithm: the product of more would underflow
        rest = [(a + j) / (a + n + j) for j in range(i, min(i + 3, _SHIFT))]
        first = first + jnp.log(math.prod(rest[1:], start=rest[0]))
    low = a + _SHIFT
    # one logarithm of a ratio near one, but for scales whose exponential is out of range
    within = jnp.where(jnp.abs(log_scale) < 60, log_scale, 0.0)
    powers = n * (jnp.log((low + n) * jnp.exp(-within)) - (log_scale - within) - 1)
    return first + (low - 0.5) * jnp.log1p(n / low) + powers + _stirling(low + n) - _stirling(low)


def _less_at_one(coefficients: dict[int, float]) -> np.ndarray:
    """Coefficients of (D(t) - D(1)) / (t - 1), lowest power first, of a polynomial D = {power: coefficient}."""
    dense = np.zeros(max(coefficients) + 1)
    dense[list(coefficients)] = list(coefficients.values())
    return np.cumsum(dense[:0:-1])[::-1]


# log sum_k U_k(t) / m^k = sum_k D_k(t) / m^k, with the U_k of DLMF 10.41.10
_DEBYE = tuple(
    _less_at_one(d)
    for d in (
        {1: 1 / 8, 3: -5 / 24},
        {2: 1 / 16, 4: -3 / 8, 6: 5 / 16},
        {3: 25 / 384, 5: -531 / 640, 7: 221 / 128, 9: -1105 / 1152},
        {4: 13 / 128, 6: -71 / 32, 8: 531 / 64, 10: -339 / 32, 12: 565 / 128},
        {5: 1073 / 5120, 7: -50049 / 7168, 9: 186821 / 4608, 11: -44899 / 512, 13: 82825 / 1024, 15: -82825 / 3072},
    )
)


def _debye(kappa: Array, order: float) -> tuple[Array, Array]:
    """(F, kappa - F) for F = log Gamma(m + 1) I_m(kappa) (2 / kappa)^m and a large order m (DLMF 10.41.3).

    F = m (s - 1 - log((1 + s) / 2)) - 1/2 log s + sum_k (D_k(t) - D_k(1)) / m^k with s = sqrt(1 + (kappa / m)^2) and
    t = 1 / s: each term is proportional to kappa^2 near 0.
    """
    z = kappa / order
    s = jnp.sqrt(1 + z * z)
    above = z * z / (1 + s)  # s - 1
    middle = order * jnp.log1p(above / 2) + 0.5 * jnp.log1p(above)
    for k, coefficients in enumerate(_DEBYE, 1):
        middle = middle + above / s * jnp.polyval(jnp.asarray(coefficients[::-1], s.dtype), 1 / s) / order**k
    return order * above - middle, kappa * (1 + 1 / (s + z)) / (1 + s) + middle


def log_sphere_mean(kappa: Array, dims: int) -> tuple[Array, Array]:
    """(F, kappa - F), F(kappa) = log E[exp(kappa x_1)] over the unit sphere of R^dims, for kappa > 0; F(0) = 0.

    F = log Gamma(v + 1) I_v(kappa) (2 / kappa)^v with v = dims/2 - 1: Debye's expansion at a high order, and then down
    by the recurrence I_(w) = I_(w+2) + 2 (w+1) / kappa I_(w+1), whose logarithms all have one sign.
    """
    order = dims / 2 - 1
    steps = max(0, math.ceil(_DEBYE_FROM - order))
    top = order + steps
    (log_mean, less), (slope, _) = jax.jvp(lambda k: _debye(k, top), (kappa,), (jnp.ones_like(kappa),))
    ratio = 2 * (top + 1) * slope / kappa  # of I_(w+1) to I_w, times 2 (w + 1) / kappa: between 0 and 1

    def down(carry: tuple[Array, Array], w: Array) -> tuple[tuple[Array, Array], None]:
        ratio, total = carry
        u = kappa * (kappa * ratio) / (4 * (w + 1) * (w + 2))
        return (1 / (1 + u), total + jnp.log1p(u)), None

    # a scan: unrolled, it would take seconds to compile
    orders = jnp.asarray(top - 1 - np.arange(steps), kappa.dtype)
    (_, total), _ = lax.scan(down, (ratio, jnp.zeros_like(kappa)), orders)
    return log_mean + total, less - total


def log_beta_mean(kappa: Array, dims: int) -> Array:
    """log E[((1 + x_1) / 2)^kappa] over the unit sphere of R^dims, for kappa >= 0: minus a sum of positive terms.

    = -log (2b)_kappa / (b)_kappa with b = (dims - 1) / 2: a product of b ratios, and for even dims of half a one more.
    """
    b = (dims - 1) / 2
    whole = (dims - 1) // 2
    total = jnp.sum(jnp.log1p(kappa / (b + jnp.arange(whole, dtype=kappa.dtype))))
    if dims % 2:
        return -total
    # Gamma(x + 1/2) / Gamma(x) at x = 2b - 1/2 + kappa over itself at kappa = 0: twelve steps up, then a series in 1/y
    x = b + whole + jnp.arange(12, dtype=kappa.dtype)
    total = total + jnp.sum(jnp.log1p(0.5 * kappa / (x * (x + kappa + 0.5))))
    y = b + whole + 12 - 0.25
    series = lambda y: (1 / 64 - (5 / 2048 - 61 / 49152 / (y * y)) / (y * y)) / (y * y)
    return -(total + 0.5 * jnp.log1p(kappa / y) + series(y + kappa) - series(y))
