#!/usr/bin/env bash
# Measure end_to_end, lora and tokensieve on one GPU, in bf16: first on an encoder of base size with random weights, for time and memory
# only, then on all training texts. All tasks run at the same time, because a small model alone does not fill a GPU. It takes at most 9
# minutes and names what is not finished; the same command continues. Needs torch, transformers and peft.
#   benchmarks/gpu.sh DATA [BASE] [TASKS] [SEEDS]
# BASE is the base model's folder where the hub cannot be reached. Results go to $OUT, or benchmarks/results.
set -uo pipefail
cd "$(dirname "$0")/.."
data=${1:?"usage: benchmarks/gpu.sh DATA [BASE] [TASKS] [SEEDS]"}
base=${2:-sentence-transformers/all-MiniLM-L6-v2}
tasks=${3:-banking77,hwu64,clinc150,snips,nlupp}
results=${OUT:-benchmarks/results}
python=${PYTHON:-python3}
export TQDM_DISABLE=1 PYTHONPATH=".${PYTHONPATH:+:$PYTHONPATH}"
last=$((SECONDS + ${SECONDS_AT_MOST:-525}))

cells() {
    local left=$((last - SECONDS))
    ((left > 0)) || exit 124
    # exec, so that a signal to the job reaches the program.
    exec timeout --foreground --signal=TERM --kill-after=15 $left "$python" -m benchmarks.training.run --data "$data" \
        --methods end_to_end,lora,tokensieve --device cuda --threads 4 "$@"
}

scratch=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -r "$scratch"' EXIT
trap 'exit 130' INT TERM
random=$scratch/random-bert-base
"$python" -m benchmarks.training.random_encoder "$random" "$base" || exit
status=0
(cells --base "$random" --tasks "${tasks%%,*}" --shots 10 --seeds 0 --output "$results/finetune-random") || status=$?
lanes=()
if test $status -eq 0; then
    for task in ${tasks//,/ }; do
        cells --base "$base" --tasks "$task" --seeds "${4:-0-1}" --shots full --output "$results/finetune" &
        lanes+=($!)
    done
    for lane in "${lanes[@]}"; do
        code=0
        wait "$lane" || code=$?
        # 124: out of time. That is not a failure.
        test $code -eq 0 -o $code -eq 124 || status=$code
    done
fi
test $status -eq 124 || exit $status
