"""The full-size stage as one kernel for NVIDIA cards: pixels in, pixels out, nothing in between.

Written in Triton, which comes with every PyTorch for CUDA on Linux: nothing has to be built or
shipped for each generation of cards, and its interpreter runs the same source on the processor, so
that the arithmetic is tested where there is no card. What a kernel in CUDA C++ could do better
(shared memory, wider loads) would not show: the picture's way over the bus takes ten times as long.

The formulas are those of :mod:`maskupe.maps`, :mod:`maskupe.blending.weights` and
:mod:`maskupe.rendering.pixels`; the order in memory of maps, tables and guides is that of
:mod:`maskupe.rendering.packing` for float32. A program renders ``BLOCK`` pixels of one row.
"""

from __future__ import annotations

import triton
import triton.language as tl

from maskupe.blending.weights import ONSET as _ONSET
from maskupe.maps import ILLUMINATION_FLOOR, TONE_OFFSET
from maskupe.pixel_layout import LUMA
from maskupe.rendering import packing
from maskupe.rendering.saturation import STOP as _STOP

TONE = tl.constexpr(packing.TONE)
CURVE = tl.constexpr(packing.CURVE)
GAIN = tl.constexpr(packing.GAIN)
AFFINE = tl.constexpr(packing.AFFINE)
TABLE = tl.constexpr(packing.TABLE)
#: Depths of pixels, the compiled code's numbers (:data:`maskupe.native.DEPTHS`).
U8, U16, F32 = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)

RED, GREEN, BLUE = (tl.constexpr(float(share)) for share in LUMA)
OFFSET = tl.constexpr(TONE_OFFSET)
FLOOR = tl.constexpr(ILLUMINATION_FLOOR)
ONSET = tl.constexpr(_ONSET)
STOP = tl.constexpr(_STOP)
#: Light that is added counts for at least this much, see :func:`maskupe.blending.weights.bounded`.
LEAST_ADDED = tl.constexpr(1e-6)
#: In place of zero where :mod:`maskupe.rendering.saturation` divides.
LEAST = tl.constexpr(1e-6)


@triton.jit
def clamp01(x):
    """Clip to 0…1; NaN becomes 0."""
    return tl.where(x > 0.0, tl.where(x < 1.0, x, 1.0), 0.0)


@triton.jit
def value_of(bits, DEPTH: tl.constexpr):
    """Return stored pixels, as integers of their size, as float32 in stored units."""
    if DEPTH == F32:
        value = bits.to(tl.float32, bitcast=True)
    else:
        value = (bits.to(tl.int32) & (255 if DEPTH == U8 else 65535)).to(tl.float32)
    return value


@triton.jit
def luma_of(r, g, b):
    """Return the luma of colours or of their differences."""
    # Tensors first: a constant of Triton times a tensor is a constant to its interpreter.
    return r * RED + g * GREEN + b * BLUE


@triton.jit
def place_in(positions, at, count, inside):
    """Return low cell, and the way to the next, of positions int32 (2, count)."""
    low = tl.load(positions + at, mask=inside, other=0)
    part = tl.load(positions + count + at, mask=inside, other=0).to(tl.float32, bitcast=True)
    return low, part


@triton.jit
def bilinear(plane, top, bottom, down, left, right, across):
    """Return values between four cells of a plane; ``top`` and ``bottom`` begin rows of cells."""
    first = tl.load(plane + top + left)
    first += down * (tl.load(plane + bottom + left) - first)
    second = tl.load(plane + top + right)
    second += down * (tl.load(plane + bottom + right) - second)
    return first + across * (second - first)


@triton.jit
def tone_curve(x, c: tl.constexpr, table, count, residual):
    """Return one channel after its curve; table float32 (3, count, 2: value, step)."""
    place = tl.sqrt_rn(x) * (count - 1).to(tl.float32)
    low = tl.minimum(place.to(tl.int32), count - 2)
    entry = table + (c * count + low) * 2
    gain = tl.load(entry) + (place - low.to(tl.float32)) * tl.load(entry + 1)
    return tl.maximum(clamp01((x + OFFSET) * (gain * residual) - OFFSET), x)


@triton.jit
def brightened(illumination, x, strength):
    """Return I / S^t with S bounded by 1, I and the floor."""
    s = tl.maximum(tl.maximum(tl.minimum(illumination, 1.0), x), FLOOR)
    if strength != 1.0:
        s = tl.exp2(strength * tl.log2(s))
    return tl.div_rn(x, s)


