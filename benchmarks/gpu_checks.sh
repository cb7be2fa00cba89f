#!/usr/bin/env bash
# Everything that needs a GPU, in one call: the GPU tests, the speed table, and the digits on the GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
python -m pytest -m gpu
python benchmarks/speed.py --device cuda
kedro run --env digits --params device=cuda
