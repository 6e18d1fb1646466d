"""Settings under a name of the user's, in a file beside those that GIMP keeps for plug-ins.

Plain files, without GIMP: tests run it in any Python.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: The arguments that a preset holds. The output is left out: it belongs to the layer, not the look.
ARGUMENTS = (
    "strength",
    "automatic-denoise",
    "denoise",
    "warmth",
    "saturation",
    "automatic-width",
    "width",
    "side",
    "edges",
    "model",
)
#: What presets mean that were saved before these arguments were there.
_BEFORE: Mapping[str, float] = {"warmth": 0.0, "saturation": 0.0}
#: Longest name, in characters.
LONGEST = 60

Preset = dict[str, Any]


class DamagedError(Exception):
    """The file is there, but holds no presets; it is left as it is."""


class Presets:
    """The presets in a file, which is read when it is needed: another GIMP may have written it.

    Args:
        file: where they are kept.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def read(self) -> dict[str, Preset]:
        """Return the presets by name, in the order of their names.

        What a preset holds besides the arguments is left out, as are values of another type. What
        was saved before an argument was there has its value of then.

        Raises:
            DamagedError: if the file is damaged.
            OSError: if it cannot be read.
        """
        try:
            found = json.loads(self._file.read_text("utf-8"))
            presets = {
                str(name): {**_BEFORE, **_cleaned(values)}
                for name, values in found["presets"].items()
            }
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedError(str(self._file)) from error
        return dict(sorted(presets.items(), key=lambda item: item[0].casefold()))

    def save(self, name: str, values: Mapping[str, Any]) -> None:
        """Keep arguments under a name, in place of those that were kept under it.

        Raises:
            DamagedError: if the file is damaged.
            OSError: if it cannot be read or written; it is as it was then.
        """
        self._write({**self.read(), name: _cleaned(values)})

    def delete(self, name: str) -> None:
        """Delete a preset, if it is there.

        Raises:
            DamagedError, OSError: as in :meth:`save`.
        """
        self._write({other: values for other, values in self.read().items() if other != name})

    def _write(self, presets: dict[str, Preset]) -> None:
        text = json.dumps({"version": 1, "presets": presets}, indent=2, ensure_ascii=False)
        beside = self._file.with_suffix(".new")
        self._file.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text + "\n", "utf-8")
        beside.replace(self._file)


def _cleaned(values: Mapping[str, Any]) -> Preset:
    return {
        name: values[name]
        for name in ARGUMENTS
        if name in values and isinstance(values[name], (bool, int, float, str))
    }
