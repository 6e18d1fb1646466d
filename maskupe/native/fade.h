/* How much of the effect each pixel takes: from its coverage and its tone to the blend weight.
 * The formula is that of maskupe/fade.py. */
#ifndef MASKUPE_FADE_H
#define MASKUPE_FADE_H

#include "pixels.h"

enum { WEIGHT_NONE, WEIGHT_SOME, WEIGHT_FULL };

/* maskupe.fade.ONSET and ENTRIES */
#define ONSET 0.15f
#define ALLOWED 256

/* Whether all, some or none of n pixels take the whole effect. */
STAGE int scan_coverage(const Job *job, const uint16_t *coverage, int n) {
    uint16_t low = 65535, high = 0;
    for (int i = 0; i < n; i++) {
        low = coverage[i] < low ? coverage[i] : low;
        high = coverage[i] > high ? coverage[i] : high;
    }
    if (high == 0) return WEIGHT_NONE;
    return low == 65535 && !(job->allowed && job->inside > 0.0f) ? WEIGHT_FULL : WEIGHT_SOME;
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
    if (!job->allowed) return;
    _Alignas(64) float may[TILE];
    for (int i = 0; i < n; i++) {
        const float *p = row->unit + 3 * i;
        const float place = (LUMA_R * p[0] + LUMA_G * p[1] + LUMA_B * p[2]) * (ALLOWED - 1.0f);
        int k = (int)place;
        k = k < ALLOWED - 2 ? k : ALLOWED - 2;
        const float *entry = job->allowed + k;
        may[i] = entry[0] + (place - (float)k) * (entry[1] - entry[0]);
    }
    for (int i = 0; i < n; i++) {
        const float own = weight[i], x = clamp01((1.0f - own) * (1.0f / ONSET) + job->inside);
        weight[i] = at_most(own, 1.0f - (1.0f - may[i]) * (x * x * (3.0f - 2.0f * x)));
    }
}

#endif
