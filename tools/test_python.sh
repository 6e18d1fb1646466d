#!/usr/bin/env bash
# Runs the tests without PyTorch with one Python: test_python.sh PYTHON [FOLDER]
#
# In an environment of its own with the extra `test`: what a user has who installs the package. Tests
# that need the extra `train` are skipped there (tests/conftest.py). On Windows for Git's bash.
set -euo pipefail
python=$1
folder=${2:-.venv-test}

[[ -d $folder ]] || "$python" -m venv "$folder"
bin=$folder/bin
[[ -d $bin ]] || bin=$folder/Scripts
"$bin/python" -m pip install --quiet --disable-pip-version-check -e ".[test]"
"$bin/python" -m pytest -m "not gimp"
