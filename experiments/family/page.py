"""docs/family.md, from the rows: what each is made of is read off the model that its expression builds."""

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from experiments import documents
from experiments.family import collections, members, products, samplers
from experiments.family.bench import Bench, Row
from vae_jax.models import Conditional

COLUMNS = (
    'member',
    'likelihood',
    'posterior',
    'prior',
    'objective',
    'networks',
    'expression',
    'source',
    'test',
    'lines',
)


def spell(distribution: Any) -> str:
    """The name of a distribution, and of what it is made of."""
    name = type(distribution).__name__
    inner = [getattr(distribution, part) for part in ('base', 'components') if hasattr(distribution, part)]
    if name == 'Chain':
        return f'Chain of {len(distribution.links)}'
    return name + ''.join(f' of {spell(part)}' for part in inner)


def parts_of(row: Row) -> tuple[str, str, str]:
    """(likelihood, posterior, prior) of the model that a row builds; a dash for what it has not."""
    bench = Bench(row.data)
    model, x = row.build(bench).model, bench.x
    if isinstance(model, Conditional):
        x, c = model.of(bench.row)
        model = model.given(c)

    def made() -> tuple[Any, Any, Any]:
        params, p = model.init(jax.random.key(0), x), None
        p = model.prior(params)
        try:
            q = model.encode(params, x)
        except Exception:
            q = None
        z = (p if q is None else q).sample(jax.random.key(1))
        return model.decode(params, z), q, p

    return tuple('-' if found is None else spell(found) for found in jax.eval_shape(made))  # type: ignore[return-value]


@functools.cache
def _expressions(path: Path) -> dict[str, str]:
    """name -> the body of the lambda that follows it, in every call of a file whose first argument is a string."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(args=[ast.Constant(value=str(name)), ast.Lambda(body=body), *_]):
                found[name] = ast.unparse(body)
    return found


def expression(name: str, module: Any) -> str:
    """The expression that builds a row of a module."""
    return _expressions(Path(inspect.getfile(module)))[name]


def lines_of(function: Callable[..., Any]) -> int:
    """Lines of code of a function or class: neither docstrings, comments nor blank lines."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(getattr(function, 'func', function)))))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return len(ast.unparse(tree).splitlines())


def _cells(row: Row, module: Any) -> list[Any]:
    added = sum(map(lines_of, row.adds))
    cells = [row.name, *parts_of(row), row.objective, row.networks, f'`{expression(row.name, module)}`', row.source]
    return [*cells, row.test.partition('::')[0], added or '']


def _known(rows: Sequence[collections.Known]) -> str:
    found = []
    for one in rows:
        module = members if one.member in _expressions(Path(inspect.getfile(members))) else samplers
        built = f'`{expression(one.member, module)}`' if one.member else f'not yet: {one.obstacle}'
        found.append((one.name, one.member, built, one.note))
    return documents.markdown(('class', 'member', 'expression', 'with'), found)


INTRODUCTION = """# The family

Written by `python -m experiments.family` from the rows of `experiments/family/`; a test holds it. Likelihood, posterior
and prior are read off the model that an expression builds. `b` is a bench with data and two small networks, so that
`b.vae()` is `vae(encoder, decoder, latent=4, like=x)`. Lines are those of code that the library has for one member
alone."""


def page() -> str:
    """docs/family.md."""
    kinds = {
        'Bounds': members.BOUNDS,
        'Objectives': members.OBJECTIVES,
        'Priors': members.PRIORS,
        'Posteriors': members.POSTERIORS,
        'Likelihoods': members.LIKELIHOODS,
        'Networks': members.NETWORKS,
        'Conditional, partly labelled, partly observed': members.CONDITIONAL,
    }
    told = [INTRODUCTION]
    for title, rows in kinds.items():
        told += [f'## {title}', documents.markdown(COLUMNS, (_cells(row, members) for row in rows))]
    told += [
        '## Samplers, of a trained model',
        documents.markdown(samplers.COLUMNS, map(samplers.cells, samplers.SAMPLERS)),
    ]
    told += [f'## {len(products.PRODUCTS)} products that no collection expresses']
    told += [
        documents.markdown(
            [*COLUMNS[:7], 'test'], ([*_cells(row, products)[:7], 'test_family.py'] for row in products.PRODUCTS)
        )
    ]
    told += [f'## The {len(collections.PYTHAE)} models of pythae', _known(collections.PYTHAE)]
    told += [f'## The {len(collections.SAMPLERS)} samplers of pythae', _known(collections.SAMPLERS)]
    told += [f'## The {len(collections.PYTORCH_VAE)} models of PyTorch-VAE', _known(collections.PYTORCH_VAE)]
    return '\n\n'.join(told) + '\n'
