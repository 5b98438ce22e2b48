"""The arithmetic of steps, epochs and chunks."""

from typing import NamedTuple

from vae_jax.errors import Fault


class Plan(NamedTuple):
    """The arithmetic of steps: `total` of them, `per_epoch` an epoch, at most `chunk` in one program."""

    total: int
    per_epoch: int
    chunk: int
    log_every: int
    validate_every: int

    def logs(self, step: int) -> bool:
        return step % self.log_every == 0 or step == self.total

    def validates(self, step: int) -> bool:
        return step % self.validate_every == 0 or step == self.total

    @property
    def span(self) -> int:
        """The most epochs that a chunk can touch."""
        return (self.chunk + self.per_epoch - 2) // self.per_epoch + 1


def checked_batch(n: int, batch: int) -> int:
    if batch < 1 or batch > n:
        raise Fault(f'batch is {batch}, the training split has {n} examples', f'choose a batch of 1 to {n}')
    return batch


def total_steps(n: int, batch: int, epochs: int | None, steps: int | None) -> int:
    checked_batch(n, batch)
    if (epochs is None) == (steps is None):
        raise Fault('fit needs epochs or steps, and not both', 'pass one of them')
    total = steps if steps is not None else epochs * (n // batch)  # type: ignore[operator]
    if total < 0:
        raise Fault(f'the number of steps is {total}', 'pass epochs or steps of 0 or more')
    return total
