/* How much of the effect each pixel takes: from its coverage to the blend weight.
 * The formula is that of maskupe/blending/weights.py. */
#ifndef MASKUPE_FADE_H
#define MASKUPE_FADE_H

#include "pixels.h"

enum { WEIGHT_NONE, WEIGHT_SOME, WEIGHT_FULL };

/* maskupe.blending.weights.ONSET */
#define ONSET 0.05f

/* Whether all, some or none of n pixels take the whole effect. */
STAGE int scan_coverage(const uint16_t *coverage, int n) {
    uint16_t low = 65535, high = 0;
    for (int i = 0; i < n; i++) {
        low = coverage[i] < low ? coverage[i] : low;
        high = coverage[i] > high ? coverage[i] : high;
    }
    if (high == 0) return WEIGHT_NONE;
    return low == 65535 ? WEIGHT_FULL : WEIGHT_SOME;
}

#define VISIBLE(type)                                                                           \
    static void visible_##type(const type *p, int channels, int n, const uint16_t *coverage,    \
                               uint16_t *restrict to) {                                         \
        for (int i = 0; i < n; i++)                                                             \
            to[i] = p[channels * i + channels - 1] == 0 ? 0 : coverage[i];                      \
    }
VISIBLE(uint8_t)
VISIBLE(uint16_t)
VISIBLE(float)

/* The coverage that counts: zero where alpha is zero. */
STAGE const uint16_t *visible_coverage(const Job *job, const void *pixels,
                                       const uint16_t *coverage, int n, Row *row) {
    uint16_t *to = row->coverage;
    if (job->channels % 2) return coverage;
    if (job->depth == DEPTH_U8) visible_uint8_t(pixels, job->channels, n, coverage, to);
    else if (job->depth == DEPTH_U16) visible_uint16_t(pixels, job->channels, n, coverage, to);
    else visible_float(pixels, job->channels, n, coverage, to);
    return to;
}

/* Fills row->weight. */
STAGE void fade_row(const Job *job, const uint16_t *coverage, int n, Row *row) {
    float *restrict weight = row->weight;
    for (int i = 0; i < n; i++) weight[i] = job->ramp[coverage[i]];
}

/* Takes of row->weight what would add more light on an edge than the bound there. */
STAGE void bound_row(const Job *job, int y, int x, int n, Row *row) {
    const float *low = job->bound + (int64_t)job->bound_row_low[y] * job->bound_columns;
    const float *high = job->bound + (int64_t)job->bound_row_high[y] * job->bound_columns;
    const float down = job->bound_row_part[y];
    float *restrict weight = row->weight;
    _Alignas(64) float most[TILE];
    for (int i = 0; i < n; i++) {
        const int a = job->bound_low[x + i], b = job->bound_high[x + i];
        const float left = low[a] + down * (high[a] - low[a]);
        const float right = low[b] + down * (high[b] - low[b]);
        most[i] = left + job->bound_part[x + i] * (right - left);
    }
    for (int i = 0; i < n; i++) {
        const float *c = row->change + 3 * i;
        const float added = at_least(LUMA_R * c[0] + LUMA_G * c[1] + LUMA_B * c[2], 1e-6f);
        const float excess = 1.0f - at_most(most[i] / added, 1.0f);
        const float own = weight[i], t = clamp01((1.0f - own) * (1.0f / ONSET));
        weight[i] = own * (1.0f - t * t * (3.0f - 2.0f * t) * excess);
    }
}

#endif
