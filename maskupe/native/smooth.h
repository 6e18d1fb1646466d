/* Bilinear maps without a luma axis, spread over the columns of a span.
 *
 * A map row is spread once per span and band of rows; within the band each pixel row then only
 * adds base + part * step. They are interleaved like
 * the pixels, the maps are planes. */
#ifndef MASKUPE_SMOOTH_H
#define MASKUPE_SMOOTH_H

#include "job.h"

/* r, g, b, r, g, b, ... over three vectors. */
#if LANES == 16
#define REPEAT0(q) __builtin_shufflevector(q, q, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0)
#define REPEAT1(q) __builtin_shufflevector(q, q, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1)
#define REPEAT2(q) __builtin_shufflevector(q, q, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2)
#else
#define REPEAT0(q) __builtin_shufflevector(q, q, 0, 1, 2, 0, 1, 2, 0, 1)
#define REPEAT1(q) __builtin_shufflevector(q, q, 2, 0, 1, 2, 0, 1, 2, 0)
#define REPEAT2(q) __builtin_shufflevector(q, q, 1, 2, 0, 1, 2, 0, 1, 2)
#endif

/* The cells of one row of a map (3, map rows, map columns) at one column. */
INLINE Quad cell_at(const float *row, int64_t plane, int column) {
    return (Quad){row[column], row[plane + column], row[2 * plane + column], 0.0f};
}

/* Spreads one map row times `factor` over the columns x0..x0 + n. Each run between two cell
 * centres is linear in the position; it is written in whole groups, and the next run overwrites
 * the excess. */
STAGE void spread(const Job *job, const float *row, int x0, int n, float factor, float *to) {
    const int64_t plane = (int64_t)job->map_rows * job->map_columns;
    for (int x = x0; x < x0 + n;) {
        const Quad left = cell_at(row, plane, job->column_low[x]) * factor;
        const Quad right = cell_at(row, plane, job->column_high[x]) * factor - left;
        const Vector value0 = REPEAT0(left), value1 = REPEAT1(left), value2 = REPEAT2(left);
        const Vector slope0 = REPEAT0(right), slope1 = REPEAT1(right), slope2 = REPEAT2(right);
        const int end = job->column_end[x] < x0 + n ? job->column_end[x] : x0 + n;
        for (int i = x; i < end; i += LANES) {
            const float *part = job->column_part3 + 3 * i;
            float *p = to + 3 * (i - x0);
            store_vector(p, value0 + load_vector(part) * slope0);
            store_vector(p + LANES, value1 + load_vector(part + LANES) * slope1);
            store_vector(p + 2 * LANES, value2 + load_vector(part + 2 * LANES) * slope2);
        }
        x = end;
    }
}

/* base and step of one span between two map rows. */
STAGE void spread_band(const Job *job, const float *map, int map_low, int map_high, int x0, int n,
                       float factor, float *restrict base, float *restrict step) {
    spread(job, map + (int64_t)map_low * job->map_columns, x0, n, factor, base);
    spread(job, map + (int64_t)map_high * job->map_columns, x0, n, factor, step);
    for (int i = 0; i < 3 * round_up(n); i++) step[i] -= base[i];
}

#endif
