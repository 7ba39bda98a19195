#!/bin/sh
# Draws how cost grows with length, batch and model size, into docs/scale-*.svg; ONLY=batch draws one of them.
set -eu
cd "$(dirname "$0")/.."

draw() { # name, arguments of bench
  name=$1
  shift
  case ${ONLY:-$name} in "$name") ;; *) return 0 ;; esac
  printf '\n$ flashcl bench'; printf ' %s' "$@"; printf '\n'
  "$FLASHCL" bench "$@" --device "$DEVICE" --plot "docs/scale-$name.svg"
}

draw attention attention --chosen --sweep "N=64:4096:x2,causal=0|1,type=f32"
draw context --model-shape smollm2-135m --prompt-lengths 32,128,512,2048,4096 --decode 64
draw batch --model-shape smollm2-135m --batch 1,2,4,8,16,32 --prompt-lengths 128 --decode 32
draw size --model-shape smollm2-135m:q4_1,smollm2-360m:q4_1,llama-1b:q4_1 --prompt-lengths 512 --decode 32