@triton.jit
def guidance(r, g, b, guide, KNOTS: tl.constexpr):
    """Return the guidance map, 0…1."""
    value = tl.zeros_like(r) + tl.load(guide + 12)
    for c in tl.static_range(3):
        row = guide + 3 * c
        place = tl.load(row) * r + tl.load(row + 1) * g + tl.load(row + 2) * b
        place += tl.load(guide + 9 + c)
        knots = guide + 13 + c * (4 * KNOTS + 2)
        for k in range(KNOTS):
            above = place - tl.load(knots + k)
            value += tl.load(knots + KNOTS + k) * tl.where(above > 0.0, above, 0.0)
    return clamp01(value)


@triton.jit
def bin_of(guide, bins):
    """Return the bin below each guide value, the one above, and the way between them."""
    place = guide * bins.to(tl.float32) - 0.5
    place = tl.minimum(tl.maximum(place, 0.0), (bins - 1).to(tl.float32))
    low = tl.minimum(place.to(tl.int32), tl.maximum(bins - 2, 0))
    return low, tl.minimum(low + 1, bins - 1), place - low.to(tl.float32)


@triton.jit
def affine_at(cell, r, g, b):
    """Return three illuminations by the twelve coefficients at each pixel's cell."""
    red = tl.load(cell) * r + tl.load(cell + 1) * g + tl.load(cell + 2) * b + tl.load(cell + 3)
    green = tl.load(cell + 4) * r + tl.load(cell + 5) * g + tl.load(cell + 6) * b
    green += tl.load(cell + 7)
    blue = tl.load(cell + 8) * r + tl.load(cell + 9) * g + tl.load(cell + 10) * b
    blue += tl.load(cell + 11)
    return red, green, blue


@triton.jit
def illuminations(
    r, g, b, map, guide, top, bottom, down, left, right, across, count, KIND: tl.constexpr
):
    """Return the three illuminations of a bilateral grid, sliced at guide values."""
    size: tl.constexpr = 12 if KIND == AFFINE else 3
    low, high, part = bin_of(guide, count)
    red, green, blue = tl.zeros_like(r), tl.zeros_like(r), tl.zeros_like(r)
    for corner in tl.static_range(8):
        row = bottom if corner & 4 else top
        column = right if corner & 2 else left
        level = high if corner & 1 else low
        share = (down if corner & 4 else 1.0 - down) * (across if corner & 2 else 1.0 - across)
        share *= part if corner & 1 else 1.0 - part
        cell = map + ((row + column) * count + level) * size
        if KIND == AFFINE:
            one, two, three = affine_at(cell, r, g, b)
        else:
            one, two, three = tl.load(cell), tl.load(cell + 1), tl.load(cell + 2)
        red += share * one
        green += share * two
        blue += share * three
    return red, green, blue


@triton.jit
def table_entry(table, r, g, b, nodes):
    """Return trilinear values of a table float32 (blue, green, red, 4), three of the last used."""
    last = (nodes - 1).to(tl.float32)
    r, g, b = r * last, g * last, b * last
    red, green, blue = r.to(tl.int32), g.to(tl.int32), b.to(tl.int32)
    red, green = tl.minimum(red, nodes - 2), tl.minimum(green, nodes - 2)
    blue = tl.minimum(blue, nodes - 2)
    r, g, b = r - red.to(tl.float32), g - green.to(tl.float32), b - blue.to(tl.float32)
    one, two, three = tl.zeros_like(r), tl.zeros_like(r), tl.zeros_like(r)
    for corner in tl.static_range(8):
        share = (r if corner & 1 else 1.0 - r) * (g if corner & 2 else 1.0 - g)
        share *= b if corner & 4 else 1.0 - b
        at = (blue + (1 if corner & 4 else 0)) * nodes + green + (1 if corner & 2 else 0)
        entry = table + (at * nodes + red + (1 if corner & 1 else 0)) * 4
        one += share * tl.load(entry)
        two += share * tl.load(entry + 1)
        three += share * tl.load(entry + 2)
    return one, two, three


