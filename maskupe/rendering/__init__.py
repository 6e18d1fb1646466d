"""The full-size stage: a compiled CPU kernel, its numpy fallback, and the torch reference."""

from maskupe.rendering.renderer import default_backend, processor_backend, render, render_small

__all__ = ["default_backend", "processor_backend", "render", "render_small"]
