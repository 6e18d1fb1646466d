/* Euclidean distances to a set of pixels, exact, in two passes (Meijster, Roerdink & Hesselink,
 * "A general algorithm for computing distance transforms in linear time", 2000).
 *
 * The first pass leaves in a plane of 16 bits how far each pixel lies from the set within its
 * column; the second makes distances of one row from that. Both stop at a limit, since a band
 * needs no distances beyond its width: what lies further costs next to nothing. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "export.h"

/* Columns that are swept together: their state stays in the first-level cache. */
#define SWEEP 4096

static void sweep(const uint8_t *set, int64_t set_stride, uint16_t *plane, int64_t plane_stride,
                  int width, int height, uint16_t none) {
    uint16_t last[SWEEP];
    for (int x = 0; x < width; x++) last[x] = none;
    for (int y = 0; y < height; y++, set += set_stride, plane += plane_stride) {
        for (int x = 0; x < width; x++) {
            uint16_t next = last[x] < none ? (uint16_t)(last[x] + 1) : none;
            last[x] = set[x] ? 0 : next;
            plane[x] = last[x];
        }
    }
    for (int x = 0; x < width; x++) last[x] = none;
    for (int y = height - 1; y >= 0; y--) {
        plane -= plane_stride;
        for (int x = 0; x < width; x++) {
            uint16_t next = last[x] < none ? (uint16_t)(last[x] + 1) : none;
            last[x] = plane[x] < next ? plane[x] : next;
            plane[x] = last[x];
        }
    }
}

/* The first pass over the columns first..last. Strides are in elements. `limit` is at most 65534;
 * the plane gets limit + 1 where a column has no pixel of the set within it. */
EXPORT void maskupe_column_distances(const uint8_t *set, int64_t set_stride, uint16_t *plane,
                                     int64_t plane_stride, int32_t height, int32_t first,
                                     int32_t last, int32_t limit) {
    for (int x = first; x < last; x += SWEEP) {
        int width = last - x < SWEEP ? last - x : SWEEP;
        sweep(set + x, set_stride, plane + x, plane_stride, width, height, (uint16_t)(limit + 1));
    }
}

static int64_t squared(int64_t x) { return x * x; }

/* The squared distances of the pixels first..last of one row, all outside of the set: the lower
 * envelope of the parabolas that stand on the run and on its two neighbours. */
static void run_distances(const uint16_t *column, int first, int last, int width, int limit,
                          float *out, int32_t *apex, int32_t *start) {
    int count = 0;
    const int end = last < width ? last + 1 : last;
    for (int x = first > 0 ? first - 1 : 0; x < end; x++) {
        if (column[x] > limit) continue;
        const int64_t height = squared(column[x]);
        while (count && squared(start[count - 1] - apex[count - 1]) +
                                squared(column[apex[count - 1]]) >
                            squared(start[count - 1] - x) + height)
            count--;
        if (count == 0) {
            apex[0] = x;
            start[0] = first;
            count = 1;
            continue;
        }
        const int before = apex[count - 1];
        const int64_t above = squared(x) - squared(before) + height - squared(column[before]);
        /* Exact: the quotient of whole numbers this small is never rounded across one. */
        const double from = floor((double)above / (double)(2 * (x - before))) + 1.0;
        if (from < (double)last) {
            apex[count] = x;
            start[count] = from > first ? (int32_t)from : first;
            count++;
        }
    }
    if (count == 0) {
        for (int x = first; x < last; x++) out[x] = INFINITY;
        return;
    }
    const int64_t most = squared(limit);
    for (int k = count - 1, to = last; k >= 0; to = start[k], k--) {
        const int64_t height = squared(column[apex[k]]);
        for (int x = start[k]; x < to; x++) {
            const int64_t distance = squared(x - apex[k]) + height;
            out[x] = distance > most ? INFINITY : (float)distance;
        }
    }
    for (int x = first; x < last; x++) out[x] = sqrtf(out[x]);
}

/* The second pass over some rows: distances in pixels, infinite beyond the limit. `plane` points
 * to the first of them, `out` is contiguous, `scratch` holds two numbers a column. */
EXPORT void maskupe_row_distances(const uint16_t *plane, int64_t plane_stride, int32_t width,
                                  int32_t rows, int32_t limit, float *out, int32_t *scratch) {
    for (int y = 0; y < rows; y++, plane += plane_stride, out += width) {
        for (int x = 0; x < width;) {
            int end = x;
            if (plane[x] == 0) {
                while (end < width && plane[end] == 0) end++;
                memset(out + x, 0, sizeof(float) * (size_t)(end - x));
            } else {
                while (end < width && plane[end] != 0) end++;
                run_distances(plane, x, end, width, limit, out, scratch, scratch + width);
            }
            x = end;
        }
    }
}
