#!/bin/sh
# Proves FlashCL right on one OpenCL implementation after another, and ends with one line of verdict for each:
#   pocl      every strategy, type and option on PoCL
#   pretend   the same choices as other makers' GPUs have them: PoCL narrowed to their limits (FLASHCL_PRETEND)
#   intel     Intel's CPU runtime: half arithmetic, sub-groups, integer dot products
#   rusticl   Mesa's rusticl on llvmpipe: 32 KiB of local memory, work-groups of 1024, a compiler by way of SPIR-V
#   oclgrind  a simulator that reports every access out of bounds and every data race
# scripts/check.sh [runtime…] runs those that are named. REPORTS=folder keeps a page and a JUnit file of each.
# Nothing is passed over: a runtime that cannot be installed has failed.
set -u
cd "$(dirname "$0")/.." || exit 1

flashcl=${FLASHCL:-$(swift build -c release --show-bin-path)/flashcl}
runtimes=${XDG_CACHE_HOME:-${HOME:?is not set}/.cache}/flashcl/runtimes
seconds=${CHECK_SECONDS:-1800} # for one run; a hang is a failure
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
unset FLASHCL_DEVICE FLASHCL_PRETEND FLASHCL_CAPABILITIES OCL_ICD_VENDORS OCL_ICD_FILENAMES

# verdict NAME WORDS…: a line for the end
verdict() {
  name=$1
  shift
  printf '%-16s %s\n' "$name" "$*" >>"$scratch/verdicts"
}
failed() {
  name=$1
  shift
  verdict "$name" "FAILED: $*"
  return 1
}

# use NAME LIBRARY: that driver and no other, from here on
use() {
  mkdir -p "$runtimes/$1" && echo "$2" >"$runtimes/$1/$1.icd.$$" && mv "$runtimes/$1/$1.icd.$$" "$runtimes/$1/$1.icd" &&
    export OCL_ICD_VENDORS="$runtimes/$1"
}

# library NAME: where the system's loader finds it
library() {
  /sbin/ldconfig -p | awk -v name="$1" '$1 == name { print $NF; exit }'
}

# check NAME ARGUMENTS…: runs flashcl check; its last line is the verdict
check() {
  name=$1
  shift
  echo "check: $name: flashcl check $*" >&2
  if [ -n "${REPORTS:-}" ]; then
    mkdir -p "$REPORTS"
    set -- --report "$REPORTS/$name.html" --report "$REPORTS/$name.xml" "$@"
  fi
  timeout "$seconds" "$flashcl" check --device gpu --report "$scratch/$name.md" "$@" >"$scratch/$name.txt" 2>"$scratch/$name.err"
  status=$?
  [ -n "${GITHUB_STEP_SUMMARY:-}" ] && [ -s "$scratch/$name.md" ] && cat "$scratch/$name.md" >>"$GITHUB_STEP_SUMMARY"
  if [ -s "${OCLGRIND_LOG:-/dev/null}" ]; then
    head -n 40 "$OCLGRIND_LOG" >&2
    failed "$name" "Oclgrind reports the accesses above, beside: $(tail -n 1 "$scratch/$name.txt")"
    return
  fi
  if [ $status = 0 ]; then
    verdict "$name" "$(tail -n 1 "$scratch/$name.txt")"
    return
  fi
  sed -n '/^FAILED /,$p' "$scratch/$name.txt" >&2
  tail -n 5 "$scratch/$name.err" >&2
  case $status in
    124) failed "$name" "stopped after $seconds s" ;;
    1) failed "$name" "$(tail -n 1 "$scratch/$name.txt" | grep . || tail -n 1 "$scratch/$name.err")" ;;
    *) failed "$name" "ended with status $status; $(tail -n 1 "$scratch/$name.err")" ;;
  esac
}

# Each runs in a shell of its own, so that its variables stay with it.

pocl() (
  path=$(library libpocl.so.2)
  [ -n "$path" ] || { failed pocl "PoCL is not installed: make install"; return; }
  use pocl "$path" && check pocl --quick
)

