/* ToneCurves, the strength already in table and map. map: (3, map rows, map columns)
 * residual.
 * table: for 8 bits (3, 256), the colour and TONE_OFFSET times its gain; otherwise (3, count, 2),
 * the gain at each entry and the step to the next. */
#ifndef MASKUPE_TONE_H
#define MASKUPE_TONE_H

#include "pixels.h"
#include "root.h"
#include "smooth.h"

/* base and step of the residual over the span, r, g, b interleaved. */
#define TONE_SCRATCH (2 * SPAN_COLOURS)
/* maskupe.maps.TONE_OFFSET */
#define TONE_OFFSET (1.0f / 512.0f)

/* One row of one tile: the residual's base and step, how far to go with the latter, and the tables. */
typedef struct {
    const float *base, *step;
    float across;
    const float *table;
    int count;
} Tone;

/* `scratch` is what tone_band made, from the tile's first value on. */
INLINE Tone tone_of(const Job *job, const float *scratch, float across) {
    return (Tone){scratch, scratch + SPAN_COLOURS, across, job->table, job->count};
}

STAGE void tone_band(const Job *job, int map_low, int map_high, int x0, int n, float *scratch) {
    spread_band(job, job->map, map_low, map_high, x0, n, 1.0f, scratch, scratch + SPAN_COLOURS);
}

/* (I + o) * G of 8-bit pixels but for the residual: one look-up per value. */
STAGE void tone_look_up8(const Job *job, const uint8_t *p, int n, float *restrict to) {
    const float *red = job->table, *green = red + 256, *blue = green + 256;
    const int step = job->channels, colour = step >= 3;
#pragma clang loop vectorize(disable) unroll_count(2)
    for (int i = 0; i < n; i++) {
        to[3 * i] = red[p[step * i]];
        to[3 * i + 1] = green[p[step * i + colour]];
        to[3 * i + 2] = blue[p[step * i + 2 * colour]];
    }
}

/* Pairs lie such that two vectors of them become their first and their second numbers by one
 * shuffle each, which on x86 works within quarters: the place of value v of a vector. */
#define SLOT(v) (((v) & 2 ? LANES / 2 : 0) + ((v) >> 2) * 2 + ((v) & 1))
#if LANES == 16
#define FIRST(a, b)                                                                             \
    __builtin_shufflevector(a, b, 0, 2, 16, 18, 4, 6, 20, 22, 8, 10, 24, 26, 12, 14, 28, 30)
#define SECOND(a, b)                                                                            \
    __builtin_shufflevector(a, b, 1, 3, 17, 19, 5, 7, 21, 23, 9, 11, 25, 27, 13, 15, 29, 31)
#else
#define FIRST(a, b) __builtin_shufflevector(a, b, 0, 2, 8, 10, 4, 6, 12, 14)
#define SECOND(a, b) __builtin_shufflevector(a, b, 1, 3, 9, 11, 5, 7, 13, 15)
#endif

/* Of LANES values 0..1 the table entry before each and the step to the next, as pairs in the order
 * of SLOT, and the part of that step to go. */
typedef struct {
    Vector pairs[2], part;
} Entries;

/* Where the pairs begin. The values are the g-th third of LANES pixels. */
INLINE Whole tone_place(Vector unit, Tone tone, int g, Vector *part) {
    const Vector place = root(unit, (float)(tone.count - 1));
    const Whole k = __builtin_convertvector(place, Whole);
    const WholeQuad starts = {0, 2 * tone.count, 4 * tone.count, 0};
    const Whole start = g == 0 ? REPEAT0(starts) : g == 1 ? REPEAT1(starts) : REPEAT2(starts);
    *part = place - __builtin_convertvector(k, Vector);
    return start + k + k;
}

/* Processors without AVX-512 fetch the pairs of a whole tile one by one, before anything is done
 * with them: a vector cannot be read at once from what was just written in pieces. */
typedef struct {
    _Alignas(64) int32_t low[COLOURS];
    _Alignas(64) float part[COLOURS], pairs[2 * COLOURS];
} Fetched;

