"""``maskupe-daemon``: run, ask and stop the service.

Exit status: 0 fine, 1 a failure or no daemon to ask, 2 bad usage or input, 3 another daemon is
running, 4 it cannot listen safely, 5 the device is not there. Heavy imports wait until a command
needs them, so that ``--version`` is instant. It is argparse that reads the arguments: Typer brings
pydantic, which would cost every start from GIMP a third of a second and the daemon 12 MB.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Sequence

from maskupe import __version__
from maskupe.cli.output import handle_broken_pipe
from maskupe.errors import MaskUPEError, describe_failure
from maskupe.memory import require_address_space
from maskupe_client.errors import ClientError


@handle_broken_pipe
def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] not in (*_COMMANDS, "-h", "--help", "--version"):
        arguments = ["run", *arguments]
    options = _parser().parse_args(arguments)
    try:
        status: int = options.action(options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        raise
    except Exception as error:
        if options.debug:
            raise
        text = str(error) if isinstance(error, ClientError) else describe_failure(error)
        with contextlib.suppress(OSError):  # stderr may lie on a full disk
            print(f"maskupe-daemon: {text}", file=sys.stderr, flush=True)
        return error.exit_status if isinstance(error, MaskUPEError) else 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="maskupe-daemon", description="The service that enhances layers for GIMP."
    )
    parser.add_argument("--version", action="version", version=f"maskupe-daemon {__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show where an error comes from")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", parents=[common], help="serve in the foreground (default)")
    run.add_argument("--endpoint", metavar="E", help="ipc://PATH or tcp://127.0.0.1:PORT")
    run.add_argument("--tcp", action="store_true", help="use a loopback port and a token, not ipc")
    run.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda or mps")
    run.add_argument(
        "--idle-unload",
        type=_seconds,
        default=600.0,
        metavar="S",
        help="drop the models after so many seconds without work (600; 0: never)",
    )
    run.set_defaults(action=_run)

    status = commands.add_parser("status", parents=[common], help="what the daemon is doing")
    status.add_argument("--json", action="store_true", help="as one JSON object")
    status.set_defaults(action=_status)

    stop = commands.add_parser("stop", parents=[common], help="stop the daemon")
    stop.set_defaults(action=_stop)

    forward = commands.add_parser(
        "forward", parents=[common], help="work on another machine, through ssh"
    )
    forward.add_argument("host", metavar="HOST", help="as you would name it to ssh")
    forward.add_argument(
        "--command",
        default="maskupe-daemon",
        metavar="C",
        help="what to run there, if maskupe-daemon is not on its PATH",
    )
    forward.set_defaults(action=_forward)

    locate = commands.add_parser(
        "locate",
        parents=[common],
        help="start the daemon if need be and print how to reach it, secrets included; "
        "forward runs this on the other machine",
    )
    locate.set_defaults(action=_locate)

    service = commands.add_parser("service", parents=[common], help="start it with the session")
    service.add_argument("what", choices=["install", "uninstall", "status"])
    service.add_argument("--print", action="store_true", help="only show what would be written")
    service.set_defaults(action=_service)
    return parser


#: Seconds that a daemon may take to stop: it gives a running job five.
_STOPPING = 10.0
_COMMANDS = ("run", "status", "stop", "forward", "locate", "service")


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1e9:
        raise argparse.ArgumentTypeError("must be a number of seconds, 0 or more")
    return value


def _run(options: argparse.Namespace) -> int:
    require_address_space()
    from maskupe_daemon.app import Options, run

    run(
        Options(
            endpoint=options.endpoint,
            tcp=options.tcp,
            device=options.device,
            idle_unload=options.idle_unload,
            verbose=options.debug,
        )
    )
    return 0


def _status(options: argparse.Namespace) -> int:
    from maskupe_client.client import Client

    with Client.connect(name="maskupe-daemon status") as client:
        report = {**client.status(), "forwarded_to": client.host or None}
    if options.json:
        print(json.dumps(report, indent=1))
        return 0
    for name, value in report.items():
        if value in (None, ""):
            continue
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        if name.endswith("_bytes"):
            name, shown = name.replace("_bytes", "_memory"), f"{value / 1e6:.0f} MB"
        print(f"{name.replace('_', ' '):15} {shown}")
    return 0


def _stop(_options: argparse.Namespace) -> int:
    from maskupe_client.client import Client
    from maskupe_client.connection import read_connection, state_directory
    from maskupe_client.errors import NotRunningError
    from maskupe_daemon.presence import await_end

    if _end_link():
        return 0
    try:
        client = Client.connect(name="maskupe-daemon stop")
    except NotRunningError as error:
        raise ClientError(error.message, "There is nothing to stop.") from None
    with client:
        server = client.welcome["server"]
        client.shutdown()
    deadline = time.monotonic() + _STOPPING
    while time.monotonic() < deadline:
        try:
            if read_connection().server != server:
                return 0
        except NotRunningError:
            # It can be found no more, but only when it has ended can the next one be started.
            if await_end(state_directory(), 0):
                return 0
        time.sleep(0.02)
    print("maskupe-daemon: The daemon has not stopped yet.", file=sys.stderr)
    return 1


def _end_link() -> bool:
    """End the link to another machine's daemon, if it is one that clients are sent to."""
    from maskupe_client.connection import read_connection, state_directory
    from maskupe_client.errors import NotRunningError
    from maskupe_daemon.presence import await_end, withdraw

    try:
        host = read_connection().host
    except NotRunningError:
        return False
    if not host:
        return False
    # Without its connection file a link ends by itself: no process is signalled, whose number
    # might have passed to another program.
    withdraw(state_directory())
    if not await_end(state_directory(), _STOPPING):
        raise ClientError(
            f"The link to {host} has not ended yet.", "End 'maskupe-daemon forward' with Ctrl-C."
        )
    print(f"The link to {host} has ended; the daemon there goes on.")
    return True


def _forward(options: argparse.Namespace) -> int:
    from maskupe_daemon.forward import forward

    forward(options.host, options.command, verbose=options.debug)
    return 0


def _locate(_options: argparse.Namespace) -> int:
    from maskupe_daemon.forward import print_location

    print_location()
    return 0


def _service(options: argparse.Namespace) -> int:
    from maskupe_daemon import service

    if options.what == "status":
        missing = service.missing()
        print(missing or "The service is installed.")
        return 1 if missing else 0
    action = service.install if options.what == "install" else service.uninstall
    action(only_print=options.print)
    return 0
