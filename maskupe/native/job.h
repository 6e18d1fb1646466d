/* What the kernel is given: pixels, blend weight, sampling positions and one map, arranged.
 *
 * The Python side (rendering/native_backend.py) fills this structure, has checked every shape, and keeps
 * the memory alive. Strides are in bytes; inside a row everything is contiguous. */
#ifndef MASKUPE_JOB_H
#define MASKUPE_JOB_H

#include <stdint.h>
#include <string.h>

enum { KIND_TONE, KIND_CURVE, KIND_GAIN, KIND_AFFINE, KIND_TABLE };
enum { DEPTH_U8, DEPTH_U16, DEPTH_F32 };

typedef struct {
    const uint8_t *image;
    uint8_t *out;
    const uint8_t *coverage;         /* rows of uint16: 0 in C, 65535 in A */
    const float *clean;              /* or NULL: r, g, b 0..1 to enhance in place of the image,
                                        and how much of the effect these take */
    int64_t image_stride, out_stride, coverage_stride;
    const int32_t *row_low, *row_high;       /* map rows around each row of the region */
    const float *row_part;                   /* how far it lies towards the second */
    const int32_t *column_low, *column_high;
    const int32_t *column_end;               /* where the run of columns with the same low ends */
    const float *column_part;                /* padded by PAD */
    const float *column_part3;               /* each value three times, padded by 3 PAD */
    const float *map;                /* see each kind */
    const float *table;
    const float *guide;
    const float *ramp;               /* weight by coverage, 65536 */
    const float *bound;              /* the most light on edges, (rows, bound_columns), or NULL */
    const int32_t *bound_row_low, *bound_row_high;
    const float *bound_row_part;
    const int32_t *bound_low, *bound_high;   /* its columns */
    const float *bound_part;
    int32_t width, channels, depth, kind;
    int32_t map_rows, map_columns;
    int32_t count;                   /* curve steps, luma bins, table entries or nodes */
    int32_t knots;
    int32_t stream;                  /* whether `out` is too large to stay in a cache */
    int32_t bound_columns;
    float strength;
    float saturation;                /* -1..1, 0 changes nothing */
} Job;

/* Arithmetic that must disappear into its loop, and stages that are worth a name in a profile; not
 * every source that includes a header uses all of it. */
#define INLINE static inline __attribute__((always_inline))
#define STAGE static __attribute__((noinline, unused))

/* Pixels that one pass works on: what it keeps per tile stays in the first-level cache. */
#define TILE 128
/* Bytes of a line of memory, which is written as a whole where it is not to stay in a cache. */
#define LINE 64
/* Columns that are walked down together, in tiles: long runs of memory are what processors fetch
 * ahead, and what streamed stores want. Curves keep sixteen rows of maps for each, others two. */
#define SPAN 1024
#define CURVE_SPAN 128
#define SPAN_COLOURS (3 * (SPAN + PAD))
/* Floats of one register of AVX-512 or AVX2, two of SSE or NEON. */
#if defined(__AVX512F__)
#define LANES 16
#else
#define LANES 8
#endif
/* Loops run over whole groups of pixels, so that no scalar remainder loops are needed. */
#define PAD LANES
#define COLOURS (3 * (TILE + PAD))

/* For the few loops where a compiler left alone would keep what should be in registers in memory. */
typedef float Vector __attribute__((ext_vector_type(LANES)));

typedef int32_t Whole __attribute__((ext_vector_type(LANES)));
typedef uint8_t Byte __attribute__((ext_vector_type(LANES)));
typedef uint16_t Short __attribute__((ext_vector_type(LANES)));

typedef float Quad __attribute__((ext_vector_type(4)));
typedef int32_t WholeQuad __attribute__((ext_vector_type(4)));

INLINE Vector load_vector(const float *from) {
    Vector v;
    memcpy(&v, from, sizeof v);
    return v;
}
INLINE void store_vector(float *to, Vector v) { memcpy(to, &v, sizeof v); }
/* Where `a` is not a number, `b`. */
INLINE Vector highest(Vector a, Vector b) { return a > b ? a : b; }
INLINE Vector lowest(Vector a, Vector b) { return a < b ? a : b; }

/* One row of one tile: r, g, b interleaved. */
typedef struct {
    const float *raw;                    /* floats as stored: the pixels themselves, or: */
    _Alignas(64) float colours[COLOURS];
    _Alignas(64) float unit[COLOURS];    /* clipped to 0..1, NaN as 0 */
    _Alignas(64) float own[COLOURS];     /* the same while `unit` holds what is enhanced instead */
    _Alignas(64) float change[COLOURS];  /* enhanced - unit */
    _Alignas(64) float weight[TILE + PAD];
    _Alignas(64) float lift[TILE + PAD]; /* what the change of `unit` is multiplied by */
    _Alignas(64) uint16_t coverage[TILE];
    /* Finished pixels on their way to memory, behind an unfinished line of it. */
    _Alignas(64) uint8_t stored[LINE + 16 * TILE];
    size_t open; /* bytes of that line */
} Row;

INLINE int round_up(int n) { return (n + PAD - 1) / PAD * PAD; }
INLINE float at_least(float x, float low) { return x > low ? x : low; }
INLINE float at_most(float x, float high) { return x < high ? x : high; }
INLINE float clamp01(float x) { return at_most(at_least(x, 0.0f), 1.0f); }

#endif
