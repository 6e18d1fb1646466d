/* LookUpTable. table: (blue, green, red, 4): the fourth value of each entry is padding, so that an
 * entry is one vector of four. `count` nodes, at least two, along each axis. */
#ifndef MASKUPE_TABLE_H
#define MASKUPE_TABLE_H

#include "job.h"

INLINE Quad entry_mix(const float *low, const float *high, float part) {
    Quad a, b;
    memcpy(&a, low, 16);
    memcpy(&b, high, 16);
    return a + part * (b - a);
}

STAGE void table_row(const Job *job, int n, Row *row) {
    const int nodes = job->count;
    const int64_t red = 4, green = red * nodes, blue = green * nodes;
    _Alignas(64) int32_t low[COLOURS];
    _Alignas(64) float part[COLOURS];
    for (int i = 0; i < 3 * n; i++) {
        float place = row->unit[i] * (float)(nodes - 1);
        int32_t k = (int32_t)place;
        k = k < nodes - 2 ? k : nodes - 2;
        low[i] = k;
        part[i] = place - (float)k;
    }
    for (int i = 0; i < n; i++) {
        const float *e = job->table + low[3 * i] * red + low[3 * i + 1] * green +
                         low[3 * i + 2] * blue;
        const float r = part[3 * i], g = part[3 * i + 1], b = part[3 * i + 2];
        Quad near = entry_mix(e, e + red, r), far = entry_mix(e + green, e + green + red, r);
        Quad front = near + g * (far - near);
        e += blue;
        near = entry_mix(e, e + red, r);
        far = entry_mix(e + green, e + green + red, r);
        Quad back = near + g * (far - near);
        Quad value = front + b * (back - front);
        for (int c = 0; c < 3; c++)
            row->change[3 * i + c] = job->strength * (value[c] - row->unit[3 * i + c]);
    }
}

#endif
