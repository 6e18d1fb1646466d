/* The full-size stage: out = I + w (enhanced - I) in one pass over the pixels.
 *
 * Plain C, without intrinsics but for an estimate in root.h: every hot loop is written so that a
 * compiler vectorises it. The work is cut into bands of rows between two map rows, spans of columns,
 * and tiles of these, whose numbers stay in the first-level cache. */
#include "curve.h"
#include "export.h"
#include "fade.h"
#include "grid.h"
#include "job.h"
#include "pixels.h"
#include "saturate.h"
#include "table.h"
#include "tone.h"

/* The caller compares it with its own idea of the structure before it uses the library. */
EXPORT int maskupe_job_size(void) { return (int)sizeof(Job); }

/* sources.py's digest of these files, which the build passes: the caller compares it, too. */
EXPORT uint64_t maskupe_sources(void) { return MASKUPE_SOURCES; }

static int64_t scratch_size(const Job *job) {
    switch (job->kind) {
    case KIND_TONE: return (int64_t)sizeof(float) * TONE_SCRATCH;
    case KIND_CURVE: return (int64_t)sizeof(float) * CURVE_SCRATCH * job->count;
    case KIND_GAIN: return (int64_t)sizeof(float) * 4 * 3 * job->count;
    case KIND_AFFINE: return (int64_t)sizeof(float) * 4 * 12 * job->count;
    default: return 0;
    }
}

/* Bytes of scratch memory that a call of maskupe_render needs. */
EXPORT int64_t maskupe_scratch_size(const Job *job) { return scratch_size(job) + LINE; }

/* Whole vectors are fetched at once where they do not lie across two lines. */
static float *aligned(float *scratch) {
    return (float *)(((uintptr_t)scratch + LINE - 1) / LINE * LINE);
}

/* The end of the span that begins at column x. Grids need spans between two cell centres. */
static int span_end(const Job *job, int x) {
    const int most = job->kind == KIND_CURVE ? CURVE_SPAN : SPAN;
    const int limit = job->width - x > most ? x + most : job->width;
    if (job->kind != KIND_GAIN && job->kind != KIND_AFFINE) return limit;
    return job->column_end[x] < limit ? job->column_end[x] : limit;
}

/* Asks for memory that the next row of a tile will need: its rows lie too far apart for a
 * processor to guess. */
INLINE void prefetch(const void *from, size_t bytes) {
    for (size_t at = 0; at < bytes; at += 64) __builtin_prefetch((const uint8_t *)from + at, 0, 2);
}

/* Rows between the same two map rows, and what the map contributes to them in a span. */
typedef struct {
    int map_low, map_high;
    int x0, x1;
    int spread; /* whether `scratch` has the map's rows, spread */
    int ends_of; /* the row whose ends are in `ends`, or -1 */
    Ends ends;
    float *scratch;
} Band;

STAGE void spread_map(const Job *job, Band *band) {
    const int n = band->x1 - band->x0;
    if (job->kind == KIND_TONE)
        tone_band(job, band->map_low, band->map_high, band->x0, n, band->scratch);
    else if (job->kind == KIND_CURVE)
        curve_band(job, band->map_low, band->map_high, band->x0, n, band->scratch);
    band->spread = 1;
}

/* Puts what is to be enhanced in the place of the pixels' own colours. */
STAGE void take_clean(const Job *job, int y, int x, int n, Row *row) {
    const float *from = job->clean + 4 * ((int64_t)y * job->width + x);
    memcpy(row->own, row->unit, sizeof(float) * 3 * (size_t)n);
    for (int i = 0; i < n; i++) {
        for (int c = 0; c < 3; c++) row->unit[3 * i + c] = from[4 * i + c];
        row->lift[i] = from[4 * i + 3];
    }
}

/* Leaves of row->change the share that what is enhanced takes: `from_clean` takes all of it then. */
STAGE void lift_row(int n, Row *row) {
    for (int i = 0; i < n; i++) {
        for (int c = 3 * i; c < 3 * i + 3; c++) row->change[c] *= row->lift[i];
        row->lift[i] = 1.0f;
    }
}

/* Makes row->change the difference to the pixels' own colours. */
STAGE void from_clean(int n, Row *row) {
    for (int i = 0; i < n; i++)
        for (int c = 3 * i; c < 3 * i + 3; c++)
            row->change[c] = row->lift[i] * row->change[c] + row->unit[c] - row->own[c];
    memcpy(row->unit, row->own, sizeof(float) * 3 * (size_t)n);
}

