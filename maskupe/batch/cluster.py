"""Running a batch's jobs on a Ray cluster (extra ``[ray]``).

Photos, masks and outputs must lie where every machine sees them under the same path, and
maskupe must be installed on each. Whoever reaches a Ray cluster's ports can run code on it, so a
cluster that is started here listens on loopback and asks for a token made for this run.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from maskupe.batch.runners import Models, Result, attempt, check_workers, default_workers
from maskupe.errors import InputError, MaskUPEError
from maskupe.photo_job import PhotoJob
from maskupe.registry import given_file

#: The address that means: start a cluster on this machine, for this batch only.
LOCAL = "local"
# Seconds for a cluster to take a connection.
_CONNECT_TIMEOUT = 10.0


def run_on_ray(
    jobs: Sequence[PhotoJob], address: str, workers: int = 0, device: str = "auto"
) -> Iterator[Result]:
    """Run the jobs on the cluster at ``address``, yielding results as they come.

    Args:
        jobs: what to do.
        address: as for ``ray.init``; ``"local"`` starts a cluster on this machine.
        workers: photos at a time on a local cluster; 0 for a good number. Another cluster
            decides by its own CPUs.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Raises:
        InputError: if Ray is not installed, or for a number of workers that cannot be.
        MaskUPEError: if the cluster cannot be reached.
    """
    check_workers(workers)
    if find_spec("ray") is None:
        raise InputError("Ray is not installed.", "Install it with: pip install 'maskupe[ray]'.")
    if address == LOCAL:
        # Ray reads these when it is imported.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        # Nothing about the batch leaves the machine.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    else:
        _check_reachable(address)
    import ray

    _connect(ray, address, workers)
    try:
        remote = ray.remote(max_retries=2)(_attempt)
        waiting = {remote.remote(_absolute(job), device): job for job in jobs}
        while waiting:
            ready, _ = ray.wait(list(waiting), num_returns=1)
            job = waiting.pop(ready[0])
            try:
                yield ray.get(ready[0])
            except ray.exceptions.RayError as error:
                yield Result(job, f"The cluster lost it: {type(error).__name__}.")
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise MaskUPEError where nobody answers: Ray itself would wait for more than ten minutes.

    An address that is no host and port (``auto``) is left to Ray.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_TIMEOUT).close()
    except (OSError, OverflowError) as error:
        raise MaskUPEError(
            f"Nobody answers at {address}: {error}.", "Is the cluster up, and the port right?"
        ) from error


def _connect(ray: Any, address: str, workers: int) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "warning"}
    if address == LOCAL:
        options.update(
            address=LOCAL,
            num_cpus=workers or default_workers(),
            include_dashboard=False,
            _node_ip_address="127.0.0.1",
        )
    else:
        options.update(address=address)
    try:
        ray.init(**options)
    except Exception as error:  # Ray raises whatever its layers do
        raise MaskUPEError(
            f"The Ray cluster {address} cannot be used: {' '.join(str(error).split())[:300]}.",
            "Look at 'ray status' there.",
        ) from error


def _absolute(job: PhotoJob) -> PhotoJob:
    """Return the job for a process that need not work in our directory."""
    file = given_file(job.model)
    return replace(
        job,
        photo=job.photo.absolute(),
        output=job.output.absolute(),
        mask=job.mask and job.mask.absolute(),
        matte=job.matte and job.matte.absolute(),
        model=str(file.absolute()) if file else job.model,
    )


_models: dict[str, Models] = {}


def _attempt(job: PhotoJob, device: str) -> Result:
    """Run one job in a worker process, which keeps its models from job to job."""
    models = _models.setdefault(device, Models(device, 1))
    return attempt(job, models)
