#!/bin/sh
# on-device.sh OUT: proves and times FlashCL on this machine's GPU, ends within eight minutes and leaves in OUT what came to
# its end by then:
#
#   log.txt          what was run and said         check.json, check.html   every case, and the report to look at
#   bench.json       every operation, as a model would run it               attention.json, attention.svg  the sweep of attention
#   models.json      a model of random weights     peers.json   PyTorch's side, where torch is installed
#
# Needs no root, no network and no installed OpenCL: it finds the vendor's driver library where a container runtime puts it.
# FLASHCL_DEVICE picks a device; SECONDS_LIMIT changes the time.
set -u

[ $# -eq 1 ] || { echo "usage: $0 OUT (a folder for the results)" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1" || exit 1
out=$(cd "$1" && pwd)
flashcl=$here/flashcl
log=$out/log.txt
limit=${SECONDS_LIMIT:-460}
start=$(date +%s)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
: > "$log"

left() { echo $((limit - $(date +%s) + start)); }
say() { printf '%s\n' "$*" | tee -a "$log"; }

# run SECONDS NAME COMMAND…: at most SECONDS, and never beyond the end. Commands write their results last: one that is cut
# leaves none.
failures=0
run() {
  seconds=$1 name=$2
  shift 2
  [ "$(left)" -lt "$seconds" ] && seconds=$(left)
  if [ "$seconds" -lt 5 ]; then
    say "-- $name: no time left"
    failures=$((failures + 1))
    return
  fi
  say "-- $name: $*"
  began=$(date +%s)
  timeout -s INT -k 5 "$seconds" "$@" >> "$log" 2>&1
  status=$?
  say "-- $name: exit $status after $(($(date +%s) - began)) s"
  [ $status -eq 0 ] || failures=$((failures + 1))
}

# ---- The driver ------------------------------------------------------------------------------------------------------

# OpenCL's loader reads .icd files, each the name of a driver library. A container runtime mounts the library alone, so
# the files are written here for every library that is found.
if [ -z "${OCL_ICD_VENDORS:-}" ]; then
  mkdir "$scratch/vendors"
  cp /etc/OpenCL/vendors/*.icd "$scratch/vendors/" 2> /dev/null
  for name in libnvidia-opencl.so.1 libamdocl64.so libigdrcl.so libmali.so.1 libPVROCL.so.1 libpocl.so.2 libpocl.so.2.9.0; do
    grep -qs "$name" "$scratch"/vendors/*.icd && continue
    for folder in /usr/local/nvidia/lib64 /usr/local/nvidia/lib /usr/lib/x86_64-linux-gnu /usr/lib/aarch64-linux-gnu \
      /usr/lib64 /usr/lib /usr/lib/wsl/lib /opt/rocm/lib /opt/rocm/opencl/lib /usr/lib/x86_64-linux-gnu/intel-opencl; do
      if [ -e "$folder/$name" ]; then
        echo "$folder/$name" > "$scratch/vendors/${name%%.so*}.icd"
        break
      fi
    done
  done
  export OCL_ICD_VENDORS="$scratch/vendors"
fi
export FLASHCL_CACHE="${FLASHCL_CACHE:-$scratch/cache}"

# ---- What is measured ------------------------------------------------------------------------------------------------

say "$(date -u +%Y-%m-%dT%H:%M:%SZ) $(uname -srm), $(nproc) cores; drivers: $(cat "$OCL_ICD_VENDORS"/*.icd 2> /dev/null | tr '\n' ' ')"
run 60 devices "$flashcl" devices
run 20 doctor "$flashcl" devices --doctor
# The quick check first: where the full one does not come to its end, its reports stay.
run 180 quick "$flashcl" check --quick --report "$out/check.html" --report "$out/check.json"
run 90 check "$flashcl" check --full --report "$out/check.html" --report "$out/check.json"
run 60 bench "$flashcl" bench --chosen --output "$out/bench.json"
run 70 attention "$flashcl" bench attention --chosen --sweep "N=512:16384:x2,D=64|128,causal=0|1,type=f16|f32" \
  --output "$out/attention.json" --plot "$out/attention.svg"
run 40 models "$flashcl" bench --model-shape smollm2-135m --output "$out/models.json"
if python3 -c 'import torch' 2> /dev/null; then
  run 60 peers python3 "$here/peers/compare.py" --flashcl "$flashcl" --rounds 1 --seconds 0.2 --limit 45 \
    --only '^(full|causal) (1024|4096)|D 64|^linear|4096×|^SmolLM2' --json "$out/peers.json"
else
  say "-- peers: no python3 with torch here"
fi

say "-- $(($(date +%s) - start)) s, $failures of the steps failed; results in $out"
[ $failures -eq 0 ]