@triton.jit
def enhanced(
    r, g, b, rows, columns, y, x, inside, map, table, guide, height, width,
    map_rows, map_columns, count, strength,
    KIND: tl.constexpr, STEPS: tl.constexpr, KNOTS: tl.constexpr,
):  # fmt: skip
    """Return what a map makes of colours 0…1 at row ``y``, columns ``x``, with its full effect."""
    if KIND == TABLE:
        one, two, three = table_entry(table, r, g, b, count)
        r += strength * (one - r)
        g += strength * (two - g)
        b += strength * (three - b)
    else:
        low, down = place_in(rows, y, height, True)
        left, across = place_in(columns, x, width, inside)
        right = tl.minimum(left + 1, map_columns - 1)
        top, bottom = low * map_columns, tl.minimum(low + 1, map_rows - 1) * map_columns
        plane = map_rows * map_columns
        if KIND == TONE:
            one = bilinear(map, top, bottom, down, left, right, across)
            two = bilinear(map + plane, top, bottom, down, left, right, across)
            three = bilinear(map + 2 * plane, top, bottom, down, left, right, across)
            r = tone_curve(r, 0, table, count, one)
            g = tone_curve(g, 1, table, count, two)
            b = tone_curve(b, 2, table, count, three)
        elif KIND == CURVE:
            for s in range(STEPS):
                step = map + 3 * s * plane
                one = bilinear(step, top, bottom, down, left, right, across)
                two = bilinear(step + plane, top, bottom, down, left, right, across)
                three = bilinear(step + 2 * plane, top, bottom, down, left, right, across)
                r += strength * one * (r * r - r)
                g += strength * two * (g * g - g)
                b += strength * three * (b * b - b)
            r, g, b = clamp01(r), clamp01(g), clamp01(b)
        else:
            if KIND == GAIN:
                place = tl.sqrt_rn(luma_of(r, g, b))
            else:
                place = guidance(r, g, b, guide, KNOTS)
            one, two, three = illuminations(
                r, g, b, map, place, top, bottom, down, left, right, across, count, KIND
            )
            r = brightened(one, r, strength)
            g = brightened(two, g, strength)
            b = brightened(three, b, strength)
    return r, g, b


@triton.jit
def rescaled(value, luma, amount):
    """Return a channel with more or less chroma, within the limits that it was within."""
    changed = value + amount * (value - luma)
    return tl.minimum(tl.maximum(changed, tl.minimum(value, 0.0)), tl.maximum(value, 1.0))


@triton.jit
def saturated(r, g, b, before, saturation):
    """Return enhanced colours of another chroma, see :mod:`maskupe.rendering.saturation`.

    ``before`` is the luma before.
    """
    luma = luma_of(r, g, b)
    most, least = tl.maximum(tl.maximum(r, g), b), tl.minimum(tl.minimum(r, g), b)
    above = tl.div_rn(most - luma, tl.maximum(1.0 - luma, LEAST))
    below = tl.div_rn(luma - least, tl.maximum(luma, LEAST))
    used = clamp01(tl.maximum(above, below))
    free = 1.0 - used
    amount = saturation * clamp01(tl.div_rn(luma - before, tl.maximum(before * STOP, LEAST)))
    room = amount * used * amount * used + free * free
    room = tl.div_rn(free, tl.sqrt_rn(tl.maximum(room, LEAST)))
    amount *= tl.where(saturation > 0.0, room, 1.0)
    return rescaled(r, luma, amount), rescaled(g, luma, amount), rescaled(b, luma, amount)


@triton.jit
def store(out, bits, change, changed, inside, DEPTH: tl.constexpr):
    """Write stored pixels plus ``change`` where ``changed``, the pixels' own bits elsewhere."""
    value = value_of(bits, DEPTH) + change
    if DEPTH == F32:
        made = value.to(tl.int32, bitcast=True)
    else:
        white: tl.constexpr = 255.0 if DEPTH == U8 else 65535.0
        made = tl.minimum(tl.maximum(value + 0.5, 0.0), white).to(tl.int32).to(bits.dtype)
    tl.store(out, tl.where(changed, made, bits), mask=inside)


