"""A gradient by the score function, and what a gradient costs.

score      a value whose gradient is (log w - baseline) grad log q
timed      what a function returns, and how long it takes
"""

import time
from collections.abc import Callable
from typing import Any


def score(baseline: float, model: Any, params: Any, key: Any, x: Any) -> Any:
    """[] whose gradient is (log w - baseline) grad log q: the plain score function, or one with a constant."""
    from jax.lax import stop_gradient

    z = stop_gradient((q := model.encode(params, x)).sample(key))
    log_w = model.decode(params, z).log_prob(x) + model.prior(params).log_prob(z) - q.log_prob(z)
    return (stop_gradient(log_w) - baseline) * q.log_prob(z) + log_w


def timed(f: Callable[..., Any], *arguments: Any, times: int = 20) -> tuple[Any, float]:
    """(f(*arguments) compiled, as numpy; the least processor time that it took of some, seconds).

    It is the time of this process, whatever else the machine does, and compiling is not in it.
    """
    import jax
    import numpy as np

    run, seconds = jax.jit(f).lower(*arguments).compile(), []
    for _ in range(times):
        started = time.process_time()
        found = np.asarray(run(*arguments))
        seconds.append(time.process_time() - started)
    return found, min(seconds)
