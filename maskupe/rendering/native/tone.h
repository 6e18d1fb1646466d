/* ToneCurves. map: (map rows, map columns, 3) residual. table: for 8 bits (3, 256), the colour
 * times its gain^t; otherwise (3, count, 2), the gain at each entry and the step to the next. */
#ifndef MASKUPE_TONE_H
#define MASKUPE_TONE_H

#include <math.h>

#include "pixels.h"
#include "power.h"
#include "smooth.h"

#define TONE_SCRATCH (2 * COLOURS)

STAGE void tone_tile(const Job *job, int map_low, int map_high, int x0, int n, float *scratch) {
    const int64_t row = 3 * (int64_t)job->map_columns;
    spread_band(job, job->map + map_low * row, job->map + map_high * row, x0, n, 1.0f, scratch,
                scratch + COLOURS);
}

/* I * G^t of 8-bit pixels but for the residual: one look-up per value. */
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

STAGE void tone_row(const Job *job, const void *pixels, int n, float across, const float *scratch,
                     Row *row) {
    const float *base = scratch, *step = scratch + COLOURS;
    const float t = job->strength;
    float *restrict value = row->change;
    const float *unit = row->unit;
    float ceiling[24];
    for (int l = 0; l < 24; l++) ceiling[l] = job->ceiling[l % 3];
    const int whole = round_up(n);
    if (job->depth == DEPTH_U8) {
        tone_look_up8(job, pixels, n, value);
        for (int i = 3 * n; i < 3 * whole; i++) value[i] = 0.0f;
        if (t == 1.0f)
            for (int i = 0; i < 3 * whole; i++) value[i] *= base[i] + across * step[i];
        else
            for (int i = 0; i < 3 * whole; i++)
                value[i] *= power(base[i] + across * step[i], t);
    } else {
        tone_look_up(job, unit, whole, value);
        if (t == 1.0f)
            for (int i = 0; i < 3 * whole; i++)
                value[i] *= unit[i] * (base[i] + across * step[i]);
        else
            for (int i = 0; i < 3 * whole; i++)
                value[i] = unit[i] * power(value[i] * (base[i] + across * step[i]), t);
    }
    for (int i = 0; i < 3 * whole; i += 24)
        for (int l = 0; l < 24; l++)
            value[i + l] = at_most(value[i + l], at_least(unit[i + l], ceiling[l])) - unit[i + l];
}

#endif
