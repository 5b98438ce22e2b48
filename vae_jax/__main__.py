"""`python -m vae_jax <verb>`: what can be done to datasets and run directories from a shell."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

from vae_jax import flags, process
from vae_jax.errors import Fault, nearest

_PREPARE = 'prepare'
_EXPORT = 'export'


def main(argv: Sequence[str]) -> int:
    """The exit code of one verb. `--help` lists them; an unknown one is told the nearest."""
    debug = '--debug' in argv
    rest = [token for token in argv if token != '--debug']
    return process.guarded(lambda signals: _dispatch(rest), debug)


def _dispatch(argv: Sequence[str]) -> int:
    from vae_jax import evaluating, verbs

    known: dict[str, tuple[Any, Callable[[Any], None]]] = {
        'evaluate': (evaluating.Evaluate, evaluating.evaluate),
        'report': (verbs.Report, verbs.report),
        'sample': (verbs.Sample, verbs.sample),
        'encode': (verbs.Encode, verbs.encode),
        'verify': (verbs.Verify, verbs.verify),
        'doctor': (verbs.Doctor, verbs.doctor),
    }
    verb, *rest = argv or ['']
    if verb in ('-h', '--help'):
        about = {name: kind.__doc__.partition('. ')[0].rstrip('.') for name, (kind, _) in known.items()}
        about = {_PREPARE: 'Makes datasets ready to load, from raw files or by download', **about}
        process.say('usage: python -m vae_jax <verb> [--help]\n')
        process.say('\n'.join(f'  {name:10} {text}' for name, text in about.items()))
    elif verb == _PREPARE:
        from vae_jax.data import command

        return command([verb, *rest])
    elif verb == _EXPORT:
        raise Fault('export is not there yet', 'vae_jax.load(run) gives the model and its parameters in Python')
    elif verb in known:
        kind, act = known[verb]
        act(flags.parse(kind, rest, f'python -m vae_jax {verb}', kind.__doc__))
    else:
        said = f'unknown verb {verb!r}' if verb else 'no verb was given'
        raise Fault(said, nearest(verb, [_PREPARE, *known]))
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
