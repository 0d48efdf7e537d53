#!/usr/bin/env bash
# Runs the notebooks (with --tests: the unit tests) as other machines would, one variant after the other.
#
#   usage: scripts/other_machines.sh [--tests] [variant ...] [pytest's arguments and paths, from the first - or / on]
#   e.g.   scripts/other_machines.sh avx2 float32 notebooks/04*.ipynb
#
# PYTHON is the interpreter (else .venv/bin/python), LOGS the folder of the full outputs (else a temporary one).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

variants='
default        ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=AVX512_CORE  # PyTorch without vector instructions
avx2           ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX512_CORE     # ... with those of ordinary desktops
onednn-sse41   ONEDNN_MAX_CPU_ISA=SSE41         # matrix products as on a processor of 2008
onednn-avx2    ONEDNN_MAX_CPU_ISA=AVX2
onednn-avx512  ONEDNN_MAX_CPU_ISA=AVX512_CORE   # no bfloat16 in hardware
onednn-all     ONEDNN_MAX_CPU_ISA=DEFAULT       # whatever this processor has
threads-1      OTHER_THREADS=1
threads-2      OTHER_THREADS=2
float32        OTHER_FLOAT32=1                  # as if bfloat16 rounded like float32
'
what=notebooks names=()
[ "${1:-}" = --tests ] && { what=tests; shift; }
while [ $# -gt 0 ] && [[ $1 != [-/]* && $1 != */* ]]; do
  grep -q "^$1 " <<<"$variants" || { sed -n 's/^# *//;2,7p' "$0" >&2; echo "no variant $1; there are:$variants" >&2; exit 2; }
  names+=("$1"); shift
done
[ ${#names[@]} -gt 0 ] || names=($(awk 'NF {print $1}' <<<"$variants"))
[ $# -gt 0 ] || set -- "$what"
[ "$what" = tests ] || set -- --nbval --nbval-current-env --nbval-sanitize-with=tests/sanitize.cfg --nbval-cell-timeout=3600 "$@"

# The first two also rule out AMX, which no processor without AVX-512 has: with it PyTorch 2.13's attention in bfloat16
# raises "pack_vnni2 is only supported when avx512 is supported" (notebook 13, on a processor that has both).

# Every Python that is started below reads this first, the notebooks' kernels too. Threads and bfloat16 have no
# variable that would win over the code (notebooks call set_threads), so two functions of PyTorch are replaced.
# The simulated card keeps its bfloat16, since its casts are counted, and so does a CPU that is compared with it.
startup=$(mktemp -d)
trap 'rm -rf "$startup"' EXIT
cat >"$startup/sitecustomize.py" <<'PYTHON'
import os

if count := os.environ.get("OTHER_THREADS"):
    import torch
    torch.set_num_threads(int(count))
    torch.set_num_threads = lambda wanted: None

if os.environ.get("OTHER_FLOAT32"):
    import torch
    enter, bfloat16 = torch.autocast.__enter__, torch.Tensor.bfloat16

    def plain(self):
        self._enabled = self._enabled and (self.device != "cpu" or hasattr(torch, "npu"))
        return enter(self)

    torch.autocast.__enter__ = plain
    torch.Tensor.bfloat16 = lambda x: x.float() if x.device.type == "cpu" else bfloat16(x)
PYTHON
# What a variant has come to: printed beside its result, so that none passes for having had no effect.
effect='
import torch
from minglm.device import pick, set_threads
set_threads(1)
torch.nn.functional.conv2d(torch.ones(1, 16, 64, 64), torch.ones(16, 16, 3, 3))  # oneDNN then says what it uses
with pick("cpu").autocast():
    dtype = (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
print(f"PyTorch {torch.backends.cpu.get_cpu_capability()}, threads {torch.get_num_threads()}, {dtype}")
'

python=${PYTHON:-.venv/bin/python} logs=${LOGS:-$(mktemp -d)} failed=0
export PYTHONPATH=$startup:$PWD MINGLM_DEVICE=cpu OMP_WAIT_POLICY=PASSIVE TORCH_DEVICE_BACKEND_AUTOLOAD=0
for name in "${names[@]}"; do
  setting=$(sed -nE "s/^$name +([^#]*[^# ]) *(#.*)?$/\\1/p" <<<"$variants") log=$logs/$what-$name.txt began=$SECONDS
  seen=$(env $setting ONEDNN_VERBOSE=1 "$python" -c "$effect" | sed -nE 's/^onednn_verbose.*isa:/oneDNN /p; /^PyTorch/p' | paste -sd, -)
  result=passed
  env $setting "$python" -m pytest -q -p no:cacheprovider "$@" >"$log" 2>&1 || result=FAILED failed=1
  printf '%-14s %s %5d s   %s\n' "$name" "$result" $((SECONDS - began)) "$seen"
  [ $result = passed ] || { grep -aE '^(FAILED|ERROR)' "$log" | cut -c1-150; echo "  all of it: $log"; }
done
exit $failed
