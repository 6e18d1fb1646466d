"""A client that is to be killed: says where it is, and gets no further than it was told.

``python -m tests.daemon.victim STAGE DIRECTORY`` prints one line when it has reached the stage:
``sending`` half its pixels, ``waiting`` for a slow job, or ``receiving`` a result it never reads.
"""

import sys
import time
from pathlib import Path

import numpy as np

from maskupe_client.client import ChunkedFrame, Client
from tests.daemon.running import region, request_for

SHAPES = {"sending": (2000, 3000, 4), "waiting": (40, 60, 3), "receiving": (2000, 3000, 4)}
MODELS = {"sending": "quick", "waiting": "slow-200", "receiving": "quick"}


def reached():
    print("reached", flush=True)


def main():
    stage, directory = sys.argv[1], Path(sys.argv[2])
    image, selection = region(np.random.default_rng(0), SHAPES[stage])
    request, planes = request_for(image, selection, model=MODELS[stage])
    client = Client.connect(directory=directory, name=f"victim-{stage}")
    if stage == "sending":

        def half():
            yield image[:1000]
            reached()
            time.sleep(600)

        planes[0] = ChunkedFrame(image.nbytes, half)
        client.enhance(request, planes)
    elif stage == "waiting":

        def progress(now):
            if now.stage == "running":
                reached()
                time.sleep(600)

        client.enhance(request, planes, progress)
    else:
        from maskupe_client.framing import pack

        client._channel.send([pack(request.header()), *planes])
        reached()
        time.sleep(600)


if __name__ == "__main__":
    main()
