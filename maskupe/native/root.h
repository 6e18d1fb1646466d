/* Square roots of vectors. */
#ifndef MASKUPE_ROOT_H
#define MASKUPE_ROOT_H

#include <math.h>

#include "job.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

/* Square roots of numbers from 0 upwards times `factor`, to a relative error below 5e-7. x86
 * processors take longer for exact ones than for estimates of 1 / sqrt x and a step of Newton's
 * method. */
INLINE Vector root(Vector x, float factor) {
#if defined(__AVX512F__) || defined(__AVX2__)
    x = highest(x, (Vector){0} + 1e-30f);
#if defined(__AVX512F__)
    const Vector y = (Vector)_mm512_rsqrt14_ps((__m512)x);
#else
    const Vector y = (Vector)_mm256_rsqrt_ps((__m256)x);
#endif
    const Vector near = x * y;
    return near * (1.5f * factor - 0.5f * factor * (near * y));
#else
    Vector y;
    for (int i = 0; i < LANES; i++) y[i] = sqrtf(x[i]) * factor;
    return y;
#endif
}

#endif
