/* Chroma of what is brightened. The formula is that of maskupe/rendering/saturation.py. */
#ifndef MASKUPE_SATURATE_H
#define MASKUPE_SATURATE_H

#include <math.h>

#include "pixels.h"

/* maskupe.rendering.saturation.STOP */
#define STOP 0.37f
/* In place of zero where something is divided. */
#define LEAST 1e-6f

/* Scales the chroma of row->unit + row->change. */
STAGE void saturate_row(const Job *job, int n, Row *row) {
    const float saturation = job->saturation;
    const float *restrict unit = row->unit;
    float *restrict change = row->change;
    for (int i = 0; i < n; i++) {
        const float *d = unit + 3 * i;
        float *c = change + 3 * i;
        const float r = d[0] + c[0], g = d[1] + c[1], b = d[2] + c[2];
        const float before = LUMA_R * d[0] + LUMA_G * d[1] + LUMA_B * d[2];
        const float added = LUMA_R * c[0] + LUMA_G * c[1] + LUMA_B * c[2];
        const float luma = before + added;
        const float most = at_least(at_least(r, g), b), least = at_most(at_most(r, g), b);
        const float above = (most - luma) / at_least(1.0f - luma, LEAST);
        const float below = (luma - least) / at_least(luma, LEAST);
        const float used = clamp01(at_least(above, below)), freed = 1.0f - used;
        float amount = saturation * clamp01(added / at_least(before * STOP, LEAST));
        const float sum = amount * used * amount * used + freed * freed;
        const float room = freed / sqrtf(at_least(sum, LEAST));
        amount *= saturation > 0.0f ? room : 1.0f;
        /* Rounding must not take a colour beyond the limits that it was within. */
        c[0] = at_most(at_least(r + amount * (r - luma), at_most(r, 0.0f)), at_least(r, 1.0f)) - d[0];
        c[1] = at_most(at_least(g + amount * (g - luma), at_most(g, 0.0f)), at_least(g, 1.0f)) - d[1];
        c[2] = at_most(at_least(b + amount * (b - luma), at_most(b, 0.0f)), at_least(b, 1.0f)) - d[2];
    }
}

#endif
