#!/usr/bin/env bash
# Check and measure everything that needs a GPU: `bash benchmarks/gpu_checks.sh`.
#
# A machine with torch, numpy, pytest and the packages of pyproject.toml is enough, without an environment of this
# project. WHEELS names a folder of wheels to install before, for a machine that reaches no registry. PYTHON is the
# interpreter. Results are files in OUT: they and the summary at the end can be read, and `python benchmarks/gpu.py table
# OUT/*.txt` makes Markdown of them. Nothing new is started after LIMIT seconds. DRY_RUN=1 runs each measurement once on a
# CPU, in small and without figures of speed; it leaves out tests and trainings.
#
# What has to be compiled is compiled side by side, beside tests and trainings; then each measures while nothing else runs.
set -u
cd "$(dirname "$0")/.." || exit 1
PYTHON=${PYTHON:-python3} LIMIT=${LIMIT:-400} DRY_RUN=${DRY_RUN:-}
export DRY_RUN PYTHONUNBUFFERED=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-4} TORCHINDUCTOR_COMPILE_THREADS=4
WORK=$(mktemp -d) && trap 'rm -rf "$WORK"' EXIT
OUT=${OUT:-$WORK.results}
mkdir -p "$OUT" "$WORK/busy" "$WORK/checks"
[ -z "$(ls -A "$OUT")" ] || { echo "OUT=$OUT: holds files already; name an empty folder" >&2 && exit 2; }
export GPU_CHECKS=$WORK/checks TORCHINDUCTOR_CACHE_DIR=$WORK/inductor TRITON_CACHE_DIR=$WORK/triton
failed=0

start() { # name, file, seconds, command: run in the background, its output in the file when it ends
  local name=$1 file=$2 seconds=$3
  shift 3
  touch "$WORK/busy/$name"
  (
    timeout -k 5 "$seconds" "$@" >"$WORK/$name.out" 2>&1 &
    child=$!
    trap 'kill "$child"; exit' TERM # timeout ends what it started
    wait "$child"
    status=$?
    { cat "$WORK/$name.out" && echo "== $name: exit status $status after ${SECONDS} s"; } >>"$OUT/$file"
    rm "$WORK/busy/$name"
  ) &
}
busy() { ls "$WORK/busy" | grep -qE "$1"; }
kedro() { # name, arguments: `kedro run` in a copy of the project
  local name=$1
  shift
  mkdir -p "$WORK/$name/data" && cp -r conf src pyproject.toml .telemetry "$WORK/$name/"
  start "run-$name" runs.txt 170 bash -c 'cd "$1" && shift && "$@" >log.txt 2>&1; s=$?; grep -aE "bits/dim on|AUROC|Error|error" log.txt; exit $s' \
    _ "$WORK/$name" "$PYTHON" -m kedro run --env digits --params "$@"
}

clocks=(nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,power.draw,power.limit --format=csv)
{ nvidia-smi; "${clocks[@]}"
  nproc --all
  "$PYTHON" -c 'import platform, torch; print("Python", platform.python_version(), "torch", torch.__version__)'; } >"$OUT/machine.txt" 2>&1
if [ -n "${WHEELS:-}" ]; then
  "$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --target "$WORK/site" "$WHEELS"/*.whl >>"$OUT/machine.txt" 2>&1
fi
export PYTHONPATH=$PWD/src:$PWD/benchmarks:$PWD${WHEELS:+:$WORK/site}
echo "set up after $SECONDS s"

if [ -n "$DRY_RUN" ]; then
  works=('2 8 4 convolutions' '2 8 4 kernels')
else
  works=('8 64 128 kernels' '8 64 512 kernels' '8 64 128 products' '8 64 512 products' '8 64 128 convolutions'
    '32 512 64 products' '32 512 512 products' '32 512 64 convolutions')
fi
for work in "${works[@]}"; do
  # shellcheck disable=SC2086  # its words are four arguments
  start "train-${work// /-}" train.txt 330 "$PYTHON" benchmarks/gpu.py train $work
done
for form in kernels convolutions; do
  start "score-$form" score.txt 330 "$PYTHON" benchmarks/gpu.py score "$form"
done
start peers peers.txt 330 "$PYTHON" benchmarks/gpu.py peers
start check-accuracy accuracy.txt 120 "$PYTHON" benchmarks/gpu.py accuracy
if [ -z "$DRY_RUN" ]; then
  for tests in $(grep -rl 'mark\.gpu' tests --include='test_*.py'); do # others need packages that a bare machine lacks
    start "check-$(basename "$tests" .py)" tests.txt 170 "$PYTHON" -m pytest -p no:cacheprovider -m gpu --tb=short "$tests"
  done
  start run-killed runs.txt 170 "$PYTHON" benchmarks/killed.py --kills 1 --params train.n_epochs=20,device=cuda
  kedro all device=cuda
  kedro float32 device=cuda,train.precision=float32 --pipelines train
  kedro tf32 device=cuda,train.precision=tf32 --pipelines train
fi

compiling() { [ "$(ls "$GPU_CHECKS" | grep -c '^ready')" -lt "$(ls "$WORK/busy" | grep -cE '^(train|score|peers)')" ]; }
while { compiling || busy '^(check|run)'; } && [ $SECONDS -lt $((LIMIT * 2 / 3)) ]; do sleep 0.2; done
echo "ready to measure after $SECONDS s"
touch "$GPU_CHECKS/go"
[ -n "$DRY_RUN" ] || (sleep 10 && "${clocks[@]}" >>"$OUT/machine.txt") &
while busy . && [ $SECONDS -lt "$LIMIT" ]; do sleep 0.2; done
[ $SECONDS -ge "$LIMIT" ] || start idle idle.txt $((LIMIT - SECONDS)) "$PYTHON" benchmarks/gpu.py idle # a training, alone
while busy . && [ $SECONDS -lt "$LIMIT" ]; do sleep 0.2; done
touch "$GPU_CHECKS/stop"
while busy . && [ $SECONDS -lt $((LIMIT + 10)) ]; do sleep 0.2; done
echo "measured after $SECONDS s; results are in $OUT"

[ -z "$DRY_RUN" ] || echo "dry run on a CPU: no speed of a GPU was measured, no test run; rows of kernels are of another form"
grep -aE '^Python|^name,|MHz,' "$OUT/machine.txt"
grep -hE '^\{' "$OUT"/*.txt
grep -haE '^== |passed|^FAILED|^ERROR|bits/dim on|killed|without kernels' "$OUT"/*.txt
grep -qaE '^== .*: exit status [1-9]' "$OUT"/*.txt && failed=1
for name in "$WORK"/busy/*; do
  [ -e "$name" ] && echo "== ${name##*/}: not finished" && cat "$WORK/${name##*/}.out" >>"$OUT/unfinished.txt" && failed=1
done
kill $(jobs -p) 2>/dev/null
if [ $failed = 0 ]; then echo "everything ended without an error"; else echo "NOT everything ended without an error: see the lines with == above"; fi
exit $failed
