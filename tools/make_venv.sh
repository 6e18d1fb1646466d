#!/bin/sh
# Makes a virtual environment with pip in it: make_venv.sh PYTHON FOLDER
#
# Debian and Ubuntu leave ensurepip out of python3; it comes with the package python3-venv, which is
# installed here if we may, and asked for in one line if we may not.
set -eu
python=$1
folder=$2

if ! command -v "$python" >/dev/null 2>&1; then
    echo "There is no $python. Install Python 3.10 or newer, or name one: make PYTHON=…" >&2
    exit 2
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    echo "$("$python" --version) is too old: MaskUPE needs 3.10 or newer. make PYTHON=python3.12" >&2
    exit 2
fi
if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "Installing Debian's python3-venv, which python3 needs to make environments …"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            "python$version-venv" python3-venv
    else
        echo "python3 cannot make environments here. Run this once, then make again:" >&2
        echo "    sudo apt-get install -y python3-venv" >&2
        exit 2
    fi
fi
echo "Making the environment $folder …"
rm -rf "$folder"
"$python" -m venv "$folder"
