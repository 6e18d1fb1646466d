/* ToneCurves, the strength already in table and map. map: (3, map rows, map columns)
 * residual.
 * table: for 8 bits (3, 256), the colour and TONE_OFFSET times its gain; otherwise (3, count, 2),
 * the gain at each entry and the step to the next. */
#ifndef MASKUPE_TONE_H
#define MASKUPE_TONE_H

#include "pixels.h"
#include "root.h"
#include "smooth.h"

/* base and step of the residual over the span; then of a tile where in the table each value's
 * channel begins, all r, g, b interleaved. */
#define TONE_SCRATCH (2 * SPAN_COLOURS + COLOURS)
/* maskupe.maps.TONE_OFFSET */
#define TONE_OFFSET (1.0f / 512.0f)

typedef struct {
    const float *base, *step;
    const int32_t *table;
} Tone;

/* What tone_band and tone_start made, seen from a tile that begins i pixels into the span. */
INLINE Tone tone_of(const float *scratch, int i) {
    return (Tone){scratch + 3 * i, scratch + SPAN_COLOURS + 3 * i,
                  (const int32_t *)(scratch + 2 * SPAN_COLOURS)};
}

STAGE void tone_start(const Job *job, float *scratch) {
    int32_t *table = (int32_t *)(scratch + 2 * SPAN_COLOURS);
    for (int i = 0; i < COLOURS; i++) table[i] = i % 3 * 2 * job->count;
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

/* What tone_look_up leaves for tone_mix: of each value the way to the next table entry, and its
 * pair of entries. */
typedef struct {
    _Alignas(64) float part[COLOURS], pairs[2 * COLOURS];
} Found;

/* Looks up LANES values 0..1; `at` is their place in the tile. */
INLINE void tone_place(const Job *job, Vector unit, const Tone *tone, int at, Found *found,
                       int32_t *low) {
    const Vector place = root(unit) * (float)(job->count - 1);
    const Whole k = __builtin_convertvector(place, Whole);
    Whole table;
    memcpy(&table, tone->table + at, sizeof table);
    table += k + k;
    memcpy(low + at, &table, sizeof table);
    store_vector(found->part + at, place - __builtin_convertvector(k, Vector));
}

INLINE void tone_fetch(const Job *job, const int32_t *low, int end, Found *found) {
#pragma clang loop vectorize(disable)
    for (int i = 0; i < end; i += LANES)
#pragma clang loop vectorize(disable) unroll(full)
        for (int v = 0; v < LANES; v++)
            memcpy(found->pairs + 2 * (i + SLOT(v)), job->table + low[i + v], 8);
}

/* clip((I + o) G - o, 0, 1) of what was looked up. */
INLINE Vector tone_value(Vector unit, const Found *found, float across, const Tone *tone, int at) {
    const Vector a = load_vector(found->pairs + 2 * at);
    const Vector b = load_vector(found->pairs + 2 * at + LANES);
    const Vector gain = FIRST(a, b) + load_vector(found->part + at) * SECOND(a, b);
    const Vector residual = load_vector(tone->base + at) + across * load_vector(tone->step + at);
    const Vector lifted = gain * (unit + TONE_OFFSET) * residual - TONE_OFFSET;
    return lowest(highest(lifted, (Vector){0}), (Vector){0} + 1.0f);
}

/* Fills row->change. */
STAGE void tone_row(const Job *job, const void *pixels, int n, float across, const Tone *tone,
                    Row *row) {
    const float *base = tone->base, *step = tone->step;
    const float *unit = row->unit;
    float *restrict value = row->change;
    const int end = 3 * round_up(n);
    if (job->depth == DEPTH_U8) {
        tone_look_up8(job, pixels, n, value);
        for (int i = 3 * n; i < end; i++) value[i] = 0.0f;
        for (int i = 0; i < end; i++)
            value[i] = clamp01(value[i] * (base[i] + across * step[i]) - TONE_OFFSET) - unit[i];
        return;
    }
    _Alignas(64) int32_t low[COLOURS];
    Found found;
    for (int i = 0; i < end; i += LANES)
        tone_place(job, load_vector(unit + i), tone, i, &found, low);
    tone_fetch(job, low, end, &found);
    for (int i = 0; i < end; i += LANES) {
        const Vector own = load_vector(unit + i);
        store_vector(value + i, tone_value(own, &found, across, tone, i) - own);
    }
}

/* The usual case in one step: RGB of 16 bits or floats at full weight. */
#define UNIT_uint16_t(v) (__builtin_convertvector(v, Vector) * (1.0f / 65535.0f))
#define UNIT_float(v) lowest(highest(v, (Vector){0}), (Vector){0} + 1.0f)
#define STORED_uint16_t(v, unit, value)                                                         \
    __builtin_convertvector(__builtin_convertvector(65535.0f * (value) + 0.5f, Whole), Short)
#define STORED_float(v, unit, value) ((v) + ((value) - (unit)))
#define TONE_ROW(type, Pixels)                                                                  \
    STAGE void tone_row_##type(const Job *job, const type *pixels, int n, float across,         \
                               const Tone *tone, Row *row, void *out) {                         \
        const int end = (3 * n + LANES - 1) / LANES * LANES;                                    \
        const type *from = pixels;                                                              \
        type *to = make_at(row, out);                                                           \
        if (end > 3 * n) { /* whole vectors must not read beyond the row */                     \
            memset(row->colours, 0, sizeof(type) * (size_t)end);                                \
            from = memcpy(row->colours, pixels, sizeof(type) * 3 * (size_t)n);                  \
        }                                                                                       \
        _Alignas(64) int32_t low[COLOURS];                                                      \
        Found found;                                                                            \
        for (int i = 0; i < end; i += LANES) {                                                  \
            Pixels v;                                                                           \
            memcpy(&v, from + i, sizeof v);                                                     \
            tone_place(job, UNIT_##type(v), tone, i, &found, low);                              \
        }                                                                                       \
        tone_fetch(job, low, end, &found);                                                      \
        for (int i = 0; i < end; i += LANES) {                                                  \
            Pixels v;                                                                           \
            memcpy(&v, from + i, sizeof v);                                                     \
            const Vector unit = UNIT_##type(v);                                                 \
            const Pixels result =                                                               \
                STORED_##type(v, unit, tone_value(unit, &found, across, tone, i));              \
            memcpy(to + i, &result, sizeof result);                                             \
        }                                                                                       \
        finish_pixels(job, pixels, n, row, out);                                                \
    }
TONE_ROW(uint16_t, Short)
TONE_ROW(float, Vector)

/* The commonest case in one step: 8-bit RGB at full weight. Nothing is left of the
 * input, so it needs neither the conversion to floats nor the blend. */
STAGE void tone_row_uint8_t(const Job *job, const uint8_t *pixels, int n, float across, const Tone *tone,
                     Row *row, uint8_t *out) {
    const float *base = tone->base, *step = tone->step;
    const float *value = row->change;
    uint8_t *restrict to = make_at(row, out);
    tone_look_up8(job, pixels, n, row->change);
    for (int i = 0; i < 3 * n; i++)
        to[i] = encode_uint8_t(255.0f * (value[i] * (base[i] + across * step[i]) - TONE_OFFSET));
    finish_pixels(job, pixels, n, row, out);
}

#endif
