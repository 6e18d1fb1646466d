/* CurveMaps. map: (steps, 3, map rows, map columns). */
#ifndef MASKUPE_CURVE_H
#define MASKUPE_CURVE_H

#include "smooth.h"

/* base and step of one map. */
#define CURVE_COLOURS (3 * (CURVE_SPAN + PAD))
#define CURVE_SCRATCH (2 * CURVE_COLOURS)

STAGE void curve_band(const Job *job, int map_low, int map_high, int x0, int n, float *scratch) {
    const int64_t map = 3 * (int64_t)job->map_rows * job->map_columns;
    for (int s = 0; s < job->count; s++, scratch += CURVE_SCRATCH)
        spread_band(job, job->map + s * map, map_low, map_high, x0, n, job->strength, scratch,
                    scratch + CURVE_COLOURS);
}

#define CURVE_STEP(s)                                                                           \
    x += (scratch[(s) * CURVE_SCRATCH + i] +                                                    \
          across * scratch[(s) * CURVE_SCRATCH + CURVE_COLOURS + i]) * (x * x - x);

/* Eight steps, the usual number, in one loop: x stays in a register. As an inner loop over the
 * steps the compiler does not vectorise it. */
STAGE void curve_row8(int whole, float across, const float *scratch, const float *unit,
                       float *restrict change) {
#pragma clang loop interleave_count(2)
    for (int i = 0; i < 3 * whole; i++) {
        float x = unit[i];
        CURVE_STEP(0) CURVE_STEP(1) CURVE_STEP(2) CURVE_STEP(3)
        CURVE_STEP(4) CURVE_STEP(5) CURVE_STEP(6) CURVE_STEP(7)
        change[i] = clamp01(x) - unit[i];
    }
}

STAGE void curve_row(const Job *job, int n, float across, const float *scratch, Row *row) {
    const int whole = round_up(n);
    if (job->count == 8) {
        curve_row8(whole, across, scratch, row->unit, row->change);
        return;
    }
    float *restrict value = row->change;
    memcpy(value, row->unit, sizeof(float) * 3 * (size_t)whole);
    for (int s = 0; s < job->count; s++, scratch += CURVE_SCRATCH)
        for (int i = 0; i < 3 * whole; i++) {
            float x = value[i];
            value[i] = x + (scratch[i] + across * scratch[CURVE_COLOURS + i]) * (x * x - x);
        }
    for (int i = 0; i < 3 * whole; i++) value[i] = clamp01(value[i]) - row->unit[i];
}

#endif
