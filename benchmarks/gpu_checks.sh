#!/usr/bin/env bash
# Run everything that needs a GPU: the GPU tests, the tables of docs/results, and the digits on the GPU.
# Every part runs, also after a failure; the exit status is that of the tests.
set -uo pipefail
cd "$(dirname "$0")/.."
python -m pytest -m gpu
tests=$?
python benchmarks/speed.py --device cuda --seconds 20
python benchmarks/input.py --device cuda
python benchmarks/killed.py --params train.n_epochs=20,device=cuda
python benchmarks/killed.py --params train.n_epochs=20,device=cuda,train.precision=float32,train.compile=false
kedro run --env digits --params device=cuda
kedro run --env digits --pipelines train --params device=cuda,train.precision=float32
exit $tests
