#!/bin/sh
# After new weights: score them on as many prompts of each set as the READMEs say, then write their tables. Two processes
# at a time, one thread each; about 40 minutes on two cores. A report that is not finished leaves the old one.
set -eu
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE MINGLM_DEVICE=cpu TORCH_DEVICE_BACKEND_AUTOLOAD=0
mini=data/weights/mini
new=$(mktemp -d)                             # evaluate never writes over a report

score() {   # name of the report, then the options of `minglm evaluate`
  name=$1 && shift
  ${PYTHON:-.venv/bin/python} -m minglm evaluate --out "$new/$name.json" "$@"
  mv "$new/$name.json" "$new/$name.png" "$mini/"
}

{ score miniopen --prompts miniopen && score minicompose --prompts minicompose --limit 120 &&
    score minilong --prompts minilong --limit 24 && score miniedit --prompts miniedit --limit 100; } &
score miniopen-plain --prompts miniopen --no-enhance
score miniposter --prompts miniposter --limit 144
score minichineseword --prompts minichineseword --limit 150 --columns decoder pipeline
wait $!
${PYTHON:-.venv/bin/python} scripts/renew_tables.py
