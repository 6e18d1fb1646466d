"""The files that go into GIMP, at work without numpy, pyzmq or compiled msgpack."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgpack
import numpy as np

import maskupe_client
from tests.daemon.running import expected, region, request_for

FOLDER = Path(maskupe_client.__file__).parent
MSGPACK = ("__init__.py", "exceptions.py", "ext.py", "fallback.py")

USE = """
import sys
sys.path.insert(0, sys.argv[1])
import msgpack
from maskupe_client.launcher import ensure_running
from maskupe_client.client import Client, EnhanceRequest, PlaneSpec
assert msgpack.Packer.__module__ == "msgpack.fallback"
assert not {"numpy", "zmq"} & set(sys.modules)
image = bytes.fromhex(sys.argv[2])
with Client.connect(20, name="bundle") as client:
    request = EnhanceRequest(PlaneSpec((6, 7, 3), "u8"), (6, 7))
    print(client.enhance(request, [image])[1]["image"].hex())
"""


def test_the_bundle_works_without_any_installed_package(daemon, tmp_path):
    for package, source, names in (
        ("maskupe_client", FOLDER, sorted(path.name for path in FOLDER.glob("*.py"))),
        ("msgpack", Path(msgpack.__file__).parent, MSGPACK),
    ):
        (tmp_path / package).mkdir()
        for name in names:
            shutil.copy(source / name, tmp_path / package)
    image, _ = region(np.random.default_rng(0), (6, 7, 3))
    # -I and -S: neither our environment nor any site-packages.
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", USE, str(tmp_path), image.tobytes().hex()],
        env={**os.environ, "MASKUPE_STATE_DIR": str(daemon.home)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result = np.frombuffer(bytes.fromhex(done.stdout.strip()), np.uint8).reshape(image.shape)
    request, _ = request_for(image)
    difference = result.astype(int) - expected(image, None, request)
    assert np.abs(difference).max() <= 1
