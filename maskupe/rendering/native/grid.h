/* GainGrid and AffineGrid. map: (map rows, map columns, bins, coefficients), 3 or 12 of them.
 *
 * The luma axis is read without look-ups: S = T_0 + sum_k (T_{k+1} - T_k) clip(z - k, 0, 1). A tile
 * lies between two columns of cells, so the T are linear in the position and their ends are
 * scalars. A block of neighbouring pixels seldom spans more than two bins: only the hinges within
 * the block's own range of z are computed, which is the same function. */
#ifndef MASKUPE_GRID_H
#define MASKUPE_GRID_H

#include <math.h>

#include "guide.h"
#include "pixels.h"
#include "power.h"

#define INLINE static inline __attribute__((always_inline))
#define FLOOR 1e-3f

/* Two ends of every coefficient along a row of the tile: value at the left cell, change to the
 * right one. scratch: bins * coefficients of each. */
static void grid_row_ends(const Job *job, int coefficients, const float *const corner[4],
                          float across, float *restrict left, float *restrict change) {
    const int n = job->count * coefficients;
    for (int i = 0; i < n; i++) {
        float l = corner[0][i] + across * (corner[2][i] - corner[0][i]);
        float r = corner[1][i] + across * (corner[3][i] - corner[1][i]);
        left[i] = l;
        change[i] = r - l;
    }
}

/* Adds to `sum` (3 planes) what bins `bin` to `bin + hinges` contribute to one block: the value at
 * `bin` where `with_base`, and every hinge above it. */
INLINE void add_bins(int coefficients, int hinges, int with_base, int bin, const float *left,
                     const float *change, const float *restrict z, const float *restrict part,
                     const float planes[3][TILE + PAD], int at, float sum[3][BLOCK]) {
    const float *l0 = left + bin * coefficients, *c0 = change + bin * coefficients;
    for (int i = 0; i < BLOCK; i++) {
        const float f = part[i];
        float h[4];
        for (int k = 0; k < hinges; k++) h[k] = clamp01(z[i] - (float)(bin + k));
        for (int c = 0; c < 3; c++) {
            const int terms = coefficients / 3;
            float total = with_base ? 0.0f : sum[c][i];
            for (int j = 0; j < terms; j++) {
                const int q = c * terms + j;
                float value = with_base ? l0[q] + f * c0[q] : 0.0f;
                for (int k = 0; k < hinges; k++) {
                    const float *l = l0 + (k + 1) * coefficients, *d = c0 + (k + 1) * coefficients;
                    value += h[k] * ((l[q] - l[q - coefficients]) + f * (d[q] - d[q - coefficients]));
                }
                total += terms == 4 && j < 3 ? value * planes[j][at + i] : value;
            }
            sum[c][i] = total;
        }
    }
}

INLINE void slice_block(int coefficients, const Job *job, const float *left, const float *change,
                        const float *z, const float *part, const float planes[3][TILE + PAD],
                        int at, float sum[3][BLOCK]) {
    float low, high;
    block_range(z, &low, &high);
    int first = (int)low, last = (int)ceilf(high);
    if (last > job->count - 1) last = job->count - 1;
    const int hinges = last - first;
#define ADD(number, base, bin) \
    add_bins(coefficients, number, base, bin, left, change, z, part, planes, at, sum)
    if (hinges == 0) ADD(0, 1, first);
    else if (hinges == 1) ADD(1, 1, first);
    else if (hinges == 2) ADD(2, 1, first);
    else {
        ADD(3, 1, first);
        for (int k = first + 3; k < last; k++) ADD(1, 0, k);
    }
#undef ADD
}

/* One row of one tile; the tile does not cross a column of cell centres. */
INLINE void grid_row(int coefficients, const Job *job, int map_low, int map_high, int x0, int n,
                     float across, const uint8_t *a, const uint8_t *b, float *scratch, Row *row) {
    const int64_t cell = (int64_t)job->count * coefficients;
    const int64_t top = (int64_t)map_low * job->map_columns;
    const int64_t bottom = (int64_t)map_high * job->map_columns;
    const int x_low = job->column_low[x0], x_high = job->column_high[x0];
    const float *const corner[4] = {
        job->map + (top + x_low) * cell, job->map + (top + x_high) * cell,
        job->map + (bottom + x_low) * cell, job->map + (bottom + x_high) * cell};
    float *left = scratch, *change = scratch + cell;
    grid_row_ends(job, coefficients, corner, across, left, change);

    _Alignas(64) float planes[3][TILE + PAD], z[TILE + BLOCK], sum[3][BLOCK];
    const int whole = (n + BLOCK - 1) / BLOCK * BLOCK;
    for (int i = 0; i < n; i++) {
        planes[0][i] = row->unit[3 * i];
        planes[1][i] = row->unit[3 * i + 1];
        planes[2][i] = row->unit[3 * i + 2];
    }
    for (int i = n; i < whole; i++) /* like the last pixel, to keep the block's range small */
        planes[0][i] = planes[0][n - 1], planes[1][i] = planes[1][n - 1],
        planes[2][i] = planes[2][n - 1];
    const float bins = (float)job->count;
    if (coefficients == 12) guide_row(job, planes, a, b, n, whole, z);
    else
        for (int i = 0; i < whole; i++)
            z[i] = sqrtf(LUMA_R * planes[0][i] + LUMA_G * planes[1][i] + LUMA_B * planes[2][i]);
    for (int i = 0; i < whole; i++)
        z[i] = at_most(at_least(z[i] * bins - 0.5f, 0.0f), bins - 1.0f);

    const float t = job->strength;
    for (int at = 0; at < whole; at += BLOCK) {
        slice_block(coefficients, job, left, change, z + at, job->column_part + x0 + at, planes, at,
                    sum);
        for (int c = 0; c < 3; c++) {
            float *s = sum[c];
            for (int i = 0; i < BLOCK; i++)
                s[i] = at_least(at_least(at_most(s[i], 1.0f), planes[c][at + i]), FLOOR);
            if (t != 1.0f)
                for (int i = 0; i < BLOCK; i++) s[i] = power(s[i], t);
            for (int i = 0; i < BLOCK; i++) s[i] = planes[c][at + i] / s[i] - planes[c][at + i];
        }
        const int end = n - at < BLOCK ? n - at : BLOCK;
        if (end == BLOCK)
            for (int i = 0; i < BLOCK; i++)
                for (int c = 0; c < 3; c++) row->change[3 * (at + i) + c] = sum[c][i];
        else
            for (int i = 0; i < end; i++)
                for (int c = 0; c < 3; c++) row->change[3 * (at + i) + c] = sum[c][i];
    }
}

static void gain_row(const Job *job, int map_low, int map_high, int x0, int n, float across,
                     float *scratch, Row *row) {
    grid_row(3, job, map_low, map_high, x0, n, across, 0, 0, scratch, row);
}

static void affine_row(const Job *job, int map_low, int map_high, int x0, int n, float across,
                       const uint8_t *a, const uint8_t *b, float *scratch, Row *row) {
    grid_row(12, job, map_low, map_high, x0, n, across, a, b, scratch, row);
}

#endif
