#!/bin/sh
# Builds the wheel and the source archive as they would be published, builds the wheel again from
# that archive alone, installs it into an empty environment and uses it: try_package.sh PYTHON
#
# Leaves the two files in dist/. The environment has no PyTorch, like most users'.
set -eu
python=$1
rm -rf dist build/package
mkdir -p build/package
"$python" -m build --outdir dist .
"$python" -m twine check --strict dist/*
"$python" -m pip wheel --quiet --no-deps --wheel-dir build/package dist/*.tar.gz
ls -l dist build/package

"$python" -m venv build/package/venv
build/package/venv/bin/python -m pip install --quiet --disable-pip-version-check \
    build/package/*.whl
cp daemon/maskupe_daemon/data/portrait.jpg build/package/photo.jpg
cd build/package # so that nothing is imported from the checkout
for program in maskupe maskupe-daemon maskupe-gimp maskupe-train; do
    venv/bin/$program --version
done
venv/bin/maskupe enhance photo.jpg -o lit.png
venv/bin/maskupe demo --out demo
if venv/bin/maskupe-train fit lantern --data . 2>message; then
    echo "maskupe-train ran without PyTorch?" >&2
    exit 1
fi
cat message
grep -q "pip install 'maskupe\[train\]'" message
venv/bin/python - <<'END'
import subprocess, sys, time

from maskupe.rendering import native_backend

print("compiled renderer:", native_backend.available())


def seconds(*command: str) -> float:
    """The shortest of five runs."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return min(times)


empty = seconds(sys.executable, "-c", "pass")
print(f"python -c pass: {empty:.3f} s")
for line in (
    "maskupe --version", "maskupe --help", "maskupe enhance --help", "maskupe-daemon --version",
    "maskupe-daemon --help", "maskupe-gimp --help", "maskupe-train --version",
    "maskupe-train fit --help",
):
    taken = seconds(*f"venv/bin/{line}".split())
    print(f"{line}: {taken:.3f} s, {taken / empty:.1f} times as long")
END
