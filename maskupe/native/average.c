/* Weighted sums of rows, from which area averages are made: each pixel is read once. */
#include <stdint.h>
#include <string.h>

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
static void add_rows(const uint8_t *rows, int64_t stride, int depth, int count, int height,
                     const float *shares, float *sums) {
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
 * next. */
static void add_areas(const uint8_t *rows, int64_t stride, int count, int height,
                      const float *shares, float *restrict sums) {
    float *restrict full = sums, *restrict partial = sums + count;
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

/* Sums of the columns between each line and the next; line j lies in column `whole[j]`, `part[j]`
 * of it to the left. Columns lie `step` numbers apart, the sums `to_step`. */
static void add_columns(const float *sums, int step, int cells, const int32_t *whole,
                        const float *part, float scale, float *to, int to_step) {
    for (int j = 0; j < cells; j++) {
        float total = part[j + 1] * sums[(int64_t)whole[j + 1] * step] -
                      part[j] * sums[(int64_t)whole[j] * step];
        for (int x = whole[j]; x < whole[j + 1]; x++) total += sums[(int64_t)x * step];
        to[(int64_t)j * to_step] = scale * total;
    }
}

/* The averages of some rows of cells. Row j of them takes heights[j] rows of pixels from tops[j]
 * on, with the shares that come next. The pixels are of a depth (with that many channels) or, if
 * it is negative, a coverage (channels 2: full and partial). `lines` cells + 1 long. `sums` has
 * room for width * channels. to: (rows, cells, channels). */
EXPORT void maskupe_average(const uint8_t *pixels, int64_t stride, int32_t depth,
                            int32_t channels, int32_t width, int32_t rows, const int32_t *tops,
                            const int32_t *heights, const float *shares, int32_t cells,
                            const int32_t *whole, const float *part, float scale, float *sums,
                            float *to) {
    for (int j = 0; j < rows; j++, to += (int64_t)cells * channels) {
        const uint8_t *first = pixels + tops[j] * stride;
        memset(sums, 0, sizeof(float) * (size_t)width * (size_t)channels);
        if (depth < 0) add_areas(first, stride, width, heights[j], shares, sums);
        else add_rows(first, stride, depth, width * channels, heights[j], shares, sums);
        shares += heights[j];
        const int step = depth < 0 ? 1 : channels;
        for (int c = 0; c < channels; c++)
            add_columns(depth < 0 ? sums + (int64_t)c * width : sums + c, step, cells, whole, part,
                        scale, to + c, channels);
    }
}
