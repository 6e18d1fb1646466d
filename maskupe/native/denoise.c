/* Removes noise from dark pixels before they are brightened; maskupe/denoise has the formulas and
 * the calibration, and is the reference.
 *
 * Values are in codes of 255, as Y, Cr, Cb. Blocks of 8 x 8 at every fourth row and column are
 * transformed by a DCT, their coefficients shrunk and the overlapping results added under a smooth
 * window, whose shifted copies add up to one. Columns lie apart by their remainder modulo 4, so that
 * one vector holds the same column of neighbouring blocks. The blocks of any tile lie where they lie in the whole layer: the
 * result depends neither on how the work is cut up nor on where the region is cut out. For that the
 * region's first row and column are `top` and `left`, their remainders modulo 16 in the layer; what
 * lies before them repeats them, and all coordinates but those of memory count from there. */
#include "export.h"
#include "job.h"
#include "pixels.h"

typedef struct {
    const uint8_t *image;
    const uint8_t *coverage; /* rows of uint16: 0 where nothing changes */
    const float *coarse;     /* (3, coarse rows, coarse columns): Y, Cr, Cb means of 4 x 4 pixels */
    const float *near;       /* (coarse rows, coarse columns): the luma around */
    float *correction;       /* (2, same): what to add to Cr and Cb there */
    const float *power;      /* (3 levels, luma and chroma, 64): energy to multiples of noise */
    const float *amount;     /* by luma, 256 */
    int64_t stride, coverage_stride;
    int32_t width, height, channels, depth; /* the first two with what lies before the region */
    int32_t top, left;
    int32_t coarse_rows, coarse_columns;
    float help, help_from, help_most; /* how much structure in luma protects chroma */
    float neutral, black; /* luma below which hue fades, squared; and the effect, its fourth power */
    /* How much of the noise of luma stays in flat blocks, how much more of it in textured ones; the
     * mean factor up to which a block is flat, and what brings those above it to 0..1. */
    float grain, grain_more, flat, texture;
} Cleaning;

EXPORT int maskupe_cleaning_size(void) { return (int)sizeof(Cleaning); }

/* Most columns and rows of a tile's result, multiples of 8. */
#define WIDE 256
#define TALL 64
/* Halos: of blocks, and of a tile of half size. */
#define HALO 4
#define HALF_HALO 8
#define COLUMNS (WIDE + 2 * HALO)
#define ROWS (TALL + 2 * HALO)
/* Floats of a row of columns, apart by remainder, each part padded for whole vectors. */
#define PART (COLUMNS / 4 + 2 + LANES)
#define LINE_FLOATS (4 * PART)

typedef struct {
    _Alignas(64) float in[3][ROWS][LINE_FLOATS];
    _Alignas(64) float out[3][ROWS][LINE_FLOATS];
    _Alignas(64) float down[3][8][LINE_FLOATS];
    _Alignas(64) float sums[3][8][LINE_FLOATS];
    /* Half-size means, and the luma around and the corrections of Cr and Cb. */
    float half[3][TALL / 2 + 2 * HALF_HALO][WIDE / 2 + 2 * HALF_HALO];
    float change[3][TALL / 2 + 2 * HALF_HALO][WIDE / 2 + 2 * HALF_HALO];
    _Alignas(64) float row[3][WIDE + 4 * HALF_HALO];
    _Alignas(64) float other[3][WIDE + 4 * HALF_HALO];
} Scratch;

EXPORT int64_t maskupe_cleaning_scratch(void) { return (int64_t)sizeof(Scratch) + LINE; }

#define C0 0.35355339f
#define C1 0.49039264f
#define C2 0.46193977f
#define C3 0.41573481f
#define C4 0.35355339f
#define C5 0.27778512f
#define C6 0.19134172f
#define C7 0.09754516f

