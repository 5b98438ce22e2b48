"""One contestant in a process of its own: `python -m benchmarks.worker MODULE FUNCTION TASK`.

A contestant is `function(task, lap)`. It prepares, and calls `lap(**facts)` before every epoch: that call ends the
epoch before, answers with its seconds, the most memory it has held and the facts, and sleeps until the driver wants the
next one.
"""

import importlib
import json
import os
import resource
import sys
import time

from benchmarks.task import Task


def main() -> None:
    module, function, task = sys.argv[1:]
    # libraries print: what they say goes to the log, and only our answers go to the driver
    answers = os.fdopen(os.dup(1), 'w', buffering=1)
    os.dup2(2, 1)
    started: tuple[float, float] | None = None

    def lap(**facts: object) -> None:
        nonlocal started
        spent = {}
        if started is not None:
            spent = {'seconds': time.perf_counter() - started[0], 'cpu': time.process_time() - started[1]}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10  # of Linux, in KiB
        answers.write(json.dumps({**spent, 'peak_mib': peak, **facts}) + '\n')
        if not sys.stdin.readline():
            os._exit(0)
        started = time.perf_counter(), time.process_time()

    try:
        getattr(importlib.import_module(f'benchmarks.{module}'), function)(Task(**json.loads(task)), lap)
    except Exception as problem:  # whatever stops one contestant is its result; the others go on
        reason = ' '.join(f'{type(problem).__name__}: {problem}'.split())
        answers.write(json.dumps({'failed': reason[:300]}) + '\n')
        raise


if __name__ == '__main__':
    main()
