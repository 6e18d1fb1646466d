#!/bin/bash
# build_root.sh 3.0|3.2    Builds a Debian root with that GIMP and prints its path.
#
# Real GIMP 3 for the tests on a host that has none (Debian 12, Ubuntu 24.04 ship 2.10). The root is
# kept outside of the repository and built once: about a minute, 700 MB. Needs to be run as root.
# Without rights or without a Debian mirror it ends with status 3 and one sentence on stderr.
set -euo pipefail

give_up() { echo "$1" >&2; exit 3; }

version=${1:-3.0}
case $version in
  3.0) suite=trixie ;;
  3.2) suite=forky ;;
  *) echo "Unknown GIMP version $version: use 3.0 or 3.2." >&2; exit 2 ;;
esac
german=usr/lib/locale/de_DE.utf8
cache=${XDG_CACHE_HOME:-$HOME/.cache}/maskupe
target=$cache/gimp-root-$version

# German, for the test of the translated dialog: GTK translates only for a locale that is there.
speak_german() {
  chroot "$1" localedef --no-archive -i de_DE -f UTF-8 de_DE.UTF-8 >&2
}

if [ -e "$target/complete" ] && [ -e "$target/$german" ]; then echo "$target"; exit 0; fi
[ "$(id -u)" = 0 ] || give_up "A GIMP root can only be built by root, and no GIMP 3 is installed."
command -v apt-get >/dev/null || give_up "A GIMP root is built with apt, which this system has not."

mkdir -p "$cache"
exec 9>"$target.lock"
flock 9                                   # two test runs at once: the second waits for the first
if [ -e "$target/complete" ]; then
  if [ ! -e "$target/$german" ]; then     # built before the tests knew German
    "$(dirname "$0")/enter_root.sh" "$target" PATH=/usr/sbin:/usr/bin:/sbin:/bin \
      DEBIAN_FRONTEND=noninteractive -- sh -c \
      'apt-get update -qq && apt-get install -y -qq --no-install-recommends locales' >&2 ||
      give_up "The package locales could not be installed in $target: remove it to build it anew."
    speak_german "$target"
  fi
  echo "$target"
  exit 0
fi

if ! command -v mmdebstrap >/dev/null || [ ! -e /usr/share/keyrings/debian-archive-keyring.gpg ]; then
  echo "Installing mmdebstrap ..." >&2
  apt-get update -qq >&2 || true
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    mmdebstrap debian-archive-keyring >&2 || give_up "mmdebstrap could not be installed with apt."
fi

# The mirror is the one that this host uses; another distribution's host has to name one.
mirror=${MASKUPE_DEBIAN_MIRROR:-$(apt-get indextargets --format '$(ORIGIN) $(SITE)' 'Created-By: Packages' |
  awk '$1 == "Debian" && $2 !~ /security/ {print $2; exit}')}
[ -n "$mirror" ] || give_up "apt knows no Debian mirror here: set MASKUPE_DEBIAN_MIRROR to one."

packages=gimp,gimp-data,gir1.2-gimp-3.0,gir1.2-gtk-3.0,python3,python3-gi,python3-gi-cairo
packages+=,openbox,xvfb,xauth,xdotool,x11-utils,imagemagick,adwaita-icon-theme,fonts-dejavu-core,locales

echo "Building a Debian $suite root with GIMP $version in $target (about a minute) ..." >&2
rm -rf "$target" "$target.partial"
trap 'rm -rf "$target.partial"' EXIT
# forky's index files may be older than they claim to be valid; locales other than de are not read.
mmdebstrap --quiet --mode=root --variant=apt \
  --aptopt='Apt::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
  --aptopt='Acquire::Check-Valid-Until "false"' --dpkgopt='force-unsafe-io' \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-include=/usr/share/locale/de/*' \
  --dpkgopt='path-exclude=/usr/share/gimp/3.0/help/*' \
  --include="$packages" "$suite" "$target.partial" "$mirror" >&2 ||
  give_up "mmdebstrap could not build a $suite root from $mirror."
speak_german "$target.partial"
touch "$target.partial/complete"
mv "$target.partial" "$target"
echo "$target"
