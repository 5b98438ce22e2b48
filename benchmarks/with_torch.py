"""The loops that a PyTorch user writes with care: tensors preloaded, no DataLoader, fused Adam, no `.item()`."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.task import Task, pixels

torch.set_num_threads(2)


class Mlp(nn.Module):
    def __init__(self, latent: int, hidden: int = 500) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(784, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent))
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, 784))

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)


class Conv(nn.Module):
    """28 -> 14 -> 7 by stride 2, and back by transposed convolutions; `pixel_shuffle` for these was a tenth slower.

    Dense layers see the pixels as NHWC, which is how channels_last keeps them: nothing is copied.
    """

    def __init__(self, latent: int, channels: tuple[int, int] = (32, 64), dense: int = 256) -> None:
        super().__init__()
        c, d = channels
        self.d, flat = d, 7 * 7 * d
        self.down = nn.Sequential(nn.Conv2d(1, c, 3, 2, 1), nn.ReLU(), nn.Conv2d(c, d, 3, 2, 1), nn.ReLU())
        self.encoder = nn.Sequential(nn.Linear(flat, dense), nn.ReLU(), nn.Linear(dense, 2 * latent))
        self.decoder = nn.Sequential(nn.Linear(latent, dense), nn.ReLU(), nn.Linear(dense, flat), nn.ReLU())
        self.up = nn.Sequential(nn.ConvTranspose2d(d, c, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(c, 1, 4, 2, 1))

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(self.down(x.view(-1, 1, 28, 28)).permute(0, 2, 3, 1).flatten(1))

    def decode(self, z: Tensor) -> Tensor:
        return self.up(self.decoder(z).view(-1, 7, 7, self.d).permute(0, 3, 1, 2)).flatten(1)


def _train(net: nn.Module, task: Task, lap) -> None:
    # XLA flushes denormal numbers to zero; PyTorch does so when asked, and is slower by a third here when it is not
    torch.set_flush_denormal(task.options.get('flush', True))
    torch.manual_seed(0)
    grey = torch.from_numpy(pixels(task.rows)).view(task.rows, -1).float().div_(255)
    fixed = torch.bernoulli(grey)
    optimizer = torch.optim.Adam(net.parameters(), lr=task.lr, fused=True)
    steps, epochs = task.rows // task.batch, task.options.get('epochs', 1)

    def batch(rows: Tensor) -> Tensor:
        if task.options['binarization'] == 'fixed':
            return fixed.index_select(0, rows)
        return torch.rand(len(rows), 784).lt_(grey.index_select(0, rows))

    facts = {'parameters': sum(p.numel() for p in net.parameters())}
    while True:
        lap(**facts)
        total = torch.zeros(())
        order = torch.cat([torch.randperm(task.rows)[: steps * task.batch] for _ in range(epochs)])
        for rows in order.split(task.batch):
            x = batch(rows)
            mean, log_var = net.encode(x).chunk(2, -1)
            z = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
            distortion = F.binary_cross_entropy_with_logits(net.decode(z), x, reduction='sum')
            rate = 0.5 * torch.sum(mean.square() + log_var.exp() - log_var - 1)
            loss = (distortion + rate) / len(rows)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach()
        facts = {'loss': float(total) / steps / epochs}


def mlp(task: Task, lap) -> None:
    """784-500-latent-500-784, or with the `sizes` of the options."""
    _train(Mlp(task.latent, *task.options.get('sizes', ())), task, lap)


def conv(task: Task, lap) -> None:
    """Convolutions 32-64, dense 256, or with the `sizes` of the options, in channels_last."""
    _train(Conv(task.latent, *task.options.get('sizes', ())).to(memory_format=torch.channels_last), task, lap)


def gemm(task: Task, lap) -> None:
    """`options['count']` products of 1024^3 float32."""
    a, b = torch.rand(1024, 1024), torch.rand(1024, 1024)
    out = torch.empty(1024, 1024)
    while True:
        lap()
        for _ in range(task.options['count']):
            torch.mm(a, b, out=out)
