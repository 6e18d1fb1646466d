/* Bilinear maps without a luma axis, spread over the columns of a tile.
 *
 * A map row is spread once per tile and band of rows; within the band each pixel row then only
 * adds base + part * step. Layout: r, g, b interleaved like the pixels. */
#ifndef MASKUPE_SMOOTH_H
#define MASKUPE_SMOOTH_H

#include "job.h"

/* Spreads one map row, cells of (r, g, b), times `factor`. Each run between two cell centres is
 * linear in the position; it is written in whole groups, and the next run overwrites the excess. */
static void spread(const Job *job, const float *cells, int x0, int n, float factor,
                   float *restrict to) {
    int x = x0;
    while (x < x0 + n) {
        const float *left = cells + 3 * job->column_low[x], *right = cells + 3 * job->column_high[x];
        int cell = job->column_low[x], end = x + 1;
        while (end < x0 + n && job->column_low[end] == cell) end++;
        float value[24], slope[24];
        for (int l = 0; l < 24; l++) {
            value[l] = factor * left[l % 3];
            slope[l] = factor * right[l % 3] - value[l];
        }
        for (; x < end; x += 8)
            for (int l = 0; l < 24; l++)
                to[3 * (x - x0) + l] = value[l] + job->column_part3[3 * x + l] * slope[l];
        x = end;
    }
}

/* base and step of one tile between two map rows. */
static void spread_band(const Job *job, const float *top, const float *bottom, int x0, int n,
                        float factor, float *restrict base, float *restrict step) {
    spread(job, top, x0, n, factor, base);
    spread(job, bottom, x0, n, factor, step);
    for (int i = 0; i < 3 * round_up(n); i++) step[i] -= base[i];
}

#endif
