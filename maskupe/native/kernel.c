/* The full-size stage: out = I + w (enhanced - I) in one pass over the pixels.
 *
 * Plain C, no intrinsics: every hot loop is written so that a compiler vectorises it. The work is
 * cut into bands of rows between two map rows and tiles of columns, so that everything that the
 * map contributes to a tile stays in the first-level cache. */
#include "curve.h"
#include "export.h"
#include "fade.h"
#include "grid.h"
#include "job.h"
#include "pixels.h"
#include "table.h"
#include "tone.h"

/* The caller compares it with its own idea of the structure before it uses the library. */
EXPORT int maskupe_job_size(void) { return (int)sizeof(Job); }

/* Bytes of scratch memory that a call of maskupe_render needs. */
EXPORT int64_t maskupe_scratch_size(const Job *job) {
    switch (job->kind) {
    case KIND_TONE: return (int64_t)sizeof(float) * TONE_SCRATCH;
    case KIND_CURVE: return (int64_t)sizeof(float) * 2 * COLOURS * job->count;
    case KIND_GAIN: return (int64_t)sizeof(float) * 4 * 3 * job->count;
    case KIND_AFFINE: return (int64_t)sizeof(float) * 4 * 12 * job->count;
    default: return 0;
    }
}

/* The end of the tile that begins at column x. Grids need tiles between two cell centres. */
static int tile_end(const Job *job, int x) {
    int limit = job->width - x > TILE ? x + TILE : job->width;
    if (job->kind != KIND_GAIN && job->kind != KIND_AFFINE) return limit;
    int cell = job->column_low[x], end = x + 1;
    while (end < limit && job->column_low[end] == cell) end++;
    return end;
}

/* Asks for memory that the next row of the tile will need: its rows lie too far apart for a
 * processor to guess. */
INLINE void prefetch(const void *from, size_t bytes) {
    for (size_t at = 0; at < bytes; at += 64) __builtin_prefetch((const uint8_t *)from + at, 0, 3);
}

/* The rows first..last, which lie between the same two map rows, of the columns x0..x0 + n. */
static void render_tile(const Job *job, int first, int last, int x0, int n, float *scratch,
                        Row *row) {
    const int size = DEPTH_BYTES[job->depth] * job->channels;
    const int map_low = job->row_low ? job->row_low[first] : 0;
    const int map_high = job->row_high ? job->row_high[first] : 0;
    int ready = 0;
    for (int y = first; y < last; y++) {
        const uint8_t *pixels = job->image + y * job->image_stride + (int64_t)x0 * size;
        uint8_t *to = job->out + y * job->out_stride + (int64_t)x0 * size;
        const uint16_t *coverage =
            (const uint16_t *)(job->coverage + y * job->coverage_stride) + x0;
        if (y + 1 < last) {
            prefetch(pixels + job->image_stride, (size_t)n * (size_t)size);
            prefetch((const uint8_t *)coverage + job->coverage_stride, 2 * (size_t)n);
        }
        coverage = visible_coverage(job, pixels, coverage, n, row);
        const int state = scan_coverage(coverage, n);
        if (state == WEIGHT_NONE) {
            if (to != pixels) memcpy(to, pixels, (size_t)n * (size_t)size);
            continue;
        }
        if (!ready && job->kind == KIND_TONE) tone_tile(job, map_low, map_high, x0, n, scratch);
        if (!ready && job->kind == KIND_CURVE) curve_tile(job, map_low, map_high, x0, n, scratch);
        ready = 1;
        const float across = job->row_part ? job->row_part[y] : 0.0f;
        if (job->kind == KIND_TONE && job->depth == DEPTH_U8 && job->channels == 3 &&
            state == WEIGHT_FULL) {
            tone_row8(job, pixels, n, across, scratch, row, to);
            continue;
        }
        load_row(job, pixels, n, row);
        if (state == WEIGHT_SOME) fade_row(job, coverage, n, row);
        switch (job->kind) {
        case KIND_TONE: tone_row(job, pixels, n, across, scratch, row); break;
        case KIND_CURVE: curve_row(job, n, across, scratch, row); break;
        case KIND_GAIN:
            gain_row(job, map_low, map_high, x0, n, across, scratch, row);
            break;
        case KIND_AFFINE:
            affine_row(job, map_low, map_high, x0, n, across,
                       job->a ? job->a + y * job->a_stride + x0 : 0,
                       job->b ? job->b + y * job->b_stride + x0 : 0, scratch, row);
            break;
        default: table_row(job, n, row);
        }
        store_row(job, pixels, n, row, state == WEIGHT_FULL ? 0 : row->weight, to);
    }
}

/* Renders the rows first..last. Calls may run at the same time on different rows; each needs its
 * own scratch memory. */
EXPORT void maskupe_render(const Job *job, int32_t first, int32_t last, float *scratch) {
    Row row;
    for (int y = first; y < last;) {
        int band = y + 1;
        while (band < last && (!job->row_low || job->row_low[band] == job->row_low[y])) band++;
        for (int x = 0; x < job->width;) {
            int end = tile_end(job, x);
            render_tile(job, y, band, x, end - x, scratch, &row);
            x = end;
        }
        y = band;
    }
    /* Streamed stores are ordered before whatever tells others that the rows are done. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
