#!/bin/sh
# on-device.sh OUT: proves and times FlashCL on this machine's GPU, ends within eight minutes and leaves in OUT what came to
# its end by then:
#
#   log.txt          what was run and said         check.json, check.html   every case, and the report to look at
#   bench.json       every operation, as a model would run it               attention.json, attention.svg  the sweep of attention
#   drafts.json      1 to 16 new tokens over a long cache, as a draft is verified
#   splits.json      decode with and without matrix units
#   models.json      a model of random weights, with caches in f32 and f16; how many kernels a token launches
#   peers.json       PyTorch's side, where torch is installed
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
slack=20 # what a command may need to come to its end after its own time
start=$(date +%s)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
: > "$log"

left() { echo $((limit - $(date +%s) + start)); }
say() { printf '%s\n' "$*" | tee -a "$log"; }

# share PERCENT: sets `seconds` to this much of the time that is left but for what is kept for the peers. What a step
# leaves unused is thus the next ones'.
share() {
  seconds=$((($(left) - peers) * $1 / 100))
  [ $seconds -ge 1 ] || seconds=1
}

# run SECONDS NAME COMMAND…: at most SECONDS, and never beyond the end. Commands write their results last, and one that is
# cut leaves none: so each is told to end by itself, and this is what happens to one that hangs.
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
peers=0
python3 -c 'import torch' 2> /dev/null && peers=60
share 50
run $((seconds + slack)) check "$flashcl" check --full --seconds $seconds --report "$out/check.html" \
  --report "$out/check.json"
share 40
run $((seconds + slack)) bench "$flashcl" bench --chosen --seconds $seconds --output "$out/bench.json"
share 55
run $((seconds + slack)) attention "$flashcl" bench attention --chosen --seconds $seconds \
  --sweep "N=512:16384:x2,D=64|128,causal=0|1,type=f16|f32" \
  --output "$out/attention.json" --plot "$out/attention.svg"
share 35
run $((seconds + slack)) drafts "$flashcl" bench attention --chosen --seconds $seconds \
  --sweep "cache=f16|f32,H=64,Hkv=8,D=128,Lk=32768,Lq=1|2|4|8|16,phase=decode" --output "$out/drafts.json"
share 20
run $((seconds + slack)) splits "$flashcl" bench 'attention\(strategy=(matrix_)?split,.*Hq=32,Hkv=8,' --seconds $seconds \
  --output "$out/splits.json"
share 80
run $((seconds + slack)) models "$flashcl" bench --model-shape smollm2-135m --cache-types f32,f16 --seconds $seconds \
  --output "$out/models.json"
if [ $peers -gt 0 ]; then
  run 60 peers python3 "$here/peers/compare.py" --flashcl "$flashcl" --rounds 1 --seconds 0.2 --limit 45 \
    --only '^(full|causal) (1024|4096)|D 64|^linear|4096×|^SmolLM2' --json "$out/peers.json"
else
  say "-- peers: no python3 with torch here"
fi

say "-- $(($(date +%s) - start)) s, $failures of the steps failed; results in $out"
[ $failures -eq 0 ]