INLINE void transform(const Vector x[8], Vector y[8]) {
    const Vector s0 = x[0] + x[7], s1 = x[1] + x[6], s2 = x[2] + x[5], s3 = x[3] + x[4];
    const Vector d0 = x[0] - x[7], d1 = x[1] - x[6], d2 = x[2] - x[5], d3 = x[3] - x[4];
    const Vector a = s0 + s3, b = s1 + s2, c = s0 - s3, d = s1 - s2;
    y[0] = C0 * (a + b);
    y[4] = C4 * (a - b);
    y[2] = C2 * c + C6 * d;
    y[6] = C6 * c - C2 * d;
    y[1] = C1 * d0 + C3 * d1 + C5 * d2 + C7 * d3;
    y[3] = C3 * d0 - C7 * d1 - C1 * d2 - C5 * d3;
    y[5] = C5 * d0 - C1 * d1 + C7 * d2 + C3 * d3;
    y[7] = C7 * d0 - C5 * d1 + C3 * d2 - C1 * d3;
}

INLINE void invert(const Vector y[8], Vector x[8]) {
    const Vector a = C0 * y[0] + C4 * y[4], b = C0 * y[0] - C4 * y[4];
    const Vector c = C2 * y[2] + C6 * y[6], d = C6 * y[2] - C2 * y[6];
    const Vector s0 = a + c, s3 = a - c, s1 = b + d, s2 = b - d;
    const Vector d0 = C1 * y[1] + C3 * y[3] + C5 * y[5] + C7 * y[7];
    const Vector d1 = C3 * y[1] - C7 * y[3] - C1 * y[5] - C5 * y[7];
    const Vector d2 = C5 * y[1] - C1 * y[3] + C7 * y[5] + C3 * y[7];
    const Vector d3 = C7 * y[1] - C5 * y[3] + C3 * y[5] - C1 * y[7];
    x[0] = s0 + d0, x[7] = s0 - d0;
    x[1] = s1 + d1, x[6] = s1 - d1;
    x[2] = s2 + d2, x[5] = s2 - d2;
    x[3] = s3 + d3, x[4] = s3 - d3;
}

INLINE int clamp_index(int i, int count) { return i < 0 ? 0 : i >= count ? count - 1 : i; }

INLINE Vector vector_of(float value) { return (Vector){0} + value; }

/* Half of the energy, and half of the mean over the 3 x 3 neighbours in frequency. The mean's first
 * number says nothing about structure: its neighbours stand in for it. */
INLINE void mix_neighbours(Vector energy[64]) {
    Vector rows[64];
    energy[0] = 0.5f * (energy[1] + energy[8]);
    for (int v = 0; v < 8; v++)
        for (int u = 0; u < 8; u++)
            rows[8 * v + u] = energy[8 * v + (u ? u - 1 : 0)] + energy[8 * v + u] +
                              energy[8 * v + (u < 7 ? u + 1 : 7)];
    for (int v = 0; v < 8; v++)
        for (int u = 0; u < 8; u++)
            energy[8 * v + u] =
                0.5f * energy[8 * v + u] +
                (0.5f / 9.0f) * (rows[8 * (v ? v - 1 : 0) + u] + rows[8 * v + u] +
                                 rows[8 * (v < 7 ? v + 1 : 7) + u]);
}

INLINE Vector shrinking(Vector energy) {
    return highest(1.0f - 1.0f / (energy + 1e-9f), (Vector){0});
}

/* Multiplies the coefficients of Cr and Cb, but for the mean, by max(0, 1 - 1 / energy). */
INLINE void shrink_chroma(const Vector energy[64], Vector *red, Vector *blue) {
    for (int k = 1; k < 64; k++) {
        const Vector factor = shrinking(energy[k]);
        red[k] *= factor;
        blue[k] *= factor;
    }
}

/* The same for luma, where some grain stays, more of it where there is texture. */
INLINE void shrink_luma(const Cleaning *job, Vector energy[64], Vector *luma) {
    Vector kept = {0};
    for (int k = 1; k < 64; k++) {
        energy[k] = shrinking(energy[k]);
        kept += energy[k];
    }
    const Vector above = (kept * (1.0f / 63.0f) - job->flat) * job->texture;
    const Vector texture = lowest(highest(above, (Vector){0}), vector_of(1.0f));
    const Vector grain = job->grain + job->grain_more * texture;
    for (int k = 1; k < 64; k++) luma[k] *= energy[k] + grain * (1.0f - energy[k]);
}

