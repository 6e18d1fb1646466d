/* Square roots of vectors. */
#ifndef MASKUPE_ROOT_H
#define MASKUPE_ROOT_H

#include <math.h>

#include "job.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

/* Square roots of numbers from 0 upwards, to a relative error below 5e-7. x86 processors take twice
 * as long for an exact one as for an estimate of 1 / sqrt x and one step of Newton's method. */
INLINE Vector root(Vector x) {
    Vector y;
#if defined(__AVX512F__)
    x = highest(x, (Vector){0} + 1e-30f);
    y = (Vector)_mm512_rsqrt14_ps((__m512)x);
    return x * y * (1.5f - 0.5f * x * y * y);
#elif defined(__AVX2__)
    x = highest(x, (Vector){0} + 1e-30f);
    y = (Vector)_mm256_rsqrt_ps((__m256)x);
    return x * y * (1.5f - 0.5f * x * y * y);
#else
    for (int i = 0; i < LANES; i++) y[i] = sqrtf(x[i]);
    return y;
#endif
}

#endif
