#!/bin/sh
# Generates text and compares three sentences, on the best OpenCL device of this machine (DEVICE=… picks another).
set -eu
cd "$(dirname "$0")/.."

device=${DEVICE:-${FLASHCL_DEVICE:-gpu}}
models=$(scripts/fetch.sh)
flashcl=$(swift build -c release --show-bin-path)/flashcl
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

set -- generate --model "$models/SmolLM2-135M-Instruct.Q4_1.gguf" --device "$device" \
  --prompt "Once upon a time, in a small village by the sea," --max-tokens 120
printf '\n$ flashcl'; printf ' %s' "$@"; printf '\n'
"$flashcl" "$@"

set -- --text "A cat sits outside." --text "A kitten is in front of the house." --text "Stocks fell on Monday."
printf '\n\n$ flashcl embed, and the similarities of three sentences\n'
"$flashcl" embed --model "$models/all-MiniLM-L6-v2" --device "$device" "$@" --output "$scratch/embeddings.npy"
python3 scripts/similarity.py "$scratch/embeddings.npy" "$2" "$4" "$6"