/* The window: squared sines, at the eight places of a block. */
static const float WINDOW[8] = {0.03806023f, 0.30865828f, 0.69134172f, 0.96193977f,
                                0.96193977f, 0.69134172f, 0.30865828f, 0.03806023f};

INLINE void load_block(float down[8][LINE_FLOATS], int j, Vector *coefficients) {
    for (int v = 0; v < 8; v++) {
        Vector x[8];
        for (int k = 0; k < 8; k++) x[k] = load_vector(down[v] + (k & 3) * PART + j + (k >> 2));
        transform(x, coefficients + 8 * v);
    }
}

INLINE void add_block(float sums[8][LINE_FLOATS], int j, const Vector *coefficients) {
    for (int v = 0; v < 8; v++) {
        Vector x[8];
        invert(coefficients + 8 * v, x);
        for (int k = 0; k < 8; k++) {
            float *to = sums[v] + (k & 3) * PART + j + (k >> 2);
            store_vector(to, load_vector(to) + WINDOW[k] * x[k]);
        }
    }
}

/* Blocks whose upper left corners lie in row 4 b. */
STAGE void shrink_blocks(const Cleaning *job, int level, int blocks, Scratch *s) {
    const float *of_luma = job->power + 128 * level, *of_chroma = of_luma + 64;
    for (int j = 0; j < blocks; j += LANES) {
        Vector luma[64], red[64], blue[64], energy[64], shared[64];
        load_block(s->down[0], j, luma);
        load_block(s->down[1], j, red);
        load_block(s->down[2], j, blue);
        for (int k = 0; k < 64; k++) {
            energy[k] = luma[k] * luma[k] * of_luma[k];
            shared[k] = (red[k] * red[k] + blue[k] * blue[k]) * (0.5f * of_chroma[k]);
        }
        mix_neighbours(energy);
        mix_neighbours(shared);
        for (int k = 0; k < 64; k++)
            shared[k] += job->help * lowest(highest(energy[k] - job->help_from, (Vector){0}),
                                            vector_of(job->help_most));
        if (level == 0) {
            shrink_luma(job, energy, luma);
            add_block(s->sums[0], j, luma);
        }
        shrink_chroma(shared, red, blue);
        add_block(s->sums[1], j, red);
        add_block(s->sums[2], j, blue);
    }
}

/* Fills s->out from s->in for all but the four outer rows and columns. Both counts are multiples
 * of 4. At levels above 0 luma is left out. */
STAGE void shrink_tile(const Cleaning *job, int level, int rows, int columns, Scratch *s) {
    const int first = level ? 1 : 0, blocks = columns / 4 - 1;
    for (int c = first; c < 3; c++)
        for (int y = 0; y < rows; y++) memset(s->out[c][y], 0, sizeof s->out[c][y]);
    for (int b = 0; b + 8 <= rows; b += 4) {
        for (int c = 0; c < 3; c++)
            for (int i = 0; i < LINE_FLOATS; i += LANES) {
                Vector x[8], y[8];
                for (int k = 0; k < 8; k++) x[k] = load_vector(s->in[c][b + k] + i);
                transform(x, y);
                for (int k = 0; k < 8; k++) store_vector(s->down[c][k] + i, y[k]);
            }
        memset(s->sums, 0, sizeof s->sums);
        shrink_blocks(job, level, blocks, s);
        for (int c = first; c < 3; c++)
            for (int i = 0; i < LINE_FLOATS; i += LANES) {
                Vector x[8], y[8];
                for (int k = 0; k < 8; k++) y[k] = load_vector(s->sums[c][k] + i);
                invert(y, x);
                for (int k = 0; k < 8; k++) {
                    float *to = s->out[c][b + k] + i;
                    store_vector(to, load_vector(to) + WINDOW[k] * x[k]);
                }
            }
    }
}

/* Columns in order to columns by remainder. */
INLINE void part_row(const float *from, int columns, float *restrict to) {
    for (int r = 0; r < 4; r++)
        for (int j = 0; j < columns / 4; j++) to[r * PART + j] = from[4 * j + r];
}

