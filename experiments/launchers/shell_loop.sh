#!/bin/bash
# A shell loop: one population after the other, one for each file of points. Run in the tests.
#
#   mkdir -p points
#   for latent in 8 16; do for beta in 0.5 1 2 4; do
#     echo "{\"latent\": $latent, \"beta\": $beta}" >> points/latent$latent.jsonl
#   done; done
#   bash experiments/launchers/shell_loop.sh points/*.jsonl -- --epochs 20
#
# Stopped at any time, the same line goes on where it was; what is finished returns at once. GNU parallel can take the
# place of the loop: parallel -j 1 python -m experiments.vae --points {} --out runs/{/.} ::: points/*.jsonl
set -u
module=${MODULE:-experiments.vae} root=${RUNS:-runs/loop}
files=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do files+=("$1"); shift; done
[ $# -gt 0 ] && shift

worst=0
for file in "${files[@]}"; do
  out=$root/$(basename "$file" .jsonl)
  code=75
  while [ $code -eq 75 ]; do # out of the time given: start me again
    python -m "$module" --points "$file" --out "$out" --quiet "$@"
    code=$?
  done
  case $code in
    0 | 4) ;;                     # done; or all its runs diverged, which is a result
    130 | 143) exit $code ;;      # stopped by a signal, after a checkpoint
    *) worst=$code ;;             # a fault, told on stderr: the other populations need not wait for it
  esac
done
exit $worst
