"""Remove noise from dark pixels before they are brightened.

Several stops of light make noise and JPEG blocks several stops brighter. So the renderer is given a
second image: the region without noise where the gain at a pixel's tone will show it, and the region
itself elsewhere.

In display-encoded codes of 255 the noise of a dark photograph is nearly the same at all tones, so
one spectrum describes it (:data:`maskupe.denoise.noise.SPECTRA`, measured by
``maskupe-train noise-spectra``). The image is taken apart into Y, Cr and Cb at full, half and
quarter size, the coarse sizes for chroma only. From coarse to fine, what was changed at the size
below is added, and overlapping blocks of 8×8 are transformed by a DCT, shrunk and added under a
window of squared sines:

    c ← c · max(0, 1 - 1 / e),    e = ½ (c / kσ)² + ½ mean over the 3×3 neighbours in frequency,

where e of Cr and Cb is shared, and grows with e of Y: chroma has edges where luma has them. The
mean of a block is kept; a coarser size takes care of it.

Where the light falls below the noise there is no hue: with m, the luma of the neighbourhood, chroma
is multiplied by m² / (m² + n²), and the effect by m⁴ / (m⁴ + b⁴), so that black stays black.

The compiled form and the numpy form give the same result but for rounding.
"""

from maskupe.denoise.noise import Denoise, Noise, amounts, denoise_scale
from maskupe.denoise.source import CleanRows, clean_source

__all__ = ["CleanRows", "Denoise", "Noise", "amounts", "clean_source", "denoise_scale"]
