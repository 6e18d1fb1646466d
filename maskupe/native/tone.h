/* ToneCurves, the strength already in table and map. map: (3, map rows, map columns)
 * residual.
 * table: for 8 bits (3, 256), the colour and TONE_OFFSET times its gain; otherwise (3, count, 2),
 * the gain at each entry and the step to the next. The ceiling is at most 1. */
#ifndef MASKUPE_TONE_H
#define MASKUPE_TONE_H

#include <math.h>

#include "pixels.h"
#include "smooth.h"

/* base and step of the residual over the span; then of a tile the ceiling and where in the table
 * each value's channel begins, all r, g, b interleaved. */
#define TONE_SCRATCH (2 * SPAN_COLOURS + 2 * COLOURS)
/* maskupe.maps.TONE_OFFSET */
#define TONE_OFFSET (1.0f / 512.0f)

typedef struct {
    const float *base, *step, *ceiling;
    const int32_t *table;
} Tone;

/* What tone_band and tone_start made, seen from a tile that begins i pixels into the span. */
INLINE Tone tone_of(const float *scratch, int i) {
    const float *tile = scratch + 2 * SPAN_COLOURS;
    return (Tone){scratch + 3 * i, scratch + SPAN_COLOURS + 3 * i, tile,
                  (const int32_t *)(tile + COLOURS)};
}

STAGE void tone_start(const Job *job, float *scratch) {
    float *ceiling = scratch + 2 * SPAN_COLOURS;
    int32_t *table = (int32_t *)(ceiling + COLOURS);
    for (int i = 0; i < COLOURS; i++) {
        ceiling[i] = job->ceiling[i % 3];
        table[i] = i % 3 * 2 * job->count;
    }
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

/* min((I + o) G - o, max(I, ceiling)), from (I + o) G. */
INLINE float tone_limit(float lifted, float unit, float ceiling) {
    return at_most(at_least(lifted - TONE_OFFSET, 0.0f), at_least(unit, ceiling));
}

/* Where the gains of a row's values are: pairs of table entries, and the way between them. */
typedef struct {
    _Alignas(64) int32_t low[COLOURS];
    _Alignas(64) float part[COLOURS], pairs[2 * COLOURS];
} Gains;

/* Places in the table, vectorised; then its entries are fetched as pairs. */
INLINE void tone_look_up(const Job *job, const float *unit, const Tone *tone, int end, Gains *to) {
    const float last = (float)(job->count - 1);
    const int32_t top = job->count - 2;
    for (int i = 0; i < end; i++) {
        float place = sqrtf(unit[i]) * last;
        int32_t k = (int32_t)place;
        k = k < top ? k : top;
        to->low[i] = tone->table[i] + 2 * k;
        to->part[i] = place - (float)k;
    }
#pragma clang loop vectorize(disable) unroll_count(8)
    for (int i = 0; i < end; i++) memcpy(to->pairs + 2 * i, job->table + to->low[i], 8);
}

INLINE float tone_gain(const Gains *gains, int i) {
    return gains->pairs[2 * i] + gains->part[i] * gains->pairs[2 * i + 1];
}

/* Fills row->change. */
STAGE void tone_row(const Job *job, const void *pixels, int n, float across, const Tone *tone,
                    Row *row) {
    const float *base = tone->base, *step = tone->step, *ceiling = tone->ceiling;
    const float *unit = row->unit;
    float *restrict value = row->change;
    const int end = 3 * round_up(n);
    if (job->depth == DEPTH_U8) {
        tone_look_up8(job, pixels, n, value);
        for (int i = 3 * n; i < end; i++) value[i] = 0.0f;
    } else {
        Gains gains;
        tone_look_up(job, unit, tone, end, &gains);
        for (int i = 0; i < end; i++) value[i] = tone_gain(&gains, i) * (unit[i] + TONE_OFFSET);
    }
    for (int i = 0; i < end; i++)
        value[i] = tone_limit(value[i] * (base[i] + across * step[i]), unit[i], ceiling[i]) - unit[i];
}

/* The usual case in one step: RGB of 16 bits or floats at full weight. */
#define STORED_uint16_t(raw, unit, value) encode_uint16_t(65535.0f * (value))
#define STORED_float(raw, unit, value) ((raw) + ((value) - (unit)))
#define TONE_ROW(type)                                                                          \
    STAGE void tone_row_##type(const Job *job, const type *pixels, int n, float across,         \
                               const Tone *tone, Row *row, void *out) {                         \
        const float *base = tone->base, *step = tone->step, *ceiling = tone->ceiling;           \
        const float *unit = row->unit;                                                          \
        type *restrict to = make_at(row, out);                                                  \
        Gains gains;                                                                            \
        load_row(job, pixels, n, row);                                                          \
        tone_look_up(job, unit, tone, 3 * round_up(n), &gains);                                 \
        for (int i = 0; i < 3 * n; i++) {                                                       \
            float lifted =                                                                      \
                tone_gain(&gains, i) * (unit[i] + TONE_OFFSET) * (base[i] + across * step[i]);  \
            to[i] = STORED_##type(pixels[i], unit[i], tone_limit(lifted, unit[i], ceiling[i])); \
        }                                                                                       \
        finish_pixels(job, pixels, n, row, out);                                                \
    }
TONE_ROW(uint16_t)
TONE_ROW(float)

/* The commonest case in one step: 8-bit RGB at full weight. Nothing is left of the
 * input but the cap, so it needs neither the conversion to floats nor the blend. */
STAGE void tone_row_uint8_t(const Job *job, const uint8_t *pixels, int n, float across, const Tone *tone,
                     Row *row, uint8_t *out) {
    const float *base = tone->base, *step = tone->step, *ceiling = tone->ceiling;
    const float *value = row->change;
    uint8_t *restrict to = make_at(row, out);
    tone_look_up8(job, pixels, n, row->change);
    for (int i = 0; i < 3 * n; i++) {
        float cap = at_least((float)pixels[i], 255.0f * ceiling[i]);
        float lifted = 255.0f * (value[i] * (base[i] + across * step[i]) - TONE_OFFSET);
        to[i] = encode_uint8_t(at_most(lifted, cap));
    }
    finish_pixels(job, pixels, n, row, out);
}

#endif
