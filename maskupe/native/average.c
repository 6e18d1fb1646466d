/* Weighted sums of rows, from which area averages are made: each pixel is read once. */
#include <stdint.h>

#include "export.h"
#include "job.h"

/* Numbers whose sums stay in the first-level cache while the rows pass. */
#define SUMS 4096

#define ADD(type, value)                                                                        \
    static void add_##type(const type *p, int n, float share, float *restrict sums) {           \
        for (int i = 0; i < n; i++) sums[i] += share * (value);                                 \
    }
ADD(uint8_t, (float)p[i])
ADD(uint16_t, (float)p[i])
ADD(float, clamp01(p[i]))

/* Adds shares[y] times the numbers of each row to `sums`; floats are clipped to 0..1, NaN counts
 * as 0. `count` numbers a row, the stride in bytes. */
EXPORT void maskupe_add_rows(const uint8_t *rows, int64_t stride, int32_t depth, int32_t count,
                             int32_t height, const float *shares, float *sums) {
    for (int x = 0; x < count; x += SUMS) {
        const int n = count - x < SUMS ? count - x : SUMS;
        for (int y = 0; y < height; y++) {
            const uint8_t *row = rows + y * stride;
            if (depth == DEPTH_U8) add_uint8_t(row + x, n, shares[y], sums + x);
            else if (depth == DEPTH_U16)
                add_uint16_t((const uint16_t *)row + x, n, shares[y], sums + x);
            else add_float((const float *)row + x, n, shares[y], sums + x);
        }
    }
}

/* Adds shares[y] where a coverage is full to the first `count` sums, where it is partial to the
 * next. The stride is in bytes. */
EXPORT void maskupe_add_areas(const uint8_t *rows, int64_t stride, int32_t count, int32_t height,
                              const float *shares, float *restrict full, float *restrict partial) {
    for (int x = 0; x < count; x += SUMS / 2) {
        const int n = count - x < SUMS / 2 ? count - x : SUMS / 2;
        for (int y = 0; y < height; y++) {
            const uint16_t *p = (const uint16_t *)(rows + y * stride) + x;
            const float share = shares[y];
            for (int i = 0; i < n; i++) {
                full[x + i] += p[i] == 65535 ? share : 0.0f;
                partial[x + i] += (uint16_t)(p[i] - 1) < 65534 ? share : 0.0f;
            }
        }
    }
}
