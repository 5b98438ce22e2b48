"""Who runs what: the sections of the benchmark."""

import inspect

from benchmarks import evaluation, populations
from benchmarks.driver import Contestant, Section
from vae_jax import networks

OURS = Contestant('ours', 'vae_jax, `vj.fit` at its defaults', 'with_vae_jax', 'fit', {'network': 'mlp'})
TORCH = Contestant('torch_fresh', 'PyTorch loop, fresh binarization', 'with_torch', 'mlp', {'binarization': 'fresh'})
MLP = (
    OURS,
    TORCH._replace(options={'binarization': 'fresh', 'flush': False}),
    TORCH._replace(name='torch_fresh_flush', label='PyTorch loop, fresh binarization, denormals flushed'),
    TORCH._replace(
        name='torch_fixed_flush',
        label='PyTorch loop, fixed binarization, denormals flushed',
        options={'binarization': 'fixed'},
    ),
    Contestant('pythae', 'pythae, BaseTrainer, grey pixels', 'with_pythae', 'vae'),
    Contestant('flax', "flax's example step, numpy feeding, fixed binarization", 'with_flax', 'vae'),
    Contestant('script', 'JAX script, plain formulas', 'with_jax', 'vae'),
    Contestant('script_fast', 'JAX script, the two kernels of vae_jax', 'with_vae_jax', 'script'),
)
CONV = (
    OURS._replace(options={'network': 'conv'}),
    TORCH._replace(
        name='torch_conv', label='PyTorch channels_last, fresh binarization, denormals flushed', function='conv'
    ),
)
GEMM = (Contestant('torch', 'PyTorch', 'with_torch', 'gemm'), Contestant('jax', 'JAX', 'with_jax', 'gemm'))
BATCHES = (100, 128, 512)
NAMES = [
    'gemm',
    *(f'mlp_{batch}' for batch in BATCHES),
    'conv_128',
    'price',
    'quality',
    evaluation.NAME,
    populations.GROUP,
    *populations.NAMES,
]


def has_bfloat16() -> bool:
    """Whether the networks take a dtype; where they do not, its rows are left out."""
    return 'dtype' in inspect.signature(networks.mlp_encoder).parameters


def _with_bfloat16(contestants: tuple[Contestant, ...]) -> tuple[Contestant, ...]:
    if not has_bfloat16():
        return contestants
    ours, *others = contestants
    half = ours._replace(
        name='ours_bfloat16', label='vae_jax in bfloat16 (opt-in)', options={**ours.options, 'dtype': 'bfloat16'}
    )
    return (ours, half, *others)


def _quality(quick: bool, data_dir: str | None) -> list[Section]:
    if not has_bfloat16():
        return []
    dataset, epochs = ('mnist', 10) if data_dir else ('digits', 200)
    options = {'dataset': dataset, 'epochs': 2 if quick else epochs, 'seeds': 3, 'data_dir': data_dir}
    kinds = [
        Contestant(kind, kind, 'with_vae_jax', 'quality', {**options, 'dtype': dtype})
        for kind, dtype in (('float32', None), ('bfloat16', 'bfloat16'))
    ]
    return [Section('quality', f'test ELBO on {dataset}', {'rows': 0, 'batch': 128, 'latent': 20}, tuple(kinds), 0)]


def sections(quick: bool, data_dir: str | None) -> list[Section]:
    """All of them, in the order in which they run."""
    rows = 12_800 if quick else 60_000  # 100 steps of 128: the shortest chunk that `vj.fit` makes by default
    batches = (128,) if quick else BATCHES
    gemm = {'rows': 0, 'batch': 0, 'options': {'count': 10 if quick else 60}}
    mlp = [
        Section(f'mlp_{b}', f'784-500-20, batch {b}', {'rows': rows, 'batch': b, 'latent': 20}, _with_bfloat16(MLP))
        for b in batches
    ]
    conv = {'rows': rows, 'batch': 128, 'latent': 16}
    price = Contestant('price', "the framework's price", 'with_vae_jax', 'price')
    return [
        Section('gemm', 'matrix products, 1024^3 float32', gemm, GEMM),
        *mlp,
        Section('conv_128', 'convolutions 32-64, dense 256, latent 16, batch 128', conv, _with_bfloat16(CONV)),
        Section('price', price.label, {'rows': 0, 'batch': 128, 'latent': 20}, (price,), -1),
        *_quality(quick, data_dir),
        evaluation.section(quick),
        *populations.sections(quick),
    ]
