"""Importance sampling of log p(x) as a PyTorch user writes it with care: many decoder rows at a time, no gradients."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.task import Task, pixels
from benchmarks.with_torch import Mlp

torch.set_num_threads(2)


@torch.inference_mode()
def log_p(net: Mlp, xs: Tensor, k: int, chunk: int) -> Tensor:
    """log 1/k sum p(x, z) / q(z|x) [n] of xs [n, 784], `chunk` samples of each at a time."""
    mean, log_var = net.encode(xs).chunk(2, -1)
    std, log_stds = torch.exp(0.5 * log_var), 0.5 * log_var.sum(-1, keepdim=True)
    log_w = torch.empty(len(xs), k)
    for start in range(0, k, chunk):
        noise = torch.randn(len(xs), min(chunk, k - start), mean.shape[-1])
        z = torch.addcmul(mean[:, None], std[:, None], noise)
        logits = net.decode(z.flatten(0, 1)).view(*noise.shape[:2], -1)
        # sum x logit is a product of matrices, which leaves one pass over the logits instead of the three of BCE
        log_px = torch.bmm(logits, xs[:, :, None])[..., 0] - F.softplus(logits).sum(-1)
        rate = 0.5 * (z.square() - noise.square()).sum(-1) - log_stds
        log_w[:, start : start + chunk] = log_px - rate
    return torch.logsumexp(log_w, -1) - math.log(k)


def nll(task: Task, lap) -> None:
    """`task.rows` images with `options['k']` samples, `options['batch']` images of `options['chunk']` at a time."""
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    x = (torch.from_numpy(pixels(task.rows)).view(task.rows, -1) > 127).float()
    net = Mlp(task.latent).eval()
    facts = {'parameters': sum(p.numel() for p in net.parameters())}
    while True:
        lap(**facts)
        found = [log_p(net, xs, task.options['k'], task.options['chunk']) for xs in x.split(task.options['batch'])]
        facts = {'loss': -float(torch.cat(found).mean())}
