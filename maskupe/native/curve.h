/* CurveMaps. map: (map rows, steps, map columns, 3). */
#ifndef MASKUPE_CURVE_H
#define MASKUPE_CURVE_H

#include "smooth.h"

STAGE void curve_tile(const Job *job, int map_low, int map_high, int x0, int n, float *scratch) {
    const int64_t plane = 3 * (int64_t)job->map_columns, row = plane * job->count;
    for (int s = 0; s < job->count; s++, scratch += 2 * COLOURS)
        spread_band(job, job->map + map_low * row + s * plane, job->map + map_high * row + s * plane,
                    x0, n, job->strength, scratch, scratch + COLOURS);
}

#define CURVE_STEP(s)                                                                           \
    x += (scratch[(2 * (s)) * COLOURS + i] + across * scratch[(2 * (s) + 1) * COLOURS + i]) *   \
         (x * x - x);

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
    for (int s = 0; s < job->count; s++, scratch += 2 * COLOURS)
        for (int i = 0; i < 3 * whole; i++) {
            float x = value[i];
            value[i] = x + (scratch[i] + across * scratch[COLOURS + i]) * (x * x - x);
        }
    for (int i = 0; i < 3 * whole; i++) value[i] = clamp01(value[i]) - row->unit[i];
}

#endif
