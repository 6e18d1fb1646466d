/* Bilinear maps without a luma axis, spread over the columns of a tile.
 *
 * A map row is spread once per tile and band of rows; within the band each pixel row then only
 * adds base + part * step. Layout: r, g, b interleaved like the pixels. */
#ifndef MASKUPE_SMOOTH_H
#define MASKUPE_SMOOTH_H

#include "job.h"

/* r, g, b, r, g, b, ... over three vectors. */
#define REPEAT0(q) __builtin_shufflevector(q, q, 0, 1, 2, 0, 1, 2, 0, 1)
#define REPEAT1(q) __builtin_shufflevector(q, q, 2, 0, 1, 2, 0, 1, 2, 0)
#define REPEAT2(q) __builtin_shufflevector(q, q, 1, 2, 0, 1, 2, 0, 1, 2)

/* Spreads one map row, cells of (r, g, b), times `factor`. Each run between two cell centres is
 * linear in the position; it is written in whole groups, and the next run overwrites the excess.
 * A cell is read as four floats: the map's last one is followed by padding. */
STAGE void spread(const Job *job, const float *cells, int x0, int n, float factor, float *to) {
    for (int x = x0; x < x0 + n;) {
        const int cell = job->column_low[x];
        Quad left, right;
        memcpy(&left, cells + 3 * cell, sizeof left);
        memcpy(&right, cells + 3 * job->column_high[x], sizeof right);
        left *= factor;
        right = right * factor - left;
        const Vector value0 = REPEAT0(left), value1 = REPEAT1(left), value2 = REPEAT2(left);
        const Vector slope0 = REPEAT0(right), slope1 = REPEAT1(right), slope2 = REPEAT2(right);
        int end = x + 1;
        while (end < x0 + n && job->column_low[end] == cell) end++;
        for (int i = x; i < end; i += 8) {
            const float *part = job->column_part3 + 3 * i;
            float *p = to + 3 * (i - x0);
            store_vector(p, value0 + load_vector(part) * slope0);
            store_vector(p + 8, value1 + load_vector(part + 8) * slope1);
            store_vector(p + 16, value2 + load_vector(part + 16) * slope2);
        }
        x = end;
    }
}

/* base and step of one tile between two map rows. */
STAGE void spread_band(const Job *job, const float *top, const float *bottom, int x0, int n,
                        float factor, float *restrict base, float *restrict step) {
    spread(job, top, x0, n, factor, base);
    spread(job, bottom, x0, n, factor, step);
    for (int i = 0; i < 3 * round_up(n); i++) step[i] -= base[i];
}

#endif
