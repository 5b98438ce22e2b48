"""Optuna, by ask and tell: a batch of trials is one population. Run in the tests.

    pip install optuna
    python experiments/launchers/optuna_study.py experiments.vae 10 16 --epochs 20     # 10 rounds of 16 trials each

The study lies in runs/optuna.db and each round's population beside it. Stopped at any time, the same line goes on: what
was asked and not yet told is the round that is resumed.
"""

import json
import subprocess
import sys
from pathlib import Path

import optuna
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

SPACE = {'lr': FloatDistribution(1e-4, 1e-2, log=True), 'beta': FloatDistribution(0.25, 4.0, log=True)}


def main(module: str, rounds: int, batch: int, flags: list[str], root: Path = Path('runs')) -> optuna.Study:
    """A study of `rounds` populations of `batch` runs each, in a directory."""
    described = subprocess.run([sys.executable, '-m', module, '--describe'], check=True, capture_output=True).stdout
    metric, direction = json.loads(described)['metric'].values()
    root.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=f'sqlite:///{root}/optuna.db',
        study_name=module,
        direction={'min': 'minimize', 'max': 'maximize'}[direction],
        load_if_exists=True,
    )
    while len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL))) < rounds * batch:
        asked = study.get_trials(states=(TrialState.RUNNING,))
        asked += [study.ask(SPACE) for _ in range(batch - len(asked))]
        out = root / f'optuna-{asked[0].number}'
        points = out.with_suffix('.jsonl')
        points.write_text(''.join(json.dumps(trial.params) + '\n' for trial in asked))
        command = [sys.executable, '-m', module, f'--points={points}', f'--out={out}', '--quiet', *flags]
        code = subprocess.run(command, stdout=subprocess.DEVNULL).returncode
        if code not in (0, 4):  # 4: all diverged
            sys.exit(code)
        for trial, entry in zip(asked, json.loads((out / 'result.json').read_text())['points']):
            done = entry['status'] == 'done'
            study.tell(trial.number, entry[metric] if done else None, TrialState.COMPLETE if done else TrialState.FAIL)
    return study


if __name__ == '__main__':
    study = main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
    print(json.dumps({'value': study.best_value, **study.best_params}))
