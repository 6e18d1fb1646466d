/* ToneCurves, the strength already in table and map. map: (map rows, map columns, 3) residual.
 * table: for 8 bits (3, 256), the colour and TONE_OFFSET times its gain; otherwise (3, count, 2),
 * the gain at each entry and the step to the next. The ceiling is at most 1. */
#ifndef MASKUPE_TONE_H
#define MASKUPE_TONE_H

#include <math.h>

#include "pixels.h"
#include "smooth.h"

/* base and step of the residual, then the ceiling, all r, g, b interleaved. */
#define TONE_SCRATCH (3 * COLOURS)
/* maskupe.maps.TONE_OFFSET */
#define TONE_OFFSET (1.0f / 512.0f)

STAGE void tone_tile(const Job *job, int map_low, int map_high, int x0, int n, float *scratch) {
    const int64_t row = 3 * (int64_t)job->map_columns;
    spread_band(job, job->map + map_low * row, job->map + map_high * row, x0, n, 1.0f, scratch,
                scratch + COLOURS);
    for (int i = 0; i < COLOURS; i++) scratch[2 * COLOURS + i] = job->ceiling[i % 3];
}

/* (I + o) * G of 8-bit pixels but for the residual: one look-up per value. */
STAGE void tone_look_up8(const Job *job, const uint8_t *p, int n, float *restrict to) {
    const float *red = job->table, *green = red + 256, *blue = green + 256;
    const int step = job->channels, colour = step >= 3;
#pragma clang loop vectorize(disable) unroll_count(2)
    for (int i = 0; i < n; i++) {
        to[3 * i] = red[p[step * i]];
        to[3 * i + 1] = green[p[step * i + colour]];
        to[3 * i + 2] = blue[p[step * i + 2 * colour]];
    }
}

/* Gains of colours 0..1: places vectorised, table entries fetched as pairs, then interpolated. */
STAGE void tone_look_up(const Job *job, const float *unit, int n, float *restrict gain) {
    _Alignas(64) int32_t low[COLOURS];
    _Alignas(64) float part[COLOURS], pairs[2 * COLOURS];
    const float last = (float)(job->count - 1);
    const int32_t top = job->count - 2;
    for (int i = 0; i < 3 * n; i++) {
        float place = sqrtf(unit[i]) * last;
        int32_t k = (int32_t)place;
        k = k < top ? k : top;
        low[i] = k;
        part[i] = place - (float)k;
    }
    const float *red = job->table, *green = red + 2 * job->count, *blue = green + 2 * job->count;
    for (int i = 0; i < n; i++) {
        memcpy(pairs + 6 * i, red + 2 * low[3 * i], 8);
        memcpy(pairs + 6 * i + 2, green + 2 * low[3 * i + 1], 8);
        memcpy(pairs + 6 * i + 4, blue + 2 * low[3 * i + 2], 8);
    }
    for (int i = 0; i < 3 * n; i++) gain[i] = pairs[2 * i] + part[i] * pairs[2 * i + 1];
}

/* min((I + o) G - o, max(I, ceiling)) - I, from (I + o) G. */
INLINE float tone_change(float lifted, float unit, float ceiling) {
    return at_most(at_least(lifted - TONE_OFFSET, 0.0f), at_least(unit, ceiling)) - unit;
}

STAGE void tone_row(const Job *job, const void *pixels, int n, float across, const float *scratch,
                    Row *row) {
    const float *base = scratch, *step = scratch + COLOURS, *ceiling = scratch + 2 * COLOURS;
    float *restrict value = row->change;
    const float *unit = row->unit;
    const int end = 3 * round_up(n);
    if (job->depth == DEPTH_U8) {
        tone_look_up8(job, pixels, n, value);
        for (int i = 3 * n; i < end; i++) value[i] = 0.0f;
        for (int i = 0; i < end; i++)
            value[i] = tone_change(value[i] * (base[i] + across * step[i]), unit[i], ceiling[i]);
        return;
    }
    tone_look_up(job, unit, round_up(n), value);
    for (int i = 0; i < end; i++)
        value[i] = tone_change(value[i] * (unit[i] + TONE_OFFSET) * (base[i] + across * step[i]),
                               unit[i], ceiling[i]);
}

/* The commonest case in one step: 8-bit RGB at full weight. Nothing is left of the
 * input but the cap, so it needs neither the conversion to floats nor the blend. */
STAGE void tone_row8(const Job *job, const uint8_t *pixels, int n, float across,
                     const float *scratch, Row *row, uint8_t *out) {
    const float *base = scratch, *step = scratch + COLOURS, *ceiling = scratch + 2 * COLOURS;
    const float *value = row->change;
    uint8_t *restrict to = row->stored;
    tone_look_up8(job, pixels, n, row->change);
    for (int i = 0; i < 3 * n; i++) {
        float cap = at_least((float)pixels[i], 255.0f * ceiling[i]);
        float lifted = 255.0f * (value[i] * (base[i] + across * step[i]) - TONE_OFFSET);
        to[i] = encode_uint8_t(at_most(lifted, cap));
    }
    finish_row(job, pixels, n, row, out);
}

#endif
