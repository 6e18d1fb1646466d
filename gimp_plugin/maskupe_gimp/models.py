"""Which models the dialog offers, by what they are for: how they are built says little there."""

from __future__ import annotations

from typing import Any

from maskupe import registry

#: Purposes of models by name; the rest, published methods, have one of their own.
_PURPOSES = {
    "default": "For every photograph.",
    "lantern": "For every photograph.",
    "lantern-research": "Like Automatic, trained on photographs whose use is restricted as well.",
    "lantern-uieb-research": "For photographs taken under water.",
    "star-dce-mconcat-uieb-research": "For photographs taken under water, by a published method.",
}
_OTHERS = "A published method, to compare with."


def purposes() -> tuple[str, ...]:
    """Return all the sentences, for translators."""
    return tuple(dict.fromkeys((*_PURPOSES.values(), _OTHERS)))


def offered(*, research: bool) -> dict[str, dict[str, Any]]:
    """Return the models of the dialog by name: ``purpose`` and ``licence``.

    Args:
        research: whether those are wanted too whose weights may be used for research only.
    """
    found = {}
    for name in registry.available():
        config = registry.resolve(name)
        # One that does not see the selection is no choice here, nor is one that there is already.
        if not config.local or name == registry.DEFAULT:
            continue
        if research or config.licence == registry.ANY_USE:
            purpose = _PURPOSES.get(name, _OTHERS)
            found[name] = {"purpose": purpose, "licence": config.licence}
    return found


def research_installed() -> bool:
    """Return whether there are weights for research that the dialog could offer."""
    return offered(research=True) != offered(research=False)
