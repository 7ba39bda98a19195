#!/bin/sh
# Packs bench/device-bundle.tar.gz: all that a machine with a GPU and nothing else needs to prove and time FlashCL there.
#
#   flashcl          the command, Swift's library inside; finds lib/ beside it
#   lib/             OpenCL's loader, CLBlast, and the C++ libraries that they need
#   on-device.sh     runs all of it: on-device.sh OUT
#   peers/           the comparison with PyTorch and others, for where torch is installed
set -eu
cd "$(dirname "$0")/.."

jobs=${JOBS:-$(nproc)}
scratch=.build-static
swift build -c release --product flashcl --static-swift-stdlib --scratch-path $scratch -j "$jobs" \
  -Xlinker -rpath -Xlinker "\$ORIGIN/lib" >&2
bin=$(swift build -c release --product flashcl --static-swift-stdlib --scratch-path $scratch --show-bin-path)/flashcl

staging=$(mktemp -d)
trap 'rm -rf "$staging"' EXIT
trap 'exit 1' HUP INT TERM
bundle=$staging/flashcl-device
mkdir -p "$bundle/lib" "$bundle/peers"
strip -o "$bundle/flashcl" "$bin"

# A library by its name, from where the linker finds it; CLBlast may be absent, what it gives is then not measured.
library() {
  path=$(ldconfig -p | awk -v name="$1" -v machine="$(uname -m)" \
    '$1 == name && (index($0, "x86-64") || machine != "x86_64") { print $NF; exit }')
  if [ -n "$path" ]; then cp -L "$path" "$bundle/lib/$1"; return 0; fi
  echo "device-bundle: $1 is not installed here${2:+; $2}" >&2
  return 1
}
library libOpenCL.so.1 "run make install" || exit 1
library libstdc++.so.6 && library libgcc_s.so.1 || exit 1
library libclblast.so.1 "the bundle goes without it" || true

cp scripts/on-device.sh "$bundle/"
cp bench/peers/*.py "$bundle/peers/"
rm "$bundle"/peers/*_test.py
tar -C "$staging" -czf bench/device-bundle.tar.gz.tmp flashcl-device
mv bench/device-bundle.tar.gz.tmp bench/device-bundle.tar.gz

bytes=$(wc -c < bench/device-bundle.tar.gz)
limit=$((40 * 1024 * 1024))
if [ "$bytes" -gt $limit ]; then
  echo "device-bundle: $bytes bytes are more than the limit of $limit" >&2
  exit 1
fi
echo "bench/device-bundle.tar.gz: $bytes bytes. On the machine with the GPU:"
echo "  tar xzf device-bundle.tar.gz && flashcl-device/on-device.sh results"