#define CONVERT(type, value)                                                                    \
    static void convert_##type(const type *p, int channels, int n, float scale,                 \
                               float *restrict y, float *restrict cr, float *restrict cb) {     \
        const int g = channels >= 3, h = 2 * g;                                                 \
        (void)scale;                                                                            \
        for (int i = 0; i < n; i++) {                                                           \
            const type *q = p + channels * i;                                                   \
            const float red = value(q[0]), green = value(q[g]), blue = value(q[h]);             \
            const float luma = LUMA_R * red + LUMA_G * green + LUMA_B * blue;                   \
            y[i] = luma;                                                                        \
            cr[i] = 0.713267f * (red - luma);                                                   \
            cb[i] = 0.564334f * (blue - luma);                                                  \
        }                                                                                       \
    }
#define SCALED(v) ((float)(v)*scale)
#define CLIPPED(v) (255.0f * clamp01(v))
CONVERT(uint8_t, SCALED)
CONVERT(uint16_t, SCALED)
CONVERT(float, CLIPPED)

/* Y, Cr, Cb of the columns x..x + n of row y; beyond the region its outermost pixels go on. */
STAGE void read_row(const Cleaning *job, int y, int x, int n, float *planes[3]) {
    const int size = DEPTH_BYTES[job->depth] * job->channels, width = job->width - job->left;
    const uint8_t *row =
        job->image + clamp_index(y - job->top, job->height - job->top) * job->stride;
    x -= job->left;
    const int from = clamp_index(x, width), to = clamp_index(x + n - 1, width) + 1;
    /* Columns of the result in front of the first pixel. */
    const int before = from - x > 0 ? from - x < n ? from - x : n - 1 : 0, count = to - from;
    const uint8_t *p = row + (int64_t)from * size;
    float *a = planes[0] + before, *b = planes[1] + before, *c = planes[2] + before;
    if (job->depth == DEPTH_U8) convert_uint8_t(p, job->channels, count, 1.0f, a, b, c);
    else if (job->depth == DEPTH_U16)
        convert_uint16_t((const uint16_t *)p, job->channels, count, 255.0f / 65535.0f, a, b, c);
    else convert_float((const float *)p, job->channels, count, 1.0f, a, b, c);
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < before; i++) planes[k][i] = planes[k][before];
        for (int i = before + count; i < n; i++) planes[k][i] = planes[k][before + count - 1];
    }
}

/* Means of 4 x 4 pixels for the coarse rows first..last. */
EXPORT void maskupe_clean_coarse(const Cleaning *job, int32_t first, int32_t last, float *scratch) {
    Scratch *s = (Scratch *)(((uintptr_t)scratch + LINE - 1) / LINE * LINE);
    const int64_t plane = (int64_t)job->coarse_rows * job->coarse_columns;
    float *planes[3] = {s->row[0], s->row[1], s->row[2]};
    for (int y = first; y < last; y++)
        for (int x = 0; x < job->coarse_columns; x += WIDE / 4) {
            const int n = job->coarse_columns - x < WIDE / 4 ? job->coarse_columns - x : WIDE / 4;
            memset(s->other, 0, sizeof s->other);
            for (int k = 0; k < 4; k++) {
                read_row(job, 4 * y + k, 4 * x, 4 * n, planes);
                for (int c = 0; c < 3; c++)
                    for (int i = 0; i < 4 * n; i++) s->other[c][i] += s->row[c][i];
            }
            for (int c = 0; c < 3; c++) {
                float *to = (float *)job->coarse + c * plane + (int64_t)y * job->coarse_columns + x;
                const float *from = s->other[c];
                for (int i = 0; i < n; i++)
                    to[i] = (1.0f / 16.0f) * (from[4 * i] + from[4 * i + 1] + from[4 * i + 2] +
                                              from[4 * i + 3]);
            }
        }
}

/* What shrinking changes in coarse Cr and Cb, for the coarse rows first..last; `first` is a multiple
 * of 4. */
