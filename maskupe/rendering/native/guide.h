/* The guidance map: three piecewise linear curves of linear mixtures of r, g, b (and A, B).
 *
 * guide: matrix (3, guide_inputs), bias (3), mix bias (1), then for each of the three curves its
 * sorted knots (n), the slope that each adds (n), and for 0..n knots passed the slope (n + 1) and
 * the intercept (n + 1) of the line that their sum is. Slopes contain the mixing weight.
 * Only knots within a block's own range need a maximum; all below are one line. */
#ifndef MASKUPE_GUIDE_H
#define MASKUPE_GUIDE_H

#include "job.h"

/* Pixels that share a range of the guide. */
#define BLOCK 32

/* Smallest and largest of a block, in eight lanes so that it vectorises. */
static inline void block_range(const float *values, float *low, float *high) {
    float lows[8], highs[8];
    for (int l = 0; l < 8; l++) lows[l] = highs[l] = values[l];
    for (int i = 8; i < BLOCK; i += 8)
        for (int l = 0; l < 8; l++) {
            lows[l] = values[i + l] < lows[l] ? values[i + l] : lows[l];
            highs[l] = values[i + l] > highs[l] ? values[i + l] : highs[l];
        }
    *low = lows[0], *high = highs[0];
    for (int l = 1; l < 8; l++) {
        *low = lows[l] < *low ? lows[l] : *low;
        *high = highs[l] > *high ? highs[l] : *high;
    }
}

static void guide_row(const Job *job, const float planes[3][TILE + PAD], const uint8_t *a,
                      const uint8_t *b, int n, int whole, float *restrict guide) {
    const int inputs = job->guide_inputs, knots = job->knots;
    const float *matrix = job->guide, *bias = matrix + 3 * inputs, *curve = bias + 4;
    _Alignas(64) float place[TILE], in_a[TILE], in_b[TILE];
    if (inputs == 5) {
        for (int i = 0; i < n; i++) in_a[i] = a[i] ? 1.0f : 0.0f, in_b[i] = b[i] ? 1.0f : 0.0f;
        for (int i = n; i < whole; i++) in_a[i] = in_a[n - 1], in_b[i] = in_b[n - 1];
    }
    for (int i = 0; i < whole; i++) guide[i] = bias[3];
    for (int c = 0; c < 3; c++, curve += 4 * knots + 2, matrix += inputs) {
        const float *shifts = curve, *slopes = curve + knots, *lines = slopes + knots;
        for (int i = 0; i < whole; i++)
            place[i] = bias[c] + matrix[0] * planes[0][i] + matrix[1] * planes[1][i] +
                       matrix[2] * planes[2][i];
        if (inputs == 5)
            for (int i = 0; i < whole; i++) place[i] += matrix[3] * in_a[i] + matrix[4] * in_b[i];
        int first = 0, last = 0;
        for (int at = 0; at < whole; at += BLOCK) {
            const float *p = place + at;
            float *g = guide + at;
            float low, high;
            block_range(p, &low, &high);
            /* The last block's numbers are good guesses: neighbours are alike. */
            while (first > 0 && shifts[first - 1] > low) first--;
            while (first < knots && shifts[first] <= low) first++;
            if (last < first) last = first;
            while (last > first && shifts[last - 1] >= high) last--;
            while (last < knots && shifts[last] < high) last++;
            const float slope = lines[first], intercept = lines[knots + 1 + first];
            for (int i = 0; i < BLOCK; i++) g[i] += intercept + slope * p[i];
            for (int k = first; k < last; k++)
                for (int i = 0; i < BLOCK; i++)
                    g[i] += slopes[k] * at_least(p[i] - shifts[k], 0.0f);
        }
    }
    for (int i = 0; i < whole; i++) guide[i] = clamp01(guide[i]);
}

#endif
