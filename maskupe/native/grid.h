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

#define FLOOR 1e-3f

/* Every coefficient along one row of a span, linear in the position: its value at the left cell
 * and its change to the right one, then the same for its step from the bin before. Each of the
 * four has bins * coefficients entries of the scratch memory. */
typedef struct {
    float *value, *value_change, *step, *step_change;
} Ends;

STAGE void find_ends(int coefficients, int bins, const float *const corner[4], float across,
                     const Ends *ends) {
    const int n = bins * coefficients;
    float *restrict value = ends->value, *restrict change = ends->value_change;
    for (int i = 0; i < n; i++) {
        float l = corner[0][i] + across * (corner[2][i] - corner[0][i]);
        float r = corner[1][i] + across * (corner[3][i] - corner[1][i]);
        value[i] = l;
        change[i] = r - l;
    }
    for (int i = coefficients; i < n; i++) ends->step[i] = value[i] - value[i - coefficients];
    for (int i = coefficients; i < n; i++)
        ends->step_change[i] = change[i] - change[i - coefficients];
}

/* Adds to `sum` (3 planes) what bins `bin` to `bin + hinges` contribute to one block: the value at
 * `bin` where `with_base`, and every hinge above it. One coefficient at a time, so that its
 * scalars, the positions and the hinges stay in registers over the block. */
INLINE void add_bins(int coefficients, int hinges, int with_base, int bin, const Ends *ends,
                     const float *z, const float *part, float planes[3][TILE + PAD], int at,
                     float sum[3][BLOCK]) {
    const int terms = coefficients / 3;
    Vector f[VECTORS];
    _Alignas(64) float hinge[4][BLOCK];
    for (int v = 0; v < VECTORS; v++) f[v] = load_vector(part + LANES * v);
    for (int k = 0; k < hinges; k++)
        for (int i = 0; i < BLOCK; i++) hinge[k][i] = clamp01(z[i] - (float)(bin + k));
    for (int c = 0; c < 3; c++) {
        Vector total[VECTORS];
        for (int v = 0; v < VECTORS; v++)
            total[v] = with_base ? (Vector){0} : load_vector(sum[c] + LANES * v);
        for (int j = 0; j < terms; j++) {
            const int q = bin * coefficients + c * terms + j;
            Vector value[VECTORS];
            for (int v = 0; v < VECTORS; v++)
                value[v] = with_base ? f[v] * ends->value_change[q] + ends->value[q] : (Vector){0};
            for (int k = 0; k < hinges; k++) {
                const float step = ends->step[q + (k + 1) * coefficients];
                const float change = ends->step_change[q + (k + 1) * coefficients];
                for (int v = 0; v < VECTORS; v++)
                    value[v] += load_vector(hinge[k] + LANES * v) * (f[v] * change + step);
            }
            for (int v = 0; v < VECTORS; v++)
                total[v] += terms == 4 && j < 3 ? value[v] * load_vector(planes[j] + at + LANES * v)
                                                : value[v];
        }
        for (int v = 0; v < VECTORS; v++) store_vector(sum[c] + LANES * v, total[v]);
    }
}

/* The bins of each block of n places: the first, and how many hinges there are above it. All at
 * once, so that a branch that depends on them does not wait for them. */
INLINE void find_bins(const Job *job, const float *z, int n, int *first, int *hinges) {
    for (int at = 0, j = 0; at < n; at += BLOCK, j++) {
        float low, high;
        block_range(z + at, &low, &high);
        first[j] = (int)low;
        int last = (int)ceilf(high);
        if (last > job->count - 1) last = job->count - 1;
        hinges[j] = last - first[j];
    }
}

INLINE void slice_block(int coefficients, int first, int hinges, const Ends *ends, const float *z,
                        const float *part, float planes[3][TILE + PAD], int at,
                        float sum[3][BLOCK]) {
#define ADD(number, base, bin) \
    add_bins(coefficients, number, base, bin, ends, z, part, planes, at, sum)
    if (hinges == 0) ADD(0, 1, first);
    else if (hinges == 1) ADD(1, 1, first);
    else if (hinges == 2) ADD(2, 1, first);
    else {
        ADD(3, 1, first);
        for (int k = 3; k < hinges; k++) ADD(1, 0, first + k);
    }
#undef ADD
}

/* The ends of one row of a span that does not cross a column of cell centres. */
INLINE Ends grid_ends(int coefficients, const Job *job, int map_low, int map_high, int x0,
                      float across, float *scratch) {
    const int64_t cell = (int64_t)job->count * coefficients;
    const int64_t top = (int64_t)map_low * job->map_columns;
    const int64_t bottom = (int64_t)map_high * job->map_columns;
    const int x_low = job->column_low[x0], x_high = job->column_high[x0];
    const float *const corner[4] = {
        job->map + (top + x_low) * cell, job->map + (top + x_high) * cell,
        job->map + (bottom + x_low) * cell, job->map + (bottom + x_high) * cell};
    const Ends ends = {scratch, scratch + cell, scratch + 2 * cell, scratch + 3 * cell};
    find_ends(coefficients, job->count, corner, across, &ends);
    return ends;
}

/* One row of one tile, at column x0: fills row->change. */
INLINE void grid_row(int coefficients, const Job *job, const Ends *ends, int x0, int n,
                     Row *row) {
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
    if (coefficients == 12) guide_row(job, planes, whole, z);
    else
        for (int i = 0; i < whole; i++)
            z[i] = sqrtf(LUMA_R * planes[0][i] + LUMA_G * planes[1][i] + LUMA_B * planes[2][i]);
    for (int i = 0; i < whole; i++)
        z[i] = at_most(at_least(z[i] * bins - 0.5f, 0.0f), bins - 1.0f);

    const float t = job->strength;
    int first[TILE / BLOCK], hinges[TILE / BLOCK];
    find_bins(job, z, whole, first, hinges);
    for (int at = 0, j = 0; at < whole; at += BLOCK, j++) {
        slice_block(coefficients, first[j], hinges[j], ends, z + at, job->column_part + x0 + at,
                    planes, at, sum);
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

STAGE Ends gain_ends(const Job *job, int map_low, int map_high, int x0, float across,
                     float *scratch) {
    return grid_ends(3, job, map_low, map_high, x0, across, scratch);
}

STAGE void gain_row(const Job *job, const Ends *ends, int x0, int n, Row *row) {
    grid_row(3, job, ends, x0, n, row);
}

STAGE Ends affine_ends(const Job *job, int map_low, int map_high, int x0, float across,
                       float *scratch) {
    return grid_ends(12, job, map_low, map_high, x0, across, scratch);
}

STAGE void affine_row(const Job *job, const Ends *ends, int x0, int n, Row *row) {
    grid_row(12, job, ends, x0, n, row);
}

#endif
