#!/usr/bin/env bash
# Brings what the WebGPU and browser tests need on Debian 12 without a GPU: the Vulkan loader, Mesa's software driver
# (lavapipe) from backports, since bookworm's is too old for Dawn, and Chromium. Run as root; the driver from backports
# is unpacked into .cache/vulkan beside the system's, which stays as it is. The last line names the driver's file:
#   export VK_ICD_FILENAMES="$(scripts/software-gpu.sh)" VK_DRIVER_FILES="$VK_ICD_FILENAMES"
set -euo pipefail
cd "$(dirname "$0")/.."
version='25.0.7-2~bpo12+1'
home="$PWD/.cache/vulkan"
icd="$home/lavapipe.json"
export DEBIAN_FRONTEND=noninteractive

missing=()
for package in libvulkan1 mesa-vulkan-drivers chromium; do
  dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
  apt-get update >&2
  apt-get install -y --no-install-recommends "${missing[@]}" >&2
fi

if [ ! -f "$icd" ]; then
  mkdir -p "$home/lists/partial"
  # The same mirror and keys as bookworm's own source, in lists of its own: the system's sources stay untouched.
  mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Codename: bookworm' | head -1)
  key=/usr/share/keyrings/debian-archive-keyring.gpg
  echo "deb [signed-by=$key] $mirror bookworm-backports main" >"$home/sources.list"
  options=(-o "Dir::Etc::sourcelist=$home/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$home/lists")
  apt-get "${options[@]}" update >&2
  (cd "$home" && apt-get "${options[@]}" download "mesa-vulkan-drivers=$version" >&2)
  dpkg -x "$home"/mesa-vulkan-drivers_*.deb "$home/root"
  library=$(find "$home/root" -name libvulkan_lvp.so)
  # Absolute: a bare name would silently find the system's older driver.
  printf '{"ICD":{"api_version":"1.4.305","library_path":"%s"},"file_format_version":"1.0.0"}\n' "$library" >"$icd"
fi
echo "$icd"
