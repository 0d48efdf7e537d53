#!/bin/sh
# After new weights: score them on all prompt sets, then write the tables of the READMEs. Two processes at a time, one
# thread each; about two hours on two cores. A report that is not finished leaves the old one.
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

{ score miniopen --prompts miniopen && score miniopen-plain --prompts miniopen --no-enhance &&
    score minilong --prompts minilong && score minicompose --prompts minicompose; } &
score miniposter --prompts miniposter
score minichineseword --prompts minichineseword --limit 150 --columns decoder pipeline
score miniedit --prompts miniedit
wait $!
${PYTHON:-.venv/bin/python} scripts/renew_tables.py
