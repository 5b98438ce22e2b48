"""Many runs in one PyTorch program, by hand: every parameter has a leading axis of runs.

Dense layers are `baddbmm`, convolutions have one group a run, and one fused Adam steps them all.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.task import Task, pixels

torch.set_num_threads(2)


def _uniform(fan_in: int, *shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape).uniform_(-(fan_in**-0.5), fan_in**-0.5))


class Dense(nn.Module):
    """x [n, b, k] -> [n, b, d]."""

    def __init__(self, n: int, k: int, d: int) -> None:
        super().__init__()
        self.weight, self.bias = _uniform(k, n, k, d), _uniform(k, n, 1, d)

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)


class Mlp(nn.Module):
    def __init__(self, n: int, latent: int, hidden: int) -> None:
        super().__init__()
        self.encode = nn.Sequential(Dense(n, 784, hidden), nn.ReLU(), Dense(n, hidden, 2 * latent))
        self.decode = nn.Sequential(Dense(n, latent, hidden), nn.ReLU(), Dense(n, hidden, 784))


class Conv(nn.Module):
    """As `with_torch.Conv`; channels of all runs lie side by side, [b, n c, h, w]."""

    def __init__(self, n: int, latent: int, channels: tuple[int, int], dense: int) -> None:
        super().__init__()
        (c, d), self.n = channels, n
        flat = 7 * 7 * d
        self.down = nn.Sequential(
            nn.Conv2d(n, n * c, 3, 2, 1, groups=n), nn.ReLU(), nn.Conv2d(n * c, n * d, 3, 2, 1, groups=n), nn.ReLU()
        )
        self.encoder = nn.Sequential(Dense(n, flat, dense), nn.ReLU(), Dense(n, dense, 2 * latent))
        self.decoder = nn.Sequential(Dense(n, latent, dense), nn.ReLU(), Dense(n, dense, flat), nn.ReLU())
        self.up = nn.Sequential(
            nn.ConvTranspose2d(n * d, n * c, 4, 2, 1, groups=n),
            nn.ReLU(),
            nn.ConvTranspose2d(n * c, n, 4, 2, 1, groups=n),
        )

    def encode(self, x: Tensor) -> Tensor:
        y = self.down(x.view(self.n, -1, 28, 28).transpose(0, 1))
        return self.encoder(y.view(len(y), self.n, -1).transpose(0, 1))

    def decode(self, z: Tensor) -> Tensor:
        y = self.decoder(z).transpose(0, 1)
        return self.up(y.reshape(len(y), -1, 7, 7)).flatten(2).transpose(0, 1)


def _train(net: nn.Module, task: Task, lap) -> None:
    """A lap is `steps` steps of each of `runs` runs, each with an order and noise of its own, and one learning rate."""
    torch.set_flush_denormal(True)  # as XLA does
    torch.manual_seed(0)
    n, steps = task.options['runs'], task.options['steps']
    grey = torch.from_numpy(pixels(task.rows)).view(task.rows, -1).float().div_(255)
    optimizer = torch.optim.Adam(net.parameters(), lr=task.lr, fused=True)
    facts, done = {'parameters': sum(p.numel() for p in net.parameters()) // n}, 0
    while True:
        lap(**facts)
        total = torch.zeros(())
        for _ in range(steps):
            if (i := done % (task.rows // task.batch)) == 0:
                orders = torch.stack([torch.randperm(task.rows) for _ in range(n)])
            rows = orders[:, i * task.batch : (i + 1) * task.batch]
            chosen = grey.index_select(0, rows.flatten()).view(n, task.batch, 784)
            x = torch.rand(n, task.batch, 784).lt_(chosen)
            mean, log_var = net.encode(x).chunk(2, -1)
            z = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
            distortion = F.binary_cross_entropy_with_logits(net.decode(z), x, reduction='sum')
            rate = 0.5 * torch.sum(mean.square() + log_var.exp() - log_var - 1)
            loss = (distortion + rate) / task.batch  # the sum over runs: each has its own gradient
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach()
            done += 1
        facts = {'loss': float(total) / steps / n}


def mlp(task: Task, lap) -> None:
    """784-hidden-latent-hidden-784 of every run."""
    _train(Mlp(task.options['runs'], task.latent, *task.options['sizes']), task, lap)


def conv(task: Task, lap) -> None:
    """Convolutions of every run as the groups of one."""
    _train(Conv(task.options['runs'], task.latent, *task.options['sizes']), task, lap)
