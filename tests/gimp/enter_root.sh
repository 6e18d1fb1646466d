#!/bin/bash
# enter_root.sh ROOT NAME=VALUE... -- COMMAND...    Runs COMMAND inside ROOT. Needs to be run as root.
#
# The command gets a mount namespace of its own with /proc, /dev and /sys, and an empty environment
# but for the given variables. The mounts vanish with it; nothing is left on the host. A plain chroot
# would do for gimp-console, but GIMP 3.2 starts bwrap for its icons and needs /proc for that.
set -euo pipefail
export ROOT=$1
shift
variables=()
while [ "$1" != -- ]; do variables+=("$1"); shift; done
shift
# The minimal root has no umount: python detaches the old root (MNT_DETACH = 2).
detach='import ctypes, os, sys
ctypes.CDLL(None).umount2(b"/.old", 2)
os.execvp(sys.argv[1], sys.argv[1:])'
export DETACH=$detach
exec unshare --mount --propagation private bash -c '
  set -e
  mount --bind "$ROOT" "$ROOT"
  cd "$ROOT"
  mkdir -p proc dev sys .old
  mount -t proc proc proc
  mount --rbind /dev dev
  mount --rbind /sys sys
  for shared in ${MASKUPE_SHARE:-}; do
    mkdir -p ".$shared"
    mount --bind "$shared" ".$shared"
  done
  pivot_root . .old
  cd /
  exec /usr/bin/python3 -c "$DETACH" "$@"' enter \
  env -i PATH=/usr/bin:/bin LANG=C.UTF-8 GSETTINGS_BACKEND=memory NO_AT_BRIDGE=1 \
  PYTHONDONTWRITEBYTECODE=1 "${variables[@]}" "$@"
