#!/usr/bin/env bash
# end_to_end, lora and tokensieve on all training texts, on one GPU, in at most 9 minutes: what is not finished then is named, and the
# same command goes on with it. Needs torch, transformers and peft.
#   benchmarks/gpu.sh DATA [BASE] [TASKS] [SEEDS]
# BASE is the base model's folder where the hub cannot be reached. Results go to $OUT/finetune-gpu, or benchmarks/results/finetune-gpu.
set -uo pipefail
cd "$(dirname "$0")/.."
data=${1:?"usage: benchmarks/gpu.sh DATA [BASE] [TASKS] [SEEDS]"}
base=${2:-sentence-transformers/all-MiniLM-L6-v2}
export TQDM_DISABLE=1 PYTHONPATH=.
timeout --signal=TERM --kill-after=15 525 "${PYTHON:-python3}" -m benchmarks.finetune --data "$data" --base "$base" \
    --tasks "${3:-banking77,hwu64,clinc150,snips}" --seeds "${4:-0-1}" --methods end_to_end,lora,tokensieve --shots full \
    --device cuda --threads 4 --output "${OUT:-benchmarks/results}/finetune-gpu"
status=$?
# Out of time is no failure: what could not be finished stands above.
test $status -eq 124 || exit $status