pretend() (
  path=$(library libpocl.so.2)
  [ -n "$path" ] || { failed pretend "PoCL is not installed: make install"; return; }
  use pocl "$path"
  status=0
  for device in rdna2 turing mali minimum; do
    # What depends on a limit: groups, tiles, splits, and what takes their place.
    FLASHCL_PRETEND=$device check "as-$device" --quick '^(linear|attention|layer_norm|rms_norm|softmax|top_k)\(' || status=1
  done
  # Matrix units whose lanes hold other pieces than NVIDIA's.
  for device in arc xe2 rdna3 cdna; do
    FLASHCL_PRETEND=$device check "as-$device" --quick '^(linear|attention)\(strategy=matrix' || status=1
  done
  return $status
)

# Proprietary: installed from the package index, never handed on.
intel() (
  prefix=$runtimes/intel-opencl-rt-2026.2.0
  if [ ! -e "$prefix" ]; then
    echo "check: installing Intel's runtime into $prefix (800 MB, once)" >&2
    mkdir -p "$runtimes"
    rm -rf "$prefix.new"
    for python in python3 /usr/bin/python3; do
      $python -m pip --version >/dev/null 2>&1 || continue
      $python -m pip --disable-pip-version-check install --quiet --no-cache-dir --prefix "$prefix.new" \
        intel-opencl-rt==2026.2.0 intel-cmplr-lib-rt==2026.2.0 >&2 && mv "$prefix.new" "$prefix"
      break
    done
  fi
  path=$(find "$prefix" -name libintelocl.so 2>/dev/null | head -n 1)
  [ -n "$path" ] || { failed intel "intel-opencl-rt could not be installed (is there a network?)"; return; }
  use intel "$path" && check intel --quick
)

# llvmpipe takes a minute to compile a kernel of sixteen-wide vectors: CPU strategies are left to the others, and so are cases that
# compare a chain of linear layers, which is one.
rusticl() (
  scripts/install.sh mesa-opencl-icd
  path=$(library libRusticlOpenCL.so.1)
  [ -n "$path" ] || { failed rusticl "mesa-opencl-icd could not be installed"; return; }
  use rusticl "$path"
  export RUSTICL_ENABLE=llvmpipe
  check rusticl --quick '^(?!cache_append)(?!.*then=).*strategy=(items|rows|group|tiled|split),'
)

# Ten thousand times slower: the smallest of everything. Not attention's case `counted_or`, whose counts by sixteens of rows are
# wrong under Oclgrind 21.10 alone, with an empty log. Of decode calls of one split: what one group leaves for another behind a
# fence is a race to Oclgrind.
oclgrind() (
  scripts/install.sh oclgrind
  path=$(find /usr/lib /usr/local/lib -name liboclgrind-rt-icd.so 2>/dev/null | head -n 1)
  [ -n "$path" ] || { failed oclgrind "oclgrind could not be installed"; return; }
  use oclgrind "$path"
  export OCLGRIND_DATA_RACES=1 OCLGRIND_LOG="$scratch/oclgrind.log" FLASHCL_CAPABILITIES=none FLASHCL_CACHE=none
  : >"$OCLGRIND_LOG"
  check oclgrind --quick \
    '^((embedding|.*_norm|gelu|silu_multiply|gelu_multiply|softcap|gather|weighted_gather|rope|softmax|argmax|top_k|cache_append|cache_copy|attention_weights)\(|linear\((?!.*inputs=1536)|attention\((?!.*(Lk=300|lengths=300\+70),).*(D=1,|lengths=(2|19),|lengths=3\+100,|Lq=1,Lk=1,|options=(window_5_3|big_bird|mixed|sinks),))'
)

[ $# -gt 0 ] || set -- pocl pretend intel rusticl oclgrind
status=0
for runtime; do
  case $runtime in
    pocl | pretend | intel | rusticl | oclgrind) $runtime || status=1 ;;
    *) failed "$runtime" "no such runtime; there is pocl, pretend, intel, rusticl, oclgrind" || status=1 ;;
  esac
done
cat "$scratch/verdicts"
exit $status
