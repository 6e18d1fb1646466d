/* GainGrid, on r, g, b as they lie in memory: only the luma is brought together, and the hinges of
 * its axis are spread again over the three. See grid.h for the idea and the map. */
#ifndef MASKUPE_GAIN_H
#define MASKUPE_GAIN_H

#include "grid.h"
#include "smooth.h"

/* Each lane of a vector three times, over three vectors; and the other way round, every third of
 * three vectors. */
#if LANES == 16
#define EXPAND0(v) __builtin_shufflevector(v, v, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5)
#define EXPAND1(v) __builtin_shufflevector(v, v, 5, 5, 6, 6, 6, 7, 7, 7, 8, 8, 8, 9, 9, 9, 10, 10)
#define EXPAND2(v)                                                                              \
    __builtin_shufflevector(v, v, 10, 11, 11, 11, 12, 12, 12, 13, 13, 13, 14, 14, 14, 15, 15, 15)
#define PICK_TWO(a, b)                                                                          \
    __builtin_shufflevector(a, b, 0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, -1, -1, -1, -1, -1)
#define PICK_THIRD(a, b)                                                                        \
    __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 17, 20, 23, 26, 29)
#else
#define EXPAND0(v) __builtin_shufflevector(v, v, 0, 0, 0, 1, 1, 1, 2, 2)
#define EXPAND1(v) __builtin_shufflevector(v, v, 2, 3, 3, 3, 4, 4, 4, 5)
#define EXPAND2(v) __builtin_shufflevector(v, v, 5, 5, 6, 6, 6, 7, 7, 7)
#define PICK_TWO(a, b) __builtin_shufflevector(a, b, 0, 3, 6, 9, 12, 15, -1, -1)
#define PICK_THIRD(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 10, 13)
#endif

/* Luma of the values from p on, correct at the first value of each pixel. */
INLINE Vector luma_at(const float *p) {
    return LUMA_R * load_vector(p) + LUMA_G * load_vector(p + 1) + LUMA_B * load_vector(p + 2);
}

/* Places z on the luma axis of n pixels, in whole blocks; what is beyond n is like the last. */
STAGE void gain_places(const float *unit, int n, float bins, float *restrict z) {
    for (int i = 0; i < n; i += LANES) {
        const float *p = unit + 3 * i;
        const Vector a = luma_at(p), b = luma_at(p + LANES), c = luma_at(p + 2 * LANES);
        const Vector ab = PICK_TWO(a, b);
        store_vector(z + i, PICK_THIRD(ab, c));
    }
    for (int i = 0; i < n; i++) z[i] = at_most(at_least(sqrtf(z[i]) * bins - 0.5f, 0.0f), bins - 1.0f);
    for (int i = n; i % BLOCK; i++) z[i] = z[n - 1];
}

/* S within its bounds: 1, I, and the floor. */
INLINE Vector bounded(Vector s, Vector own) {
    return highest(highest(lowest(s, (Vector){0} + 1.0f), own), (Vector){0} + FLOOR);
}

/* Adds to `sum` what bins `bin` to `bin + hinges` contribute to one block, as add_bins does; or, where
 * `whole`, makes the change at once, I / S - I. */
INLINE void add_gains(int hinges, int with_base, int whole, int bin, const Ends *ends,
                      const float *z, const float *part3, const float *own, float *sum,
                      float *change) {
    _Alignas(64) float hinge[3][3 * BLOCK];
    for (int k = 0; k < hinges; k++)
        for (int v = 0; v < VECTORS; v++) {
            Vector h = load_vector(z + LANES * v) - (float)(bin + k);
            h = lowest(highest(h, (Vector){0}), (Vector){0} + 1.0f);
            float *to = hinge[k] + 3 * LANES * v;
            store_vector(to, EXPAND0(h));
            store_vector(to + LANES, EXPAND1(h));
            store_vector(to + 2 * LANES, EXPAND2(h));
        }
    Vector term[8][3]; /* value and change, then of each hinge */
    for (int k = 0; k <= hinges; k++) {
        Quad value, change;
        memcpy(&value, (k ? ends->step : ends->value) + 3 * (bin + k), sizeof value);
        memcpy(&change, (k ? ends->step_change : ends->value_change) + 3 * (bin + k), sizeof change);
        term[2 * k][0] = REPEAT0(value), term[2 * k + 1][0] = REPEAT0(change);
        term[2 * k][1] = REPEAT1(value), term[2 * k + 1][1] = REPEAT1(change);
        term[2 * k][2] = REPEAT2(value), term[2 * k + 1][2] = REPEAT2(change);
    }
    for (int p = 0; p < 3; p++)
        for (int v = 0; v < VECTORS; v++) {
            const int at = LANES * (3 * v + p);
            const Vector f = load_vector(part3 + at);
            Vector total = with_base ? f * term[1][p] + term[0][p] : load_vector(sum + at);
            for (int k = 1; k <= hinges; k++)
                total += load_vector(hinge[k - 1] + at) * (f * term[2 * k + 1][p] + term[2 * k][p]);
            if (whole) {
                const Vector unit = load_vector(own + at);
                store_vector(change + at, unit / bounded(total, unit) - unit);
            } else store_vector(sum + at, total);
        }
}

STAGE Ends gain_ends(const Job *job, int map_low, int map_high, int x0, float across,
                     float *scratch) {
    return grid_ends(3, job, map_low, map_high, x0, across, scratch);
}

/* One row of one tile, at column x0: fills row->change. */
STAGE void gain_row(const Job *job, const Ends *ends, int x0, int n, Row *row) {
    _Alignas(64) float z[TILE], sum[3 * BLOCK];
    const float *unit = row->unit;
    const float t = job->strength;
    gain_places(unit, n, (float)job->count, z);
    int first[TILE / BLOCK], hinges[TILE / BLOCK];
    find_bins(job, z, n, first, hinges);
    for (int at = 0; at < n; at += BLOCK) {
        const float *part3 = job->column_part3 + 3 * (x0 + at);
        const int two = hinges[at / BLOCK] <= 2 && job->count > 2, whole = two && t == 1.0f;
        int bin = first[at / BLOCK];
        const float *own = unit + 3 * at;
        float *change = row->change + 3 * at;
#define ADD(number, base, whole, bin) \
    add_gains(number, base, whole, bin, ends, z + at, part3, own, sum, change)
        /* Nearly all blocks need one or two: the same code for both is faster than a guess. */
        if (two && bin > job->count - 3) bin = job->count - 3;
        if (whole) {
            ADD(2, 1, 1, bin);
            continue;
        }
        if (two) ADD(2, 1, 0, bin);
        else {
            ADD(0, 1, 0, bin);
            for (int k = 0; k < hinges[at / BLOCK]; k++) ADD(1, 0, 0, bin + k);
        }
#undef ADD
        for (int v = 0; v < 3 * VECTORS; v++)
            store_vector(sum + LANES * v, bounded(load_vector(sum + LANES * v), load_vector(own + LANES * v)));
        if (t != 1.0f)
            for (int i = 0; i < 3 * BLOCK; i++) sum[i] = power(sum[i], t);
        for (int i = 0; i < 3 * BLOCK; i++) change[i] = own[i] / sum[i] - own[i];
    }
}

#endif
