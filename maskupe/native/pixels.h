/* Stored pixels to r, g, b and back; the one place where the effect is blended in. */
#ifndef MASKUPE_PIXELS_H
#define MASKUPE_PIXELS_H

#include <string.h>

#include "job.h"

#define LUMA_R 0.299f
#define LUMA_G 0.587f
#define LUMA_B 0.114f

static const int DEPTH_BYTES[3] = {1, 2, 4};
static const float DEPTH_WHITE[3] = {255.0f, 65535.0f, 1.0f};

/* 0..1 of integers. */
#define LOAD(type)                                                                              \
    static void load_##type(const type *p, int channels, int n, float scale,                    \
                            float *restrict unit) {                                             \
        if (channels == 3)                                                                      \
            for (int i = 0; i < 3 * n; i++) unit[i] = (float)p[i] * scale;                      \
        else if (channels == 4)                                                                 \
            for (int i = 0; i < n; i++)                                                         \
                for (int c = 0; c < 3; c++) unit[3 * i + c] = (float)p[4 * i + c] * scale;      \
        else                                                                                    \
            for (int i = 0; i < n; i++)                                                         \
                for (int c = 0; c < 3; c++) unit[3 * i + c] = (float)p[channels * i] * scale;   \
    }
LOAD(uint8_t)
LOAD(uint16_t)

/* Floats as they are stored: RGB in place. */
static const float *colours_of(const float *p, int channels, int n, float *restrict to) {
    if (channels == 3) return p;
    /* Moved as bits, so that a signalling NaN stays what it is. */
    for (int i = 0; i < n; i++)
        for (int c = 0; c < 3; c++)
            memcpy(to + 3 * i + c, p + channels * i + (channels == 4 ? c : 0), 4);
    return to;
}

/* Fills row->unit, and of floats row->raw, from n pixels, zeros up to the next whole group. */
STAGE void load_row(const Job *job, const void *pixels, int n, Row *row) {
    const float scale = 1.0f / DEPTH_WHITE[job->depth];
    float *restrict unit = row->unit;
    if (job->depth == DEPTH_U8) load_uint8_t(pixels, job->channels, n, scale, unit);
    else if (job->depth == DEPTH_U16) load_uint16_t(pixels, job->channels, n, scale, unit);
    else {
        row->raw = colours_of(pixels, job->channels, n, row->colours);
        for (int i = 0; i < 3 * n; i++) unit[i] = clamp01(row->raw[i]);
    }
    for (int i = 3 * n, end = 3 * round_up(n); i < end; i++) unit[i] = 0.0f;
}

INLINE uint8_t encode_uint8_t(float v) { return (uint8_t)(int)(at_most(at_least(v, 0.0f), 255.0f) + 0.5f); }
INLINE uint16_t encode_uint16_t(float v) { return (uint16_t)(int)(at_most(at_least(v, 0.0f), 65535.0f) + 0.5f); }

/* Integers: unit + 0 * change rounds to what it was, so a weight of zero needs no choice. */
#define STORE(type)                                                                             \
    static void store_##type(const type *p, int channels, int n, const Row *row,                \
                             const float *weight, float white, type *to) {                      \
        const float *unit = row->unit, *change = row->change;                                   \
        if (channels == 3 && !weight) {                                                         \
            for (int i = 0; i < 3 * n; i++) to[i] = encode_##type(white * (unit[i] + change[i]));\
        } else if (channels >= 3) {                                                             \
            for (int i = 0; i < n; i++) {                                                       \
                float w = weight ? weight[i] : 1.0f;                                            \
                for (int c = 0; c < 3; c++)                                                     \
                    to[channels * i + c] =                                                      \
                        encode_##type(white * (unit[3 * i + c] + w * change[3 * i + c]));       \
                if (channels == 4) to[4 * i + 3] = p[4 * i + 3];                                \
            }                                                                                   \
        } else {                                                                                \
            for (int i = 0; i < n; i++) {                                                       \
                float w = weight ? weight[i] : 1.0f;                                            \
                float luma = LUMA_R * change[3 * i] + LUMA_G * change[3 * i + 1] +              \
                             LUMA_B * change[3 * i + 2];                                        \
                to[channels * i] = encode_##type(white * (unit[3 * i] + w * luma));             \
                if (channels == 2) to[2 * i + 1] = p[2 * i + 1];                                \
            }                                                                                   \
        }                                                                                       \
    }
STORE(uint8_t)
STORE(uint16_t)

