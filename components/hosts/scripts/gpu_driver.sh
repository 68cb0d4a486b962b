#!/usr/bin/env bash
# Has the NVIDIA driver loaded that is installed: module built for the running kernel, nouveau gone, module and libraries of one
# version. What cannot be exchanged while it is in use takes a restart of the node; whoever runs this waits for it.
# A GPU that does not answer is none of this script's business: it is not allocatable, and that is reported elsewhere.
# Environment: OWNER (program, or installed: only verified), DRIVER_VERSION and MODULE (open, proprietary) for `program`.
# Standard input of `apply`: `yes` if a control plane has moved the pods away and must bring the node back.
set -euo pipefail
: "${DRIVER_VERSION:=}" "${MODULE:=}"

state=/var/lib/qwen3-vl
loaded_file=/proc/driver/nvidia/version
kernel=$(uname -r)

fail() {
  echo "$1" >&2
  exit 2
}

number() { grep -oE '[0-9]{3}\.[0-9]+(\.[0-9]+)?' | head -n 1; }
loaded() { if [[ -r $loaded_file ]]; then number <"$loaded_file" || true; fi; }

loaded_kind() { if grep -q "Open Kernel Module" "$loaded_file"; then echo open; else echo proprietary; fi; }

# Sets `kind` (empty: all is well) and `reason`.
judge() {
  kind='' reason=''
  local output status=0 version
  if ! type -P nvidia-smi >/dev/null; then
    kind=absent reason="no nvidia-smi"
    return
  fi
  if [[ -d /sys/module/nouveau ]]; then
    kind=nouveau reason="nouveau holds the GPUs"
    return
  fi
  output=$(timeout 60 nvidia-smi --query-gpu=driver_version,uuid --format=csv,noheader 2>&1) || status=$?
  version=$(loaded)
  if [[ $output == *"version mismatch"* ]]; then
    kind=mismatch reason="the loaded module is ${version:-another version}, the libraries are $(number <<<"${output#*mismatch}" || echo another): upgraded without a restart"
  elif [[ $output == *"couldn't communicate with the NVIDIA driver"* ]]; then
    kind=unloaded reason="the driver's module is not loaded"
  else
    version=${version:-$(number <<<"$output" || true)}
    if [[ -z $version ]]; then
      kind=broken reason="nvidia-smi ends with $status: ${output##*$'\n'}"
    elif [[ -n $DRIVER_VERSION && $version != "$DRIVER_VERSION" ]]; then
      kind=mismatch reason="the loaded module is $version, wanted $DRIVER_VERSION"
    elif [[ -n $MODULE && -r $loaded_file && $MODULE != "$(loaded_kind)" ]]; then
      kind=mismatch reason="the loaded module is not the $MODULE one"
    fi
  fi
}

built() { [[ $(dkms status -k "$kernel" 2>/dev/null || true) =~ (^|$'\n')nvidia[^:]*"$DRIVER_VERSION"[^:]*:\ installed ]]; }

build() {
  [[ -e /lib/modules/$kernel/build || -d /usr/src/linux-headers-$kernel ]] ||
    fail "no headers of the running kernel $kernel; the driver's module is built with them. Restart the node into a kernel whose linux-headers package can be had"
  echo "building the module for $kernel"
  dkms autoinstall -k "$kernel" 2>&1 || true
  built || fail "the driver's module $DRIVER_VERSION cannot be built for kernel $kernel; the driver must support the kernel. Read /var/lib/dkms/nvidia*/$DRIVER_VERSION/build/make.log, then choose another gpu.driver.version or kernel"
}

secure_boot() {
  local variable=/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
  [[ -r $variable && $(od -An -t u1 -j 4 -N 1 "$variable" | tr -d ' ') == 1 ]]
}

load() {
  local output
  output=$(modprobe nvidia 2>&1) && { modprobe nvidia-uvm 2>&1 || true; return 0; }
  if [[ $output == *"Key was rejected"* || $output == *"Required key not available"* ]] || { secure_boot && [[ $output == *"not permitted"* ]]; }; then
    fail "the kernel refuses the driver's module: Secure Boot is on and the key it is signed with is not enrolled. Enrol it at the console (\`mokutil --import\`), or switch Secure Boot off"
  fi
  echo "modprobe nvidia: $output"
  return 1
}

# Modules that were never loaded need not exist.
unload() {
  local module
  for module in nvidia-uvm nvidia-drm nvidia-modeset nvidia-peermem; do
    [[ ! -d /sys/module/${module//-/_} ]] || modprobe -r "$module" || return 1
  done
  modprobe -r nvidia
}

# The connection ends with the node; the caller comes back when it is there again and looks anew.
restart() {
  # Since init began: a node that is itself a container has its machine's /proc/uptime.
  if [[ -e $state/restarted && $(ps -o etimes= -p 1) -lt 900 ]]; then
    rm -f -- "$state/restarted"
    fail "$1, also after a restart; the driver must load. Look at \`dmesg | grep -i -e nvrm -e nvidia\` on the node"
  fi
  mkdir -p "$state"
  touch "$state/restarted"
  echo "restarting the node: $1"
  sync
  systemctl reboot
  sleep 300
  fail "the node did not restart within 5 minutes. Restart it"
}

judge
if [[ -z $kind ]]; then
  echo "unchanged: driver $(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | number || loaded) is loaded"
  exit 0
fi
if [[ $1 == check ]]; then
  echo "drifted: $reason"
  exit 1
fi

if [[ $OWNER == installed ]]; then
  fail "$reason; with gpu.driver.owner: installed this program does not touch the driver. Install or repair it (a restart mends a version mismatch), or set gpu.driver.owner to program"
fi
if [[ $(cat) == yes ]]; then
  mkdir -p "$state"
  touch "$state/vacated"
fi
[[ $kind != absent ]] || fail "$reason though the packages are installed; their installation is broken. Run \`apt-get install --reinstall\` for them"

built || build
if [[ $kind == nouveau ]]; then
  # The start of the system must not load it again either.
  if type -P update-initramfs >/dev/null; then update-initramfs -u -k "$kernel" >/dev/null; fi
  modprobe -r nouveau 2>/dev/null || true
  [[ ! -d /sys/module/nouveau ]] || restart "$reason and cannot be unloaded"
fi
if [[ $kind == mismatch || $kind == broken ]]; then
  systemctl stop nvidia-persistenced.service nvidia-dcgm.service 2>/dev/null || true
  unload 2>/dev/null || restart "$reason, and it is in use"
fi
load || restart "the driver's module cannot be loaded"
systemctl start nvidia-persistenced.service 2>/dev/null || true
judge
[[ -z $kind ]] || restart "$reason"
rm -f -- "$state/restarted"
echo "driver ${DRIVER_VERSION:-} is loaded"
