#!/bin/sh
# Runs the tests with each Python named that is on this machine: test_pythons.sh VERSION...
#
# Each gets an environment of its own with the extra `test`, so without PyTorch: what a user has who
# installs the package. Tests that need the extra `train` are skipped there (tests/conftest.py).
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
    folder=".venv-$version"
    echo "== Python $version: $python"
    if [ ! -x "$folder/bin/python" ]; then
        "$python" -m venv "$folder" || exit 1
    fi
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check -e ".[test]" || exit 1
    if "$folder/bin/python" -m pytest -m "not gimp"; then
        ran="$ran $version"
    else
        failed="$failed $version"
    fi
done
echo "passed:${ran:- none}; failed:${failed:- none}; not on this machine:${missing:- none}"
[ -n "$ran" ] && [ -z "$failed" ]
