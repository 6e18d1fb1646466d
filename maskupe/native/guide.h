/* The guidance map: three piecewise linear curves of linear mixtures of r, g, b.
 *
 * guide: matrix (3, 3), bias (3), mix bias (1), then for each of the three curves its
 * sorted knots (n), the slope that each adds (n), and for 0..n knots passed the slope (n + 1) and
 * the intercept (n + 1) of the line that their sum is. Slopes contain the mixing weight.
 * Only knots within a block's own range need a maximum; all below are one line. */
#ifndef MASKUPE_GUIDE_H
#define MASKUPE_GUIDE_H

#include "job.h"

/* Pixels that share a range of the guide. */
#define BLOCK 32
#define VECTORS (BLOCK / LANES)

/* Smallest and largest of a block. */
INLINE void block_range(const float *values, float *low, float *high) {
    Vector lows = load_vector(values), highs = lows;
    for (int v = 1; v < VECTORS; v++) {
        Vector next = load_vector(values + LANES * v);
        lows = next < lows ? next : lows;
        highs = next > highs ? next : highs;
    }
    float l[LANES], h[LANES];
    store_vector(l, lows);
    store_vector(h, highs);
    for (int n = LANES / 2; n; n /= 2)
        for (int i = 0; i < n; i++) {
            l[i] = at_most(l[i], l[i + n]);
            h[i] = at_least(h[i], h[i + n]);
        }
    *low = l[0], *high = h[0];
}

/* Adds a curve of one block to the guide: a line, and a bend at each knot first..last. */
INLINE void add_curve(const float *p, float slope, float intercept, const float *shifts,
                      const float *slopes, int first, int last, float *guide) {
    const Vector zero = {0};
    Vector place[VECTORS], value[VECTORS];
    for (int v = 0; v < VECTORS; v++) place[v] = load_vector(p + LANES * v);
    for (int v = 0; v < VECTORS; v++)
        value[v] = load_vector(guide + LANES * v) + intercept + slope * place[v];
    for (int k = first; k < last; k++)
        for (int v = 0; v < VECTORS; v++) {
            Vector above = place[v] - shifts[k];
            value[v] += slopes[k] * (above > zero ? above : zero);
        }
    for (int v = 0; v < VECTORS; v++) store_vector(guide + LANES * v, value[v]);
}

STAGE void guide_row(const Job *job, float planes[3][TILE + PAD], int whole,
                     float *restrict guide) {
    const int knots = job->knots;
    const float *matrix = job->guide, *bias = matrix + 9, *curve = bias + 4;
    _Alignas(64) float place[TILE];
    for (int i = 0; i < whole; i++) guide[i] = bias[3];
    for (int c = 0; c < 3; c++, curve += 4 * knots + 2, matrix += 3) {
        const float *shifts = curve, *slopes = curve + knots, *lines = slopes + knots;
        for (int i = 0; i < whole; i++)
            place[i] = bias[c] + matrix[0] * planes[0][i] + matrix[1] * planes[1][i] +
                       matrix[2] * planes[2][i];
        int first = 0, last = 0;
        for (int at = 0; at < whole; at += BLOCK) {
            const float *p = place + at;
            float low, high;
            block_range(p, &low, &high);
            /* The last block's numbers are good guesses: neighbours are alike. */
            while (first > 0 && shifts[first - 1] > low) first--;
            while (first < knots && shifts[first] <= low) first++;
            if (last < first) last = first;
            while (last > first && shifts[last - 1] >= high) last--;
            while (last < knots && shifts[last] < high) last++;
            add_curve(p, lines[first], lines[knots + 1 + first], shifts, slopes, first, last,
                      guide + at);
        }
    }
    for (int i = 0; i < whole; i++) guide[i] = clamp01(guide[i]);
}

#endif