# Triton makes kernels of their own for numbers that are 1 or multiples of 16: not here, where every
# one of them would be a second of compiling for nothing.
@triton.jit(
    do_not_specialize=[
        *("first", "height", "width", "map_rows", "map_columns", "bound_height", "bound_width"),
        *("count", "masked"),
    ]
)
def render_rows(
    image, clean, out, coverage,
    rows, columns, map, table, guide, ramp, bound, bound_rows, bound_columns,
    first, height, width, map_rows, map_columns, bound_height, bound_width, count, masked, strength,
    saturation,
    KIND: tl.constexpr, STEPS: tl.constexpr, KNOTS: tl.constexpr,
    DEPTH: tl.constexpr, CHANNELS: tl.constexpr, CLEAN: tl.constexpr, BOUND: tl.constexpr,
    SATURATED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Render rows ``first`` to ``first`` + the grid's second axis.

    Args:
        image: stored pixels (n, width, CHANNELS) as integers of their size, of these rows.
        clean: float32 (n, width, 4), 0…1, what is enhanced in place of the image's colours, and the
            share of the effect that it gets; only
            read where CLEAN.
        out: like ``image``.
        coverage: int16 (n, width), its bits those of uint16; only read where ``masked``.
        rows: int32 (2, height), the low cell of each row of the region and, as the bits of a
            float32, the way to the next cell.
        columns: int32 (2, width), likewise.
        map: see :mod:`maskupe.rendering.packing`.
        table: likewise.
        guide: likewise.
        ramp: float32 (65536,), weight by coverage.
        bound: float32 (bound_height, bound_width), the most light on edges; only read where BOUND.
        bound_rows: int32 (2, height), positions on the bound.
        bound_columns: int32 (2, width), likewise.
        first: the region's row at which ``image`` begins.
        height: rows of the region.
        width: its columns.
        map_rows: rows of the map.
        map_columns: columns of the map.
        bound_height: rows of the bound.
        bound_width: its columns.
        count: entries, bins or nodes.
        masked: 0 if all pixels of these rows take the full effect.
        strength: t of :mod:`maskupe.maps`.
        saturation: -1…1; only read where SATURATED.
        KIND: of :mod:`maskupe.rendering.packing`.
        STEPS: of curve maps.
        KNOTS: of a guide.
        DEPTH: depth of the pixels.
        CHANNELS: 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA.
        CLEAN: whether there is a clean image.
        BOUND: whether there is a bound.
        SATURATED: whether the chroma changes.
        BLOCK: pixels of one program, a power of two.
    """
    x = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    y = tl.program_id(1)
    inside = x < width
    pixel = y * width + x
    white: tl.constexpr = 1.0 if DEPTH == F32 else (255.0 if DEPTH == U8 else 65535.0)
    at = image + pixel * CHANNELS
    to = out + pixel * CHANNELS

    red = tl.load(at, mask=inside, other=0)
    if CHANNELS >= 3:
        green = tl.load(at + 1, mask=inside, other=0)
        blue = tl.load(at + 2, mask=inside, other=0)
    else:
        green, blue = red, red
    r = clamp01(value_of(red, DEPTH) * (1.0 / white))
    g = clamp01(value_of(green, DEPTH) * (1.0 / white))
    b = clamp01(value_of(blue, DEPTH) * (1.0 / white))

    if CLEAN:
        seen_r = tl.load(clean + pixel * 4, mask=inside, other=0.0)
        seen_g = tl.load(clean + pixel * 4 + 1, mask=inside, other=0.0)
        seen_b = tl.load(clean + pixel * 4 + 2, mask=inside, other=0.0)
    else:
        seen_r, seen_g, seen_b = r, g, b
    made_r, made_g, made_b = enhanced(
        seen_r, seen_g, seen_b, rows, columns, first + y, x, inside, map, table, guide,
        height, width, map_rows, map_columns, count, strength, KIND, STEPS, KNOTS,
    )  # fmt: skip
    if CLEAN:
        lift = tl.load(clean + pixel * 4 + 3, mask=inside, other=0.0)
        made_r = lift * (made_r - seen_r) + seen_r
        made_g = lift * (made_g - seen_g) + seen_g
        made_b = lift * (made_b - seen_b) + seen_b
    if SATURATED:
        before = luma_of(seen_r, seen_g, seen_b)
        made_r, made_g, made_b = saturated(made_r, made_g, made_b, before, saturation)
    r, g, b = made_r - r, made_g - g, made_b - b

    weight = tl.full([BLOCK], 1.0, tl.float32)
    if masked != 0:
        steps = tl.load(coverage + pixel, mask=inside, other=0).to(tl.int32) & 65535
        weight = tl.load(ramp + steps)
        if BOUND:
            low, down = place_in(bound_rows, first + y, height, True)
            left, across = place_in(bound_columns, x, width, inside)
            right = tl.minimum(left + 1, bound_width - 1)
            bottom = tl.minimum(low + 1, bound_height - 1) * bound_width
            most = bilinear(bound, low * bound_width, bottom, down, left, right, across)
            excess = 1.0 - tl.minimum(
                tl.div_rn(most, tl.maximum(luma_of(r, g, b), LEAST_ADDED)), 1.0
            )
            t = clamp01((1.0 - weight) * (1.0 / ONSET))
            weight *= 1.0 - t * t * (3.0 - 2.0 * t) * excess
    changed = weight > 0.0

    if CHANNELS % 2 == 0:
        alpha = tl.load(at + (CHANNELS - 1), mask=inside, other=0)
        changed &= value_of(alpha, DEPTH) != 0.0
        tl.store(to + (CHANNELS - 1), alpha, mask=inside)
    weight *= white
    if CHANNELS >= 3:
        store(to, red, r * weight, changed, inside, DEPTH)
        store(to + 1, green, g * weight, changed, inside, DEPTH)
        store(to + 2, blue, b * weight, changed, inside, DEPTH)
    else:
        store(to, red, luma_of(r, g, b) * weight, changed, inside, DEPTH)
