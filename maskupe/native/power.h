/* x^t for positive x in plain arithmetic, so that loops over it vectorise. */
#ifndef MASKUPE_POWER_H
#define MASKUPE_POWER_H

#include <stdint.h>
#include <string.h>

#include "job.h"

/* Relative error below 2e-6 for x in 2^-40 .. 2^40 and t in 0 .. 1. Log: x = 2^e m with m in
 * [sqrt(1/2), sqrt(2)), log2 m = 2 / ln 2 * artanh((m - 1) / (m + 1)). Exponential: Taylor. */
INLINE float power(float x, float t) {
    int32_t bits;
    memcpy(&bits, &x, 4);
    int32_t above = bits - 0x3f3504f3; /* relative to sqrt(1/2) */
    int32_t exponent = above >> 23;
    int32_t mantissa_bits = bits - (int32_t)((uint32_t)exponent << 23);
    float m;
    memcpy(&m, &mantissa_bits, 4);
    float s = (m - 1.0f) / (m + 1.0f), s2 = s * s;
    float log2m = s * (2.885390082f + s2 * (0.961796694f + s2 * (0.577078016f + s2 * 0.412198583f)));
    float y = t * ((float)exponent + log2m);
    y = at_most(at_least(y, -126.0f), 126.0f);
    int32_t whole = (int32_t)(y + 128.5f) - 128;
    float f = (y - (float)whole) * 0.693147181f;
    float e = 1.0f + f * (1.0f + f * (0.5f + f * (0.166666667f + f * (0.0416666667f +
              f * (0.00833333333f + f * 0.00138888889f)))));
    int32_t result_bits;
    memcpy(&result_bits, &e, 4);
    result_bits += (int32_t)((uint32_t)whole << 23);
    float result;
    memcpy(&result, &result_bits, 4);
    return result;
}

#endif
