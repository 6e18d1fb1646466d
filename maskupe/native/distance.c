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

static void sweep(const uint8_t *restrict set, int64_t set_stride, uint16_t *restrict plane,
                  int64_t plane_stride, int width, int height, uint16_t none) {
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

/* Scratch memory of one row: parabola k stands at column apex[k], at the height of the square of
 * above[k], and is the lowest of all from start[k] on. */
typedef struct {
    int32_t *apex, *start, *above;
} Envelope;

static Envelope envelope_in(int32_t *scratch, int width) {
    return (Envelope){scratch, scratch + width, scratch + 2 * (int64_t)width};
}

/* Finds the lower envelope over the pixels first..last of one row, all outside of the set, of the
 * parabolas that stand on them and on their two neighbours. What lies left of `first` is not read.
 * Returns how many there are. */
static int find_envelope(const uint16_t *column, int first, int last, int width, int limit,
                         const Envelope *found) {
    int32_t *apex = found->apex, *start = found->start, *above = found->above;
    int count = 0;
    if (first > 0) {
        apex[0] = first - 1, start[0] = first, above[0] = 0;
        count = 1;
    }
    for (int x = first, end = last < width ? last + 1 : last; x < end; x++) {
        if (column[x] > limit) continue;
        const int64_t height = squared(column[x]);
        while (count && squared(start[count - 1] - apex[count - 1]) + squared(above[count - 1]) >
                            squared(start[count - 1] - x) + height)
            count--;
        int from = first;
        if (count) {
            const int before = apex[count - 1];
            const int64_t difference =
                squared(x) - squared(before) + height - squared(above[count - 1]);
            /* Exact: the quotient of whole numbers this small is never rounded across one. */
            const double begin = floor((double)difference / (double)(2 * (x - before))) + 1.0;
            if (begin >= (double)last) continue;
            from = begin > first ? (int)begin : first;
        }
        apex[count] = x, start[count] = from, above[count] = column[x];
        count++;
    }
    return count;
}

/* Pixels that are looked at together. */
#define LOOK 32

/* Where the run of pixels inside or outside of the set ends that begins at x. */
static int run_end(const uint16_t *column, int x, int width) {
    const int inside = column[x] == 0;
    int end = x + 1;
    for (; end + LOOK <= width; end += LOOK) {
        int others = 0;
        for (int i = 0; i < LOOK; i++) others |= (column[end + i] == 0) != inside;
        if (others) break;
    }
    while (end < width && (column[end] == 0) == inside) end++;
    return end;
}

/* The second pass over some rows: distances in pixels, infinite beyond the limit. `plane` points
 * to the first of them, `out` is contiguous, `scratch` holds three numbers a column. */
EXPORT void maskupe_row_distances(const uint16_t *plane, int64_t plane_stride, int32_t width,
                                  int32_t rows, int32_t limit, float *out, int32_t *scratch) {
    const int64_t most = squared(limit);
    const Envelope found = envelope_in(scratch, width);
    for (int y = 0; y < rows; y++, plane += plane_stride, out += width) {
        for (int x = 0, end; x < width; x = end) {
            end = run_end(plane, x, width);
            if (plane[x] == 0) {
                memset(out + x, 0, sizeof(float) * (size_t)(end - x));
                continue;
            }
            int k = find_envelope(plane, x, end, width, limit, &found);
            if (k == 0)
                for (int i = x; i < end; i++) out[i] = INFINITY;
            for (int to = end; k--; to = found.start[k]) {
                const int64_t height = squared(found.above[k]);
                for (int i = found.start[k]; i < to; i++) {
                    const int64_t distance = squared(i - found.apex[k]) + height;
                    out[i] = distance > most ? INFINITY : (float)distance;
                }
            }
            for (int i = x; i < end; i++) out[i] = sqrtf(out[i]);
        }
    }
}
