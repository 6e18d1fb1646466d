#!/bin/sh
# Runs the tests with each Python named that is on this machine: test_pythons.sh VERSION...
#
# Each gets an environment of its own, so without PyTorch: see test_python.sh beside this file.
set -u

# The command of a version, from the PATH or from pyenv's folder; nothing if there is none.
find_python() {
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python; do
        if "$candidate" -c 'import sys' >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
}

ran="" missing="" failed=""
for version in "$@"; do
    python=$(find_python "$version")
    if [ -z "$python" ]; then
        missing="$missing $version"
        continue
    fi
    if "$(dirname "$0")/test_python.sh" "$python" ".venv-$version"; then
        ran="$ran $version"
    else
        failed="$failed $version"
    fi
done
echo "passed:${ran:- none}; failed:${failed:- none}; not on this machine:${missing:- none}"
[ -n "$ran" ] && [ -z "$failed" ]
