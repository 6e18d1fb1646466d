/* GainGrid, on r, g, b as they lie in memory: only the luma is brought together, and the hinges of
 * its axis are spread again over the three. See grid.h for the idea and the map. */
#ifndef MASKUPE_GAIN_H
#define MASKUPE_GAIN_H

#include "grid.h"
#include "root.h"
#include "smooth.h"

/* Each lane of a vector three times, over three vectors; and the other way round, all r, g or b of
 * three vectors, two of them first. */
#if LANES == 16
#define EXPAND0(v) __builtin_shufflevector(v, v, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5)
#define EXPAND1(v) __builtin_shufflevector(v, v, 5, 5, 6, 6, 6, 7, 7, 7, 8, 8, 8, 9, 9, 9, 10, 10)
#define EXPAND2(v)                                                                              \
    __builtin_shufflevector(v, v, 10, 11, 11, 11, 12, 12, 12, 13, 13, 13, 14, 14, 14, 15, 15, 15)
#define TWO_R(a, b)                                                                             \
    __builtin_shufflevector(a, b, 0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, -1, -1, -1, -1, -1)
#define THIRD_R(a, b)                                                                           \
    __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 17, 20, 23, 26, 29)
#define TWO_G(a, b)                                                                             \
    __builtin_shufflevector(a, b, 1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, -1, -1, -1, -1, -1)
#define THIRD_G(a, b)                                                                           \
    __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 18, 21, 24, 27, 30)
#define TWO_B(a, b)                                                                             \
    __builtin_shufflevector(a, b, 2, 5, 8, 11, 14, 17, 20, 23, 26, 29, -1, -1, -1, -1, -1, -1)
#define THIRD_B(a, b)                                                                           \
    __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 19, 22, 25, 28, 31)
#else
#define EXPAND0(v) __builtin_shufflevector(v, v, 0, 0, 0, 1, 1, 1, 2, 2)
#define EXPAND1(v) __builtin_shufflevector(v, v, 2, 3, 3, 3, 4, 4, 4, 5)
#define EXPAND2(v) __builtin_shufflevector(v, v, 5, 5, 6, 6, 6, 7, 7, 7)
#define TWO_R(a, b) __builtin_shufflevector(a, b, 0, 3, 6, 9, 12, 15, -1, -1)
#define THIRD_R(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 10, 13)
#define TWO_G(a, b) __builtin_shufflevector(a, b, 1, 4, 7, 10, 13, -1, -1, -1)
#define THIRD_G(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 8, 11, 14)
#define TWO_B(a, b) __builtin_shufflevector(a, b, 2, 5, 8, 11, 14, -1, -1, -1)
#define THIRD_B(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 9, 12, 15)
#endif

/* Luma of LANES pixels. Read in whole vectors, as they have just been written. */
INLINE Vector luma_at(const float *p) {
    const Vector a = load_vector(p), b = load_vector(p + LANES), c = load_vector(p + 2 * LANES);
    const Vector red_ab = TWO_R(a, b), green_ab = TWO_G(a, b), blue_ab = TWO_B(a, b);
    return LUMA_R * THIRD_R(red_ab, c) + LUMA_G * THIRD_G(green_ab, c) +
           LUMA_B * THIRD_B(blue_ab, c);
}

/* Places z on the luma axis of n pixels, in whole blocks; what is beyond n is like the last. */
STAGE void gain_places(const float *unit, int n, float bins, float *restrict z) {
    for (int i = 0; i < n; i += LANES) {
        const Vector place = root(luma_at(unit + 3 * i), bins) - 0.5f;
        store_vector(z + i, lowest(highest(place, (Vector){0}), (Vector){0} + (bins - 1.0f)));
    }
    for (int i = n; i % BLOCK; i++) z[i] = z[n - 1];
}

/* What a bin contributes along one row of a span: its value and the change of that over the span,
 * then the same for the step from the bin before; each is r, g, b, r, g, b, ... so that vectors
 * read from the first, second or third number on fit each third of LANES pixels. */
#define REPEATS (2 * LANES)
enum { VALUE, CHANGE, STEP, STEP_CHANGE, TERMS };
/* Those, then Ends; quads of the latter are read, hence one more. */
#define GAIN_SCRATCH(bins) (TERMS * (REPEATS + 3) * (bins) + 1)

STAGE float *gain_ends(const Job *job, int map_low, int map_high, int x0, float across,
                       float *scratch) {
    const int bins = job->count;
    float *terms = scratch;
    const Ends ends = grid_ends(3, job, map_low, map_high, x0, across,
                                terms + TERMS * REPEATS * bins);
    const float *const from[TERMS] = {ends.value, ends.value_change, ends.step, ends.step_change};
    for (int bin = 0; bin < bins; bin++)
        for (int term = 0; term < TERMS; term++, scratch += REPEATS) {
            Quad quad;
            memcpy(&quad, from[term] + 3 * bin, sizeof quad);
            const Vector repeated = REPEAT0(quad);
            store_vector(scratch + (LANES - 1) / 3 * 3, repeated);
            store_vector(scratch, repeated);
        }
    return terms;
}

INLINE Vector term_of(const float *terms, int bin, int term, int third) {
    return load_vector(terms + (TERMS * bin + term) * REPEATS + third * LANES % 3);
}

