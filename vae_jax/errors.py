"""The one exception of the house: what happened, how to fix it, and the exit code a command ends with.

Exit codes: 2 the command line, 3 data, files or environment, 4 the numbers, 5 a defect of ours.
"""

import difflib
from collections.abc import Iterable

_LISTED = 40  # names that an error lists; tfds has hundreds
USAGE, ENVIRONMENT, NUMBERS, DEFECT, TIME_IS_UP = 2, 3, 4, 5, 75


class Fault(ValueError):
    """An error a user can mend. Printed by commands as one line: `error: <what>; fix: <fix>`."""

    def __init__(self, what: str, fix: str, code: int = USAGE):
        super().__init__(f'{what}; fix: {fix}')
        self.what, self.fix, self.code = what, fix, code

    def __reduce__(self):
        return (Fault, (self.what, self.fix, self.code))


class Stopped(Exception):
    """Training was asked to stop and has saved a checkpoint; `code` is the exit code for a command."""

    def __init__(self, code: int, step: int):
        super().__init__(f'stopped after step {step}; the same command continues from there')
        self.code, self.step = code, step


def nearest(name: str, known: Iterable[str]) -> str:
    """The closest of the known names as a clause ('did you mean ...?'), or a list of them where nothing is close."""
    known = list(known)
    close = difflib.get_close_matches(name, known, 1)
    more = f' and {len(known) - _LISTED} more' if len(known) > _LISTED else ''
    return f'did you mean {close[0]!r}?' if close else f'known: {", ".join(known[:_LISTED])}{more}'