EXPORT void maskupe_clean_correct(const Cleaning *job, int32_t first, int32_t last,
                                  float *scratch) {
    Scratch *s = (Scratch *)(((uintptr_t)scratch + LINE - 1) / LINE * LINE);
    const int width = job->coarse_columns, height = job->coarse_rows;
    const int64_t plane = (int64_t)height * width;
    memset(s->in, 0, sizeof s->in);
    for (int y0 = first; y0 < last; y0 += TALL)
        for (int x0 = 0; x0 < width; x0 += WIDE) {
            const int rows = last - y0 < TALL ? last - y0 : TALL;
            const int columns = width - x0 < WIDE ? width - x0 : WIDE;
            const int tall = (rows + 3) / 4 * 4 + 2 * HALO, wide = (columns + 3) / 4 * 4 + 2 * HALO;
            for (int c = 0; c < 3; c++)
                for (int y = 0; y < tall; y++) {
                    const float *row = job->coarse + c * plane +
                                       (int64_t)clamp_index(y0 - HALO + y, height) * width;
                    for (int x = 0; x < wide; x++)
                        s->row[0][x] = row[clamp_index(x0 - HALO + x, width)];
                    part_row(s->row[0], wide, s->in[c][y]);
                }
            shrink_tile(job, 2, tall, wide, s);
            for (int c = 1; c < 3; c++)
                for (int y = 0; y < rows; y++) {
                    const int64_t at = (int64_t)(y0 + y) * width + x0;
                    float *to = job->correction + (c - 1) * plane + at;
                    for (int x = 0; x < columns; x++) {
                        const int i = ((x + HALO) & 3) * PART + (x + HALO) / 4;
                        to[x] = s->out[c][y + HALO][i] - s->in[c][y + HALO][i];
                    }
                }
        }
}

/* Twice as many values as bilinear interpolation finds between two rows: rows and columns y and x of
 * the finer grid lie at (y - 0.5) / 2 of the coarser. */
INLINE void between_rows(const float *low, const float *high, float part, int n, float *restrict to) {
    for (int i = 0; i < n; i++) to[i] = low[i] + part * (high[i] - low[i]);
}

/* Fills s->change of the tile's surroundings. */
STAGE void correct_half(const Cleaning *job, int y0, int x0, int rows, int columns, Scratch *s) {
    const int half_width = (job->width + 1) / 2, half_height = (job->height + 1) / 2;
    const int tall = rows / 2 + 2 * HALF_HALO, wide = columns / 2 + 2 * HALF_HALO;
    const int top = y0 / 2 - HALF_HALO, left = x0 / 2 - HALF_HALO;
    const int64_t plane = (int64_t)job->coarse_rows * job->coarse_columns;
    float *planes[2][3] = {{s->row[0], s->row[1], s->row[2]},
                           {s->other[0], s->other[1], s->other[2]}};
    for (int y = 0; y < tall; y++) {
        const int at = clamp_index(top + y, half_height);
        for (int k = 0; k < 2; k++) read_row(job, 2 * at + k, 2 * left, 2 * wide, planes[k]);
        for (int c = 0; c < 3; c++)
            for (int x = 0; x < wide; x++)
                s->half[c][y][x] = 0.25f * (s->row[c][2 * x] + s->row[c][2 * x + 1] +
                                            s->other[c][2 * x] + s->other[c][2 * x + 1]);
        for (int c = 0; c < 3; c++) {
            float *half = s->half[c][y];
            for (int x = 0; x < -left; x++) half[x] = half[-left];
            for (int x = half_width - left; x < wide; x++) half[x] = half[half_width - left - 1];
        }
        /* From a quarter to a half. */
        const int low = (at + 1) / 2 - 1;
        const float part = at & 1 ? 0.25f : 0.75f;
        const int64_t above = (int64_t)clamp_index(low, job->coarse_rows) * job->coarse_columns;
        const int64_t below = (int64_t)clamp_index(low + 1, job->coarse_rows) * job->coarse_columns;
        for (int c = 0; c < 3; c++) {
            const float *from = c ? job->correction + (c - 1) * plane : job->near;
            float *to = s->change[c][y];
            for (int x = 0; x < wide; x++) {
                const int column = clamp_index(left + x, half_width), near = (column + 1) / 2 - 1;
                const int a = clamp_index(near, job->coarse_columns);
                const int b = clamp_index(near + 1, job->coarse_columns);
                const float across = column & 1 ? 0.25f : 0.75f;
                const float up = from[above + a] + across * (from[above + b] - from[above + a]);
                const float down = from[below + a] + across * (from[below + b] - from[below + a]);
                to[x] = up + part * (down - up);
            }
        }
    }
    for (int y = 0; y < tall; y++)
        for (int c = 0; c < 3; c++) {
            for (int x = 0; x < wide; x++)
                s->row[0][x] = s->half[c][y][x] + (c ? s->change[c][y][x] : 0.0f);
            part_row(s->row[0], wide, s->in[c][y]);
        }
    shrink_tile(job, 1, tall, wide, s);
    for (int c = 1; c < 3; c++)
        for (int y = HALO; y < tall - HALO; y++)
            for (int x = HALO; x < wide - HALO; x++)
                s->change[c][y][x] = s->out[c][y][(x & 3) * PART + x / 4] - s->half[c][y][x];
}

