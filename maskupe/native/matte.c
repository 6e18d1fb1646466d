/* A matte at full size: what maskupe/matting/matte.py says, for each pixel between the cells of its maps.
 *
 * Most of a picture lies between cells that agree; what is true of those is known beforehand, and
 * only the rest is computed. */
#include <math.h>

#include "export.h"
#include "job.h"

static const int BYTES[3] = {1, 2, 4};

enum { MATTE_KEEP, MATTE_NOTHING, MATTE_ALL, MATTE_MIXED };
enum { MAP_R, MAP_G, MAP_B, MAP_OFFSET, MAP_EXACT, MAP_FOLLOW, MAP_OPEN, MAPS };

typedef struct {
    const uint8_t *image;
    uint8_t *coverage;                       /* rows of uint16: the fade by distance, overwritten */
    const uint8_t *selection;                /* NULL where `exact` is 0 everywhere */
    int64_t image_stride, coverage_stride, selection_stride;
    const int32_t *row_low, *row_high;
    const float *row_part;
    const int32_t *column_low, *column_high, *column_end;
    const float *column_part;                /* padded */
    const float *maps;                       /* (MAPS, map rows, map columns) */
    const uint8_t *state;                    /* (map rows, map columns) */
    const float *fade;                       /* weight by distance, of each coverage, 65536 */
    int32_t width, channels, depth, selection_depth;
    int32_t map_rows, map_columns;
    float selection_scale;
} MatteJob;

/* The caller compares it with its own idea of the structure before it uses the library. */
EXPORT int maskupe_matte_size(void) { return (int)sizeof(MatteJob); }

#define GUIDE(type, unit)                                                                       \
    static void guide_##type(const type *p, int channels, int n, float *restrict to) {          \
        const int step = channels, g = channels >= 3, b = 2 * g;                                \
        for (int i = 0; i < n; i++) {                                                           \
            to[i] = sqrtf(clamp01((float)p[step * i] * (unit)));                                \
            to[TILE + i] = sqrtf(clamp01((float)p[step * i + g] * (unit)));                     \
            to[2 * TILE + i] = sqrtf(clamp01((float)p[step * i + b] * (unit)));                 \
        }                                                                                       \
    }
GUIDE(uint8_t, 1.0f / 255.0f)
GUIDE(uint16_t, 1.0f / 65535.0f)
GUIDE(float, 1.0f)

#define SELECTED(type)                                                                          \
    static void selected_##type(const type *p, int n, float scale, float *restrict to) {        \
        for (int i = 0; i < n; i++) to[i] = clamp01((float)p[i] * scale);                       \
    }
SELECTED(uint8_t)
SELECTED(uint16_t)
SELECTED(float)

static void read_selection(const MatteJob *job, int y, int x, int n, float *to) {
    const uint8_t *row = job->selection + y * job->selection_stride;
    if (job->selection_depth == DEPTH_U8) selected_uint8_t(row + x, n, job->selection_scale, to);
    else if (job->selection_depth == DEPTH_U16)
        selected_uint16_t((const uint16_t *)row + x, n, job->selection_scale, to);
    else selected_float((const float *)row + x, n, job->selection_scale, to);
}

/* What is within half a level of 8 bits of 0 or 1 is that. */
INLINE uint16_t to_coverage(float weight) {
    int steps = (int)(at_most(at_least(weight, 0.0f), 1.0f) * 65535.0f + 0.5f);
    steps = steps < 65535 / 510 ? 0 : steps;
    return (uint16_t)(steps > 65535 - 65535 / 510 ? 65535 : steps);
}

/* n pixels of row y from column x on, all between the same four cells. */
STAGE void mixed(const MatteJob *job, int y, int x, int n, uint16_t *restrict coverage) {
    const int64_t plane = (int64_t)job->map_rows * job->map_columns;
    const float *low = job->maps + (int64_t)job->row_low[y] * job->map_columns;
    const float *high = job->maps + (int64_t)job->row_high[y] * job->map_columns;
    const int left = job->column_low[x], right = job->column_high[x];
    const float down = job->row_part[y];
    float at[MAPS], slope[MAPS];
    for (int k = 0; k < MAPS; k++, low += plane, high += plane) {
        at[k] = low[left] + down * (high[left] - low[left]);
        slope[k] = low[right] + down * (high[right] - low[right]) - at[k];
    }
    _Alignas(64) float guide[3 * TILE], selection[TILE];
    const uint8_t *pixels =
        job->image + y * job->image_stride + (int64_t)x * job->channels * BYTES[job->depth];
    if (job->depth == DEPTH_U8) guide_uint8_t(pixels, job->channels, n, guide);
    else if (job->depth == DEPTH_U16)
        guide_uint16_t((const uint16_t *)pixels, job->channels, n, guide);
    else guide_float((const float *)pixels, job->channels, n, guide);
    if (job->selection) read_selection(job, y, x, n, selection);
    else memset(selection, 0, sizeof selection);
    const float *part = job->column_part + x;
    for (int i = 0; i < n; i++) {
        const float t = part[i];
        float own = at[MAP_OFFSET] + t * slope[MAP_OFFSET];
        own += (at[MAP_R] + t * slope[MAP_R]) * guide[i];
        own += (at[MAP_G] + t * slope[MAP_G]) * guide[TILE + i];
        own += (at[MAP_B] + t * slope[MAP_B]) * guide[2 * TILE + i];
        own = clamp01(own);
        own += (at[MAP_EXACT] + t * slope[MAP_EXACT]) * (selection[i] - own);
        const float fade = job->fade[coverage[i]];
        const float weight = own * (at[MAP_FOLLOW] + t * slope[MAP_FOLLOW] +
                                    (at[MAP_OPEN] + t * slope[MAP_OPEN]) * fade);
        coverage[i] = to_coverage(weight);
    }
}

/* Rewrites the coverage of the rows first..last. */
EXPORT void maskupe_apply_matte(const MatteJob *job, int32_t first, int32_t last) {
    for (int y = first; y < last; y++) {
        uint16_t *coverage = (uint16_t *)(job->coverage + y * job->coverage_stride);
        const uint8_t *state = job->state + (int64_t)job->row_low[y] * job->map_columns;
        for (int x = 0, end; x < job->width; x = end) {
            const int kind = state[job->column_low[x]];
            end = job->column_end[x];
            if (kind == MATTE_KEEP) {
                for (int i = x; i < end; i++) coverage[i] = to_coverage(job->fade[coverage[i]]);
            } else if (kind == MATTE_MIXED) {
                if (end - x > TILE) end = x + TILE;
                mixed(job, y, x, end - x, coverage + x);
            } else {
                const uint16_t all = kind == MATTE_ALL ? 65535 : 0;
                for (int i = x; i < end; i++) coverage[i] = all;
            }
        }
    }
}