/* n pixels of row y, from column x on. */
static void render_tile(const Job *job, int y, int x, int n, Band *band, Row *row) {
    const int size = DEPTH_BYTES[job->depth] * job->channels;
    const uint8_t *pixels = job->image + y * job->image_stride + (int64_t)x * size;
    uint8_t *to = job->out + y * job->out_stride + (int64_t)x * size;
    const uint16_t *coverage = (const uint16_t *)(job->coverage + y * job->coverage_stride) + x;
    coverage = visible_coverage(job, pixels, coverage, n, row);
    const int state = scan_coverage(coverage, n);
    if (state == WEIGHT_NONE) {
        keep_pixels(job, pixels, n, row, to);
        return;
    }
    if (!band->spread) spread_map(job, band);
    const float across = job->row_part ? job->row_part[y] : 0.0f;
    const float *spread = band->scratch + 3 * (x - band->x0);
    if (job->kind == KIND_TONE && job->channels == 3 && state == WEIGHT_FULL && !job->clean &&
        job->saturation == 0.0f) {
        if (job->depth == DEPTH_U8) tone_row_uint8_t(job, pixels, n, across, spread, row, to);
        else if (job->depth == DEPTH_U16)
            tone_row_uint16_t(job, (const uint16_t *)pixels, n, across, spread, row, to);
        else tone_row_float(job, (const float *)pixels, n, across, spread, row, to);
        return;
    }
    load_row(job, pixels, n, row);
    if (state == WEIGHT_SOME) fade_row(job, coverage, n, row);
    if (job->clean) take_clean(job, y, x, n, row);
    switch (job->kind) {
    case KIND_TONE: tone_row(job, pixels, n, across, spread, row); break;
    case KIND_CURVE: curve_row(job, n, across, spread, row); break;
    case KIND_GAIN:
        if (band->ends_of != y)
            band->ends = gain_ends(job, band->map_low, band->map_high, x, across, band->scratch);
        gain_row(job, &band->ends, x, n, row);
        break;
    case KIND_AFFINE:
        if (band->ends_of != y)
            band->ends = affine_ends(job, band->map_low, band->map_high, x, across, band->scratch);
        affine_row(job, &band->ends, x, n, row);
        break;
    default: table_row(job, n, row);
    }
    band->ends_of = y;
    if (job->saturation != 0.0f) {
        if (job->clean) lift_row(n, row);
        saturate_row(job, n, row);
    }
    if (job->clean) from_clean(n, row);
    if (state == WEIGHT_SOME && job->bound) bound_row(job, y, x, n, row);
    store_row(job, pixels, n, row, state == WEIGHT_FULL ? 0 : row->weight, to);
}

/* The rows first..last of a span. */
static void render_band(const Job *job, int first, int last, Band *band, Row *row) {
    const int size = DEPTH_BYTES[job->depth] * job->channels;
    const int x0 = band->x0;
    for (int y = first; y < last; y++) {
        const uint8_t *pixels = job->image + y * job->image_stride;
        const uint8_t *coverage = job->coverage + y * job->coverage_stride;
        for (int x = x0, n; x < band->x1; x += n) {
            n = band->x1 - x < TILE ? band->x1 - x : TILE;
            if (y + 1 < last) {
                prefetch(pixels + job->image_stride + (int64_t)x * size, (size_t)n * (size_t)size);
                prefetch(coverage + job->coverage_stride + 2 * (int64_t)x, 2 * (size_t)n);
            }
            render_tile(job, y, x, n, band, row);
        }
        end_row(row, job->out + y * job->out_stride + (int64_t)band->x1 * size);
    }
}

/* Renders the rows first..last. Calls may run at the same time on different rows; each needs its
 * own scratch memory. */
EXPORT void maskupe_render(const Job *job, int32_t first, int32_t last, float *scratch) {
    Row row;
    row.open = 0;
    scratch = aligned(scratch);
    for (int y = first, end; y < last; y = end) {
        end = y + 1;
        while (end < last && (!job->row_low || job->row_low[end] == job->row_low[y])) end++;
        for (int x0 = 0, x1; x0 < job->width; x0 = x1) {
            x1 = span_end(job, x0);
            Band band = {job->row_low ? job->row_low[y] : 0, job->row_high ? job->row_high[y] : 0,
                         x0, x1, 0, -1, {0}, scratch};
            render_band(job, y, end, &band, &row);
        }
    }
    /* Streamed stores are ordered before whatever tells others that the rows are done. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
