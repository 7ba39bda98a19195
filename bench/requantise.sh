#!/bin/sh
# Requantises a model and prints the perplexity of each result on bench/text.txt, the original's first.
#   bench/requantise.sh MODEL.gguf [TYPE …]        (FLASHCL: the command; FLASHCL_DEVICE: where it computes)
set -eu
model=$1
shift
[ $# -gt 0 ] || set -- f32 q8_0 q6_k q5_k q5_1 q5_0 q4_k q4_1 q4_0 iq4_nl q3_k q2_k
flashcl=${FLASHCL:-$(swift build -c release --show-bin-path)/flashcl}
text=$(dirname "$0")/text.txt
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

measure() {
  printf '%-8s %11s bytes  ' "$1" "$(wc -c <"$2")"
  "$flashcl" perplexity --model "$2" --file "$text" 2>/dev/null
}

measure as-is "$model"
for type; do
  "$flashcl" convert "$model" "$folder/model.gguf" --type "$type" >/dev/null
  measure "$type" "$folder/model.gguf"
done