/* Floats with a weight of zero are not computed with: their bits are chosen. */
INLINE float blend(float raw, float w, float change) {
    return w > 0.0f ? raw + w * change : raw;
}

static void store_float(const float *p, int channels, int n, const Row *row, const float *weight,
                        float *to) {
    const float *raw = row->raw, *change = row->change;
    if (channels == 3 && !weight) {
        for (int i = 0; i < 3 * n; i++) to[i] = raw[i] + change[i];
        return;
    }
    for (int i = 0; i < n; i++) {
        float w = weight ? weight[i] : 1.0f;
        if (channels >= 3) {
            for (int c = 0; c < 3; c++)
                to[channels * i + c] = blend(raw[3 * i + c], w, change[3 * i + c]);
        } else {
            float luma = LUMA_R * change[3 * i] + LUMA_G * change[3 * i + 1] +
                         LUMA_B * change[3 * i + 2];
            to[channels * i] = blend(raw[3 * i], w, luma);
        }
        if (channels % 2 == 0) memcpy(to + channels * i + channels - 1, p + channels * i + channels - 1, 4);
    }
}

/* Where pixels are made before they go to memory. */
INLINE void *made(Row *row) { return row->stored + LINE; }

/* Copies `bytes` finished bytes to memory past the caches, in whole lines: what is left of the last
 * one waits before `made` for the next pixels of the row, or for `end_row`. */
STAGE void stream_out(Row *row, uint8_t *to, size_t bytes) {
    const uint8_t *from = row->stored + LINE - row->open, *end = row->stored + LINE + bytes;
    to -= row->open;
    const size_t before = -(uintptr_t)to % LINE;
    if (before && from + before <= end) {
        memcpy(to, from, before);
        from += before, to += before;
    }
    if ((uintptr_t)to % LINE == 0)
        for (; from + LINE <= end; from += LINE, to += LINE)
            for (size_t l = 0; l < LINE; l += sizeof(Vector)) {
                Vector part;
                memcpy(&part, from + l, sizeof part);
                __builtin_nontemporal_store(part, (Vector *)(to + l));
            }
    row->open = (size_t)(end - from);
    memmove(row->stored + LINE - row->open, from, row->open);
}

/* Writes what waits before `to`. */
INLINE void end_row(Row *row, uint8_t *to) {
    if (row->open) memcpy(to - row->open, row->stored + LINE - row->open, row->open);
    row->open = 0;
}

/* Moves n finished pixels to where they belong. */
INLINE void finish_pixels(const Job *job, const void *pixels, int n, Row *row, void *out) {
    const size_t bytes = (size_t)n * (size_t)(job->channels * DEPTH_BYTES[job->depth]);
    if (job->stream && out != pixels) stream_out(row, out, bytes);
    else memcpy(out, made(row), bytes);
}

/* Vectors of stored values to 0..1, and what is stored for an enhanced value. */
#define UNIT_uint16_t(v) (__builtin_convertvector(v, Vector) * (1.0f / 65535.0f))
#define UNIT_float(v) lowest(highest(v, (Vector){0}), (Vector){0} + 1.0f)
#define STORED_uint8_t(v, unit, value)                                                          \
    __builtin_convertvector(__builtin_convertvector(255.0f * (value) + 0.5f, Whole), Byte)
#define STORED_uint16_t(v, unit, value)                                                         \
    __builtin_convertvector(__builtin_convertvector(65535.0f * (value) + 0.5f, Whole), Short)
#define STORED_float(v, unit, value) ((v) + ((value) - (unit)))

/* Pixels that keep their bits. */
INLINE void keep_pixels(const Job *job, const void *pixels, int n, Row *row, void *out) {
    const size_t bytes = (size_t)n * (size_t)(job->channels * DEPTH_BYTES[job->depth]);
    if (out == pixels) return;
    memcpy(made(row), pixels, bytes);
    finish_pixels(job, pixels, n, row, out);
}

/* Writes n pixels; weight is NULL where all are one. `pixels` and `out` may be the same. */
STAGE void store_row(const Job *job, const void *pixels, int n, Row *row, const float *weight,
                     void *out) {
    const float white = DEPTH_WHITE[job->depth];
    void *to = made(row);
    if (job->depth == DEPTH_U8)
        store_uint8_t(pixels, job->channels, n, row, weight, white, to);
    else if (job->depth == DEPTH_U16)
        store_uint16_t(pixels, job->channels, n, row, weight, white, to);
    else store_float(pixels, job->channels, n, row, weight, to);
    finish_pixels(job, pixels, n, row, out);
}

#endif