/* The half-size planes at the columns x0 - HALO + x of row y, in s->row. */
STAGE void spread_row(const Cleaning *job, int y, int y0, int x0, int wide, Scratch *s) {
    const int half_width = (job->width + 1) / 2, half_height = (job->height + 1) / 2;
    const int low = (y + 1 + 2 * HALO) / 2 - 1 - HALO; /* rounded down, also of y below 0 */
    const float part = y & 1 ? 0.25f : 0.75f;
    const int top = y0 / 2 - HALF_HALO, left = x0 / 2 - HALF_HALO;
    const int above = clamp_index(low, half_height) - top;
    const int below = clamp_index(low + 1, half_height) - top;
    const int half = wide / 2 + 2 * HALO; /* columns left + 4 .. that are valid */
    for (int c = 0; c < 3; c++) {
        float *between = s->other[c];
        between_rows(s->change[c][above] + HALO, s->change[c][below] + HALO, part, half - HALO,
                     between);
        /* Beyond the region its outermost corrections go on. */
        const int last = half_width - 1 - left - HALO;
        for (int i = last + 1; i < half - HALO; i++) between[i] = between[last];
        if (x0 == 0)
            for (int i = 0; i < HALO; i++) between[i] = between[HALO];
        for (int x = 0; x < wide; x += 2) {
            /* Column x0 - 4 + x, even, lies a quarter before the middle of its half column. */
            const float *p = between + x / 2 + 2;
            s->row[c][x] = p[-1] + 0.75f * (p[0] - p[-1]);
            s->row[c][x + 1] = p[0] + 0.25f * (p[1] - p[0]);
        }
    }
}

INLINE float amount_at(const Cleaning *job, float luma) {
    const float place = at_most(at_least(luma, 0.0f), 254.999f);
    const int k = (int)place;
    return job->amount[k] + (place - (float)k) * (job->amount[k + 1] - job->amount[k]);
}

/* Whether any of these pixels may be changed: some are selected, and some are dark. */
STAGE int any_amount(const Cleaning *job, int y0, int x0, int rows, int columns, Scratch *s) {
    float *planes[3] = {s->row[0], s->row[1], s->row[2]};
    const int last = job->height - y0 < rows ? job->height : y0 + rows;
    const int wide = job->width - x0 < columns ? job->width - x0 : columns;
    const int top = y0 < job->top ? job->top : y0, before = x0 < job->left ? job->left - x0 : 0;
    int selected = 0;
    for (int y = top; y < last && !selected; y++) {
        const uint8_t *row = job->coverage + (y - job->top) * job->coverage_stride;
        const uint16_t *p = (const uint16_t *)row + (x0 - job->left);
        for (int x = before; x < wide; x++) selected |= p[x];
    }
    if (!selected) return 0;
    for (int y = top; y < last; y++) {
        float least = 255.0f;
        read_row(job, y, x0, columns, planes);
        for (int x = 0; x < columns; x++) least = at_most(s->row[0][x], least);
        /* What is denoised may be darker than the pixel itself. */
        if (amount_at(job, least - 4.0f) > 0.0f) return 1;
    }
    return 0;
}

