#!/bin/sh
# Installs what FlashCL needs beside Swift: OpenCL's headers and loader, CLBlast, PoCL (OpenCL on the CPU) and pip; and the
# packages that are named. Says nothing and takes no time where all of it is there.
set -eu

say() { echo "install: $*" >&2; }

if ! command -v swift >/dev/null; then
  say "Swift 6.1 or newer is missing: see https://www.swift.org/install"
  exit 1
fi

if ! command -v dpkg-query >/dev/null; then
  say "no Debian packages here: OpenCL's headers, its loader and a driver must come from this system's own (pocl is one for CPUs)"
  exit 0
fi

# A GPU without its driver would be passed over for the CPU: name the package that brings one.
has_driver() { (ls "${OCL_ICD_VENDORS:-/etc/OpenCL/vendors}" 2>/dev/null || true) | grep -qiE "$1"; }
for file in /sys/class/drm/card*/device/vendor; do
  [ -r "$file" ] && cat "$file"
done | sort -u | while read -r vendor; do
  case $vendor in
    0x8086) has_driver 'intel' || say "an Intel GPU has no OpenCL driver: apt-get install intel-opencl-icd" ;;
    0x1002) has_driver 'mesa|rusticl|amdocl' || say "an AMD GPU has no OpenCL driver:" \
      "apt-get install mesa-opencl-icd and set RUSTICL_ENABLE=radeonsi, or install ROCm" ;;
    0x10de) has_driver 'nvidia' || say "an NVIDIA GPU has no OpenCL driver: install NVIDIA's (Debian: nvidia-opencl-icd)" ;;
  esac
done

missing=
need() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ] || missing="$missing $1"
}
need ocl-icd-opencl-dev
need opencl-headers
need libclblast-dev
need pocl-opencl-icd
for package; do need "$package"; done
python3 -m pip --version >/dev/null 2>&1 || need python3-pip
[ -z "$missing" ] && exit 0

if [ "$(id -u)" = 0 ]; then
  as_root=
elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
  as_root=sudo
else
  say "missing:$missing"
  say "this user may not install packages; ask someone who may to run: apt-get install$missing"
  exit 1
fi

say "apt-get install$missing"
apt() { $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" >&2; }
apt update || say "the package lists could not be refreshed; trying with those at hand"
# shellcheck disable=SC2086  # a list
if ! apt install --yes --no-install-recommends $missing; then
  say "apt-get could not install:$missing (is there a network?)"
  exit 1
fi