#if defined(__AVX512F__)
#define FETCHES 0
INLINE Entries tone_entries(Vector unit, Tone tone, int g, Fetched *fetched, int at) {
    (void)fetched, (void)at;
    Entries found;
    const Whole low = tone_place(unit, tone, g, &found.part);
    const Whole slots =
        __builtin_shufflevector(low, low, 0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    const __m256i first = _mm512_castsi512_si256((__m512i)slots);
    const __m256i second = _mm512_extracti64x4_epi64((__m512i)slots, 1);
    found.pairs[0] = (Vector)_mm512_i32gather_pd(first, tone.table, 4);
    found.pairs[1] = (Vector)_mm512_i32gather_pd(second, tone.table, 4);
    return found;
}
#else
#define FETCHES 1
INLINE Entries tone_entries(Vector unit, Tone tone, int g, Fetched *fetched, int at) {
    (void)unit, (void)tone, (void)g;
    const float *pairs = fetched->pairs + 2 * at;
    return (Entries){{load_vector(pairs), load_vector(pairs + LANES)},
                     load_vector(fetched->part + at)};
}
#endif

INLINE void tone_find(Vector unit, Tone tone, int g, Fetched *fetched, int at) {
    Vector part;
    const Whole low = tone_place(unit, tone, g, &part);
    memcpy(fetched->low + at, &low, sizeof low);
    store_vector(fetched->part + at, part);
}

INLINE void tone_fetch(Tone tone, int end, Fetched *fetched) {
#pragma clang loop vectorize(disable)
    for (int i = 0; i < end; i += LANES)
#pragma clang loop vectorize(disable) unroll(full)
        for (int v = 0; v < LANES; v++)
            memcpy(fetched->pairs + 2 * (i + SLOT(v)), tone.table + fetched->low[i + v], 8);
}

/* max(I, clip((I + o) G - o, 0, 1)) of what was looked up. */
INLINE Vector tone_value(Vector unit, Entries found, Tone tone, int at) {
    const Vector gain = FIRST(found.pairs[0], found.pairs[1]) +
                        found.part * SECOND(found.pairs[0], found.pairs[1]);
    const Vector residual = load_vector(tone.base + at) + tone.across * load_vector(tone.step + at);
    const Vector lifted = gain * (unit + TONE_OFFSET) * residual - TONE_OFFSET;
    return lowest(highest(lifted, unit), (Vector){0} + 1.0f);
}

/* LANES pixels. All look-ups are begun before the first is waited for. */
INLINE void tone_lift(const Vector unit[3], Tone tone, Fetched *fetched, int at,
                      Vector lifted[3]) {
    Entries found[3];
    for (int g = 0; g < 3; g++)
        found[g] = tone_entries(unit[g], tone, g, fetched, at + g * LANES);
    for (int g = 0; g < 3; g++) lifted[g] = tone_value(unit[g], found[g], tone, at + g * LANES);
}

/* Fills row->change. */
STAGE void tone_row(const Job *job, const void *pixels, int n, float across, const float *scratch,
                    Row *row) {
    const Tone tone = tone_of(job, scratch, across);
    const float *unit = row->unit;
    float *restrict value = row->change;
    const int end = 3 * round_up(n);
    if (job->depth == DEPTH_U8) {
        tone_look_up8(job, pixels, n, value);
        for (int i = 3 * n; i < end; i++) value[i] = 0.0f;
        for (int i = 0; i < end; i++)
            value[i] = at_least(clamp01(value[i] * (tone.base[i] + tone.across * tone.step[i]) -
                                        TONE_OFFSET) - unit[i], 0.0f);
        return;
    }
    Fetched fetched;
    if (FETCHES) {
        for (int i = 0; i < end; i += 3 * LANES)
            for (int g = 0; g < 3; g++)
                tone_find(load_vector(unit + i + g * LANES), tone, g, &fetched, i + g * LANES);
        tone_fetch(tone, end, &fetched);
    }
    for (int i = 0; i < end; i += 3 * LANES) {
        Vector own[3], lifted[3];
        for (int g = 0; g < 3; g++) own[g] = load_vector(unit + i + g * LANES);
        tone_lift(own, tone, &fetched, i, lifted);
        for (int g = 0; g < 3; g++) store_vector(value + i + g * LANES, lifted[g] - own[g]);
    }
}

/* The usual case in one step: RGB of 16 bits or floats at full weight. */
#define TONE_ROW(type, Pixels)                                                                  \
    STAGE void tone_row_##type(const Job *job, const type *pixels, int n, float across,         \
                               const float *scratch, Row *row, void *out) {                     \
        const Tone tone = tone_of(job, scratch, across);                                        \
        const int end = 3 * round_up(n);                                                        \
        const type *from = pixels;                                                              \
        type *to = made(row);                                                                   \
        if (end > 3 * n) { /* whole vectors must not read beyond the row */                     \
            memset(row->colours, 0, sizeof(type) * (size_t)end);                                \
            from = memcpy(row->colours, pixels, sizeof(type) * 3 * (size_t)n);                  \
        }                                                                                       \
        Fetched fetched;                                                                        \
        if (FETCHES) {                                                                          \
            for (int i = 0; i < end; i += 3 * LANES)                                            \
                for (int g = 0; g < 3; g++) {                                                   \
                    Pixels v;                                                                   \
                    memcpy(&v, from + i + g * LANES, sizeof v);                                 \
                    tone_find(UNIT_##type(v), tone, g, &fetched, i + g * LANES);                \
                }                                                                               \
            tone_fetch(tone, end, &fetched);                                                    \
        }                                                                                       \
        for (int i = 0; i < end; i += 3 * LANES) {                                              \
            Pixels own[3];                                                                      \
            Vector unit[3], lifted[3];                                                          \
            memcpy(own, from + i, sizeof own);                                                  \
            for (int g = 0; g < 3; g++) unit[g] = UNIT_##type(own[g]);                          \
            tone_lift(unit, tone, &fetched, i, lifted);                                         \
            for (int g = 0; g < 3; g++) own[g] = STORED_##type(own[g], unit[g], lifted[g]);     \
            memcpy(to + i, own, sizeof own);                                                    \
        }                                                                                       \
        finish_pixels(job, pixels, n, row, out);                                                \
    }
TONE_ROW(uint16_t, Short)
TONE_ROW(float, Vector)

/* The commonest case in one step: 8-bit RGB at full weight. Nothing is left of the
 * input, so it needs neither the conversion to floats nor the blend. */
STAGE void tone_row_uint8_t(const Job *job, const uint8_t *pixels, int n, float across,
                            const float *scratch, Row *row, uint8_t *out) {
    const float *base = scratch, *step = scratch + SPAN_COLOURS;
    const float *value = row->change;
    uint8_t *restrict to = made(row);
    tone_look_up8(job, pixels, n, row->change);
    for (int i = 0; i < 3 * n; i++) {
        const uint8_t lifted =
            encode_uint8_t(255.0f * (value[i] * (base[i] + across * step[i]) - TONE_OFFSET));
        to[i] = lifted > pixels[i] ? lifted : pixels[i];
    }
    finish_pixels(job, pixels, n, row, out);
}

#endif
