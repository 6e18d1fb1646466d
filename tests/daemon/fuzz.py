"""Coverage-guided fuzzing of the header parser, in msgpack's C and pure-Python forms.

``python -m tests.daemon.fuzz --inputs 1000000 [--pure]`` needs ``pip install atheris`` (Linux and
macOS). It fails on any exception but ``WireError``, on a WireError whose code is not documented,
on an input that takes longer than five seconds, and when memory exceeds its limit.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path


def headers():
    """A good header of every type of message, to start from."""
    from maskupe_client.client import EnhanceRequest, PlaneSpec
    from maskupe_client.framing import pack

    image = PlaneSpec((4, 5, 3), "u8")
    request = EnhanceRequest(
        image=image,
        layer=(40, 50),
        origin=(3, 7),
        selection=PlaneSpec((4, 5), "f32"),
        context=PlaneSpec((8, 9, 3), "u16"),
        outputs=("image", "weight", "areas"),
        replaces="older",
    )
    plane = {"name": "image", **image.as_map()}
    result = {"model": "m", "device": "cpu", "seconds": 0.5, "width": 4, "notes": ["n"]}
    welcome = {"server": "s", "version": "1", "device": "cpu", "models": ["m"], "limits": {"a": 1}}
    for header in (
        request.header(),
        {"type": "hello", "client": "fuzz", "nonce": "00ff"},
        {"type": "cancel", "job": "x"},
        {"type": "status"},
        {"type": "shutdown"},
        {"type": "welcome", **welcome},
        {"type": "ok", "found": False},
        {"type": "report", "report": {"a": [1, {"b": None}]}},
        {"type": "progress", "stage": "running", "fraction": 0.5},
        {"type": "result", **result, "counts": {"a": 1}, "planes": [plane]},
        {"type": "error", "code": "busy", "message": "Busy.", "position": 3, "retry_after": 1.5},
    ):
        yield pack({"id": "fuzz", **header})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--pure", action="store_true", help="msgpack as GIMP's Python has it")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    try:
        import atheris
    except ImportError:
        parser.error("this needs the package atheris: pip install atheris")
    if options.pure:
        os.environ["MSGPACK_PUREPYTHON"] = "1"
    with atheris.instrument_imports(include=["maskupe_daemon", "msgpack"]):
        from maskupe_client.framing import WireError
        from maskupe_client.messages import ERROR_CODES, check_sizes, parse

    def one(data):
        sender = "daemon" if data[:1] == b"\0" else "client"
        try:
            fields = parse(data[1:], sender)
            check_sizes(fields, [60, 80, 432][: len(data) % 4])
        except WireError as error:
            assert error.code in ERROR_CODES, error.code

    with tempfile.TemporaryDirectory() as corpus:
        for number, header in enumerate(headers()):
            for sender in (b"\0", b"\1"):
                Path(corpus, f"{number}-{sender[0]}").write_bytes(sender + header)
        # Names and words of the protocol, which blind changes of bytes would hardly find.
        words = Path(corpus, "..", f"{Path(corpus).name}.dict").resolve()
        words.write_text("".join(f'"{word}"\n' for word in sorted(vocabulary())))
        flags = [
            f"-runs={options.inputs}",
            f"-seed={options.seed}",
            f"-dict={words}",
            "-max_len=1024",
            "-timeout=5",
            "-rss_limit_mb=1024",
            "-print_final_stats=1",
        ]
        atheris.Setup([sys.argv[0], *flags, corpus], one)
        atheris.Fuzz()


def vocabulary():
    """Field names and the choices of their values."""
    from maskupe_client.messages import MESSAGES, OUTPUTS

    names = {field.name for message in MESSAGES.values() for field in message.fields}
    return names | set(MESSAGES) | set(OUTPUTS) | {"v", "id", "type", "shape", "dtype", "u8", "f32"}


if __name__ == "__main__":
    main()
