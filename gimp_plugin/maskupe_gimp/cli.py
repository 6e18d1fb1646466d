"""``maskupe-gimp``: install, uninstall, doctor. Plain argparse, so that it answers at once."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from maskupe import __version__
from maskupe.cli.output import handle_broken_pipe
from maskupe.errors import describe_failure

if TYPE_CHECKING:
    from maskupe_gimp.profiles import GimpProfile

_MENU = "Filters > Enhance > Local Underexposure…"


@handle_broken_pipe
def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        raise
    except Exception as error:
        if options.debug:
            raise
        again = "as 'maskupe-gimp --debug …'"
        text = _describe(error) if isinstance(error, OSError) else describe_failure(error, again)
        print(f"maskupe-gimp: {text}", file=sys.stderr)
        return 1
    return status


def _describe(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror or error}{where}."


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="maskupe-gimp", description="Puts the MaskUPE plug-in into GIMP 3 and checks it."
    )
    parser.add_argument("--version", action="version", version=f"maskupe-gimp {__version__}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, text in (
        ("install", _install, "put the plug-in into every GIMP 3 found, replacing older copies"),
        ("uninstall", _uninstall, "remove the plug-in from every GIMP 3 found"),
        ("doctor", _doctor, "check every link from GIMP to the daemon and say how to mend it"),
    ):
        command = commands.add_parser(name, help=text, description=text.capitalize() + ".")
        command.add_argument(
            "--profile",
            type=Path,
            metavar="FOLDER",
            help="a GIMP profile folder (GIMP shows it under Preferences > Folders), "
            "instead of those found",
        )
        command.set_defaults(run=run)
        if run is _install:
            command.add_argument(
                "--research-models",
                action="store_true",
                help="offer the models too whose weights may be used for research only",
            )
    return parser


def _chosen_profiles(options: argparse.Namespace) -> list[GimpProfile]:
    from maskupe_gimp.profiles import GimpProfile, find_profiles

    if options.profile is None:
        return list(find_profiles())
    if not options.profile.is_dir():
        raise NotADirectoryError(20, "There is no such GIMP profile folder", str(options.profile))
    return [GimpProfile("given", options.profile.name, options.profile)]


def _install(options: argparse.Namespace) -> int:
    from maskupe.registry import GET_RESEARCH_WEIGHTS
    from maskupe_gimp import NAME, bundle
    from maskupe_gimp.models import research_installed

    profiles = _chosen_profiles(options)
    if not profiles:
        return _no_gimp()
    refusal = profiles[0].refusal() if options.profile is not None else ""
    if refusal:
        print(f"maskupe-gimp: {refusal}", file=sys.stderr)
        return 1
    failed = 0
    done: set[Path] = set()
    sandboxed = False
    for profile in profiles:
        unstarted = profile.unstarted()
        if unstarted:
            failed += 1
            print(f"maskupe-gimp: {profile} was never started. {unstarted}", file=sys.stderr)
            continue
        target = profile.plug_ins / NAME
        try:
            if target not in done:  # two GIMPs may share a profile
                bundle.copy_to(profile.plug_ins, research=options.research_models)
        except OSError as error:  # the other GIMPs can have it nevertheless
            if options.debug:
                raise
            failed += 1
            print(f"maskupe-gimp: {profile}: {_describe(error)}", file=sys.stderr)
            continue
        done.add(target)
        print(f"{profile}: {target}")
        sandboxed = sandboxed or profile.sandboxed
    if sandboxed and not _serve():
        failed += 1
    if options.research_models and not research_installed():
        print(GET_RESEARCH_WEIGHTS)
        print("Then run this command again.")
    if done:
        print(f"Restart GIMP; the plug-in is under {_MENU}")
    return 1 if failed else 0


def _serve() -> bool:
    """Install the service that starts the daemon for a GIMP in a sandbox; return whether it is."""
    from maskupe_gimp import bundle

    ran = bundle.service("install")
    if ran.returncode == 0:
        print("GIMP in a sandbox cannot start MaskUPE's daemon, so a service does from now on:")
        print(textwrap.indent(ran.stdout.strip(), "  "))
        return True
    last = (ran.stderr.strip().splitlines() or ["no message"])[-1]
    print(
        "maskupe-gimp: GIMP in a sandbox cannot start MaskUPE's daemon, and the service that would "
        f"start it could not be installed. {last}\n"
        "Run in a terminal of your desktop: maskupe-daemon service install",
        file=sys.stderr,
    )
    return False


def _uninstall(options: argparse.Namespace) -> int:
    from maskupe_gimp import bundle

    removed = [
        profile for profile in _chosen_profiles(options) if bundle.remove_from(profile.plug_ins)
    ]
    for profile in removed:
        print(f"{profile}: removed")
    if not removed:
        print("The plug-in was not installed.")
    if any(profile.sandboxed for profile in removed) and bundle.service("status").returncode == 0:
        print("The service that starts the daemon stays; maskupe-daemon service uninstall ends it.")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from maskupe_gimp.doctor import examine

    profiles = _chosen_profiles(options)
    if not profiles:
        return _no_gimp()
    sound = True
    for finding in examine(profiles):
        print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.what}")
        if not finding.ok:
            sound = False
            print(f"      -> {finding.remedy}")
    if sound:
        print(f"Everything is in place: {_MENU}")
    return 0 if sound else 1


def _no_gimp() -> int:
    print(
        "maskupe-gimp: No GIMP 3 was found. Install GIMP 3.0 or newer and start it once, "
        "or name its profile folder with --profile.",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