/* S within its bounds: 1, I, and the floor. */
INLINE Vector bounded(Vector s, Vector own) {
    return highest(highest(lowest(s, (Vector){0} + 1.0f), own), (Vector){0} + FLOOR);
}

/* How S changes pixels: to the power of the strength; then, where `whole`, as they are stored. */
typedef struct {
    float strength;
    int whole, depth;
    const float *raw;
    void *made;
} Way;

/* Applies S to LANES values, `at` their place in the tile. */
INLINE void apply_gain(Vector s, Way way, int at, const float *unit, float *change) {
    const Vector own = load_vector(unit + at);
    s = bounded(s, own);
    if (way.strength != 1.0f)
        for (int i = 0; i < LANES; i++) s[i] = power(s[i], way.strength);
    const Vector value = own * inverse(s);
    if (!way.whole) store_vector(change + at, value - own);
    else if (way.depth == DEPTH_U8) {
        const Byte bytes = STORED_uint8_t(0, 0, value);
        memcpy((uint8_t *)way.made + at, &bytes, sizeof bytes);
    } else if (way.depth == DEPTH_U16) {
        const Short shorts = STORED_uint16_t(0, 0, value);
        memcpy((uint16_t *)way.made + at, &shorts, sizeof shorts);
    } else
        store_vector((float *)way.made + at, STORED_float(load_vector(way.raw + at), own, value));
}

/* The p-th third of a vector each of whose lanes is repeated three times. */
INLINE Vector expand(Vector v, int p) {
    return p == 0 ? EXPAND0(v) : p == 1 ? EXPAND1(v) : EXPAND2(v);
}

/* Adds bins `bin + 1` to `bin + hinges`, or first `bin` itself, to the S of one block. */
INLINE void add_gains(int hinges, int with_base, int bin, const float *terms, const float *z,
                      const float *part3, Vector sum[3][VECTORS]) {
    Vector hinge[2][VECTORS];
    for (int k = 0; k < hinges; k++)
        for (int v = 0; v < VECTORS; v++) {
            const Vector h = load_vector(z + LANES * v) - (float)(bin + k);
            hinge[k][v] = lowest(highest(h, (Vector){0}), (Vector){0} + 1.0f);
        }
    for (int p = 0; p < 3; p++)
        for (int v = 0; v < VECTORS; v++) {
            const Vector f = load_vector(part3 + LANES * (3 * v + p));
            Vector total = with_base ? f * term_of(terms, bin, CHANGE, p) +
                                           term_of(terms, bin, VALUE, p)
                                     : sum[p][v];
            for (int k = 0; k < hinges; k++)
                total += expand(hinge[k][v], p) * (f * term_of(terms, bin + k + 1, STEP_CHANGE, p) +
                                                   term_of(terms, bin + k + 1, STEP, p));
            sum[p][v] = total;
        }
}

/* All blocks of a tile. Nearly all of them need one or two hinges: the same code
 * for both is faster than a guess. */
INLINE void gain_blocks(const Job *job, const float *terms, const float *z, int n,
                        const float *part3, Way way, const float *unit, float *change) {
    int first[TILE / BLOCK], hinges[TILE / BLOCK];
    find_bins(job, z, n, first, hinges);
    for (int at = 0; at < n; at += BLOCK, part3 += 3 * BLOCK) {
        Vector sum[3][VECTORS];
        int bin = first[at / BLOCK];
        if (hinges[at / BLOCK] <= 2 && job->count > 2) {
            if (bin > job->count - 3) bin = job->count - 3;
            add_gains(2, 1, bin, terms, z + at, part3, sum);
        } else {
            add_gains(0, 1, bin, terms, z + at, part3, sum);
            for (int k = 0; k < hinges[at / BLOCK]; k++)
                add_gains(1, 0, bin + k, terms, z + at, part3, sum);
        }
        for (int v = 0; v < VECTORS; v++)
            for (int p = 0; p < 3; p++)
                apply_gain(sum[p][v], way, 3 * (at + LANES * v) + LANES * p, unit, change);
    }
}

/* One row of one tile, at column x0: fills row->change; or, where `whole`, `made(row)`. */
STAGE void gain_row(const Job *job, const float *terms, int x0, int n, int whole, Row *row) {
    _Alignas(64) float z[TILE];
    const float *part3 = job->column_part3 + 3 * x0;
    gain_places(row->unit, n, (float)job->count, z);
    if (whole && job->depth == DEPTH_F32 && n % BLOCK) /* whole blocks must not read beyond the row */
        row->raw = memcpy(row->colours, row->raw, sizeof(float) * 3 * (size_t)n);
#define GAIN_BLOCKS(t, whole, depth)                                                            \
    gain_blocks(job, terms, z, n, part3, (Way){t, whole, depth, row->raw, made(row)}, row->unit,  \
                row->change)
    if (job->strength != 1.0f) GAIN_BLOCKS(job->strength, 0, 0);
    else if (!whole) GAIN_BLOCKS(1.0f, 0, 0);
    else if (job->depth == DEPTH_U8) GAIN_BLOCKS(1.0f, 1, DEPTH_U8);
    else if (job->depth == DEPTH_U16) GAIN_BLOCKS(1.0f, 1, DEPTH_U16);
    else GAIN_BLOCKS(1.0f, 1, DEPTH_F32);
#undef GAIN_BLOCKS
}

#endif