/* Writes a tile's rows first..last as r, g, b and the share of the effect, in 0..1. */
STAGE void write_tile(const Cleaning *job, int y0, int x0, int first, int last, int columns, int clean,
                      float *out, int64_t out_floats, Scratch *s) {
    const int before = x0 < job->left ? job->left - x0 : 0;
    float *planes[3] = {s->other[0], s->other[1], s->other[2]};
    for (int y = first; y < last; y++, out += out_floats) {
        if (clean) spread_row(job, y, y0, x0, columns + 2 * HALO, s);
        read_row(job, y, x0, columns, planes);
        float *to = out;
        for (int x = before; x < columns && x0 + x < job->width; x++, to += 4) {
            const float luma = s->other[0][x], red = s->other[1][x], blue = s->other[2][x];
            float l = luma, r = red, b = blue, lift = 1.0f;
            if (clean) {
                const int i = ((x + HALO) & 3) * PART + (x + HALO) / 4, row = y - y0 + HALO;
                l = s->out[0][row][i];
                const float share = amount_at(job, l), near = s->row[0][x + HALO];
                const float light = at_least(at_least(near, 0.5f * l), 0.0f);
                const float signal = light * light + 1e-6f;
                const float dim = signal * signal / (signal * signal + job->black);
                const float hue = signal / (signal + job->neutral);
                lift = 1.0f + share * (dim - 1.0f);
                l = luma + share * (l - luma);
                r = red + share * (hue * s->out[1][row][i] - red);
                b = blue + share * (hue * s->out[2][row][i] - blue);
            }
            to[0] = clamp01((l + 1.402f * r) * (1.0f / 255.0f));
            to[1] = clamp01((l - 0.714136f * r - 0.344136f * b) * (1.0f / 255.0f));
            to[2] = clamp01((l + 1.772f * b) * (1.0f / 255.0f));
            to[3] = lift;
        }
    }
}

/* The rows first..last without noise: (last - first, the region's width, 4) in 0..1, r, g, b and how much of
 * the effect they are to take. Returns whether any pixel
 * may have changed. */
EXPORT int32_t maskupe_clean(const Cleaning *job, int32_t first, int32_t last, float *out,
                             float *scratch) {
    Scratch *s = (Scratch *)(((uintptr_t)scratch + LINE - 1) / LINE * LINE);
    const int64_t out_floats = 4 * (int64_t)(job->width - job->left);
    int32_t any = 0;
    memset(s->in, 0, sizeof s->in);
    for (int y0 = first / 8 * 8; y0 < last; y0 += TALL) {
        const int from = y0 > first ? y0 : first, to = last - y0 < TALL ? last : y0 + TALL;
        const int rows = (to - y0 + 7) / 8 * 8;
        for (int x0 = 0; x0 < job->width; x0 += WIDE) {
            const int left = job->width - x0;
            const int columns = left < WIDE ? (left + 7) / 8 * 8 : WIDE;
            const int clean = any_amount(job, y0, x0, rows, columns, s);
            any |= clean;
            if (clean) {
                correct_half(job, y0, x0, rows, columns, s);
                const int wide = columns + 2 * HALO;
                float *planes[3] = {s->other[0], s->other[1], s->other[2]};
                for (int y = 0; y < rows + 2 * HALO; y++) {
                    spread_row(job, y0 - HALO + y, y0, x0, wide, s);
                    read_row(job, y0 - HALO + y, x0 - HALO, wide, planes);
                    for (int c = 0; c < 3; c++) {
                        for (int x = 0; c && x < wide; x++) s->other[c][x] += s->row[c][x];
                        part_row(s->other[c], wide, s->in[c][y]);
                    }
                }
                shrink_tile(job, 0, rows + 2 * HALO, wide, s);
            }
            const int column = x0 < job->left ? 0 : x0 - job->left;
            write_tile(job, y0, x0, from, to, columns, clean, out + (from - first) * out_floats +
                       4 * (int64_t)column, out_floats, s);
        }
    }
    return any;
}
