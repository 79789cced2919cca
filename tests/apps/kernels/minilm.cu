/* minilm.cu - the kernels of the MiniLM sentence encoder: one sentence, float32, row-major
 * throughout.
 *
 * A row is a token. Every sum is taken in an order that depends on the shapes alone, never on the
 * grid, on timing or on an address, so equal inputs give equal bits. Rows are multiples of four
 * floats long and start at addresses that are multiples of 16 bytes.
 */
#include "device.h"

#define WARP         32 /* threads of a block, but where a kernel says otherwise */
#define TILE         4  /* rows and columns that one thread of linear() computes */
#define TILES_WIDE   8  /* threads of a block of linear(), in x and y */
#define TILES_HIGH   4
#define POOL_THREADS 128

#define NO_ACTIVATION   0
#define GELU_ACTIVATION 1

#define LOG2_E    1.44269504f
#define LN_2_HI   0.693359375f      /* ln 2 to nine bits, so that n * LN_2_HI is exact */
#define LN_2_LO   (-2.12194440e-4f) /* and the rest of it */
#define SQRT_HALF 0.707106781f

/* e to the x for x <= 0, to about 1e-7 relative; what would be subnormal is 0.
 *
 * e^x = 2^n e^r with n the nearest integer to x / ln 2 and |r| <= ln 2 / 2, where the Taylor series
 * to the seventh power is exact to a float.
 */
DEVICE float exp_negative(float x)
{
    union {
        u32 bits;
        float value;
    } power;
    float r, series;
    int n;

    if (x < -87.0f)
        return 0.0f;
    n = (int)(x * LOG2_E - 0.5f);
    r = x - (float)n * LN_2_HI;
    r = r - (float)n * LN_2_LO;
    series = 1.0f / 5040.0f;
    series = series * r + 1.0f / 720.0f;
    series = series * r + 1.0f / 120.0f;
    series = series * r + 1.0f / 24.0f;
    series = series * r + 1.0f / 6.0f;
    series = series * r + 0.5f;
    series = series * r + 1.0f;
    series = series * r + 1.0f;
    power.bits = (u32)(n + 127) << 23;
    return series * power.value;
}

/* The error function, to 1.5e-7. source: Abramowitz and Stegun, formula 7.1.26 */
DEVICE float error_function(float x)
{
    float magnitude = x < 0.0f ? -x : x;
    float t = 1.0f / (1.0f + 0.3275911f * magnitude);
    float poly, result;

    poly = 1.061405429f;
    poly = poly * t - 1.453152027f;
    poly = poly * t + 1.421413741f;
    poly = poly * t - 0.284496736f;
    poly = poly * t + 0.254829592f;
    result = 1.0f - poly * t * exp_negative(-magnitude * magnitude);
    return x < 0.0f ? -result : result;
}

/* The sum of one float of each thread of a block of WARP threads, for all of them. */
DEVICE float warp_sum(float value)
{
    __shared__ float partial[WARP];
    float sum = 0.0f;

    BARRIER(); /* the last call's readers are done */
    partial[THREAD_X] = value;
    BARRIER();
    for (u32 t = 0; t < WARP; t++)
        sum += partial[t];
    return sum;
}

/* Normalise a row in place: mean 0, variance 1, then times gamma plus beta. For a block of WARP
 * threads, where each thread has written the columns that it reads.
 */
DEVICE void layer_norm(float *row, const float *gamma, const float *beta, float epsilon, u32 width)
{
    float sum = 0.0f, mean, scale;

    for (u32 c = THREAD_X; c < width; c += WARP)
        sum += row[c];
    mean = warp_sum(sum) / (float)width;
    sum = 0.0f;
    for (u32 c = THREAD_X; c < width; c += WARP)
        sum += (row[c] - mean) * (row[c] - mean);
    scale = 1.0f / __builtin_sqrtf(warp_sum(sum) / (float)width + epsilon);
    for (u32 c = THREAD_X; c < width; c += WARP)
        row[c] = (row[c] - mean) * scale * gamma[c] + beta[c];
}

/* out[t] = layer_norm(words[ids[t]] + positions[t] + types[0]): block t, WARP threads. */
KERNEL embed_tokens(float *out, const u32 *ids, const float *words, const float *positions,
                    const float *types, const float *gamma, const float *beta, float epsilon,
                    u32 width)
{
    const float *word = words + (u64)ids[BLOCK_X] * width;
    const float *position = positions + (u64)BLOCK_X * width;
    float *row = out + (u64)BLOCK_X * width;

    for (u32 c = THREAD_X; c < width; c += WARP)
        row[c] = word[c] + types[c] + position[c];
    layer_norm(row, gamma, beta, epsilon, width);
}

/* x[t] = layer_norm(x[t] + update[t]): block t, WARP threads. */
KERNEL add_norm(float *x, const float *update, const float *gamma, const float *beta, float epsilon,
                u32 width)
{
    float *row = x + (u64)BLOCK_X * width;

    for (u32 c = THREAD_X; c < width; c += WARP)
        row[c] = update[(u64)BLOCK_X * width + c] + row[c];
    layer_norm(row, gamma, beta, epsilon, width);
}

/* out = activation(in * transpose(weight) + bias)
 *
 * in [rows, depth], weight [cols, depth], bias [cols], out [rows, cols]. A thread computes TILE
 * rows by TILE columns straight from global memory, four steps of depth at a time; rows past the
 * end repeat the last one and are not stored. Block (TILES_WIDE, TILES_HIGH).
 */
KERNEL linear(float *out, const float *in, const float *weight, const float *bias, u32 rows,
              u32 cols, u32 depth, u32 activation)
{
    u32 col = (BLOCK_X * TILES_WIDE + THREAD_X) * TILE;
    u32 row = (BLOCK_Y * TILES_HIGH + THREAD_Y) * TILE;
    const float *a[TILE], *w[TILE];
    float sum[TILE][TILE];

    if (col >= cols || row >= rows)
        return;
    for (u32 i = 0; i < TILE; i++) {
        a[i] = in + (u64)(row + i < rows ? row + i : rows - 1) * depth;
        w[i] = weight + (u64)(col + i) * depth;
        for (u32 j = 0; j < TILE; j++)
            sum[i][j] = 0.0f;
    }
    for (u32 k = 0; k < depth; k += 4) {
        float4 x[TILE], y[TILE];

#pragma unroll
        for (u32 i = 0; i < TILE; i++) {
            x[i] = *(const float4 *)(a[i] + k);
            y[i] = *(const float4 *)(w[i] + k);
        }
#pragma unroll
        for (u32 i = 0; i < TILE; i++)
#pragma unroll
            for (u32 j = 0; j < TILE; j++) {
                sum[i][j] += x[i].x * y[j].x;
                sum[i][j] += x[i].y * y[j].y;
                sum[i][j] += x[i].z * y[j].z;
                sum[i][j] += x[i].w * y[j].w;
            }
    }
    for (u32 i = 0; i < TILE && row + i < rows; i++)
        for (u32 j = 0; j < TILE; j++) {
            float value = sum[i][j] + bias[col + j];

            if (activation == GELU_ACTIVATION)
                value = 0.5f * value * (1.0f + error_function(value * SQRT_HALF));
            out[(u64)(row + i) * cols + col + j] = value;
        }
}

/* out[t, head] = softmax(scale * query[t, head] . keys[*, head]) . values[*, head]
 *
 * query, keys, values, out [rows, width], the heads side by side in a row. Block (t, head), WARP
 * threads, rows floats of dynamic shared memory.
 */
KERNEL attention(float *out, const float *query, const float *keys, const float *values, u32 rows,
                 u32 width, u32 head_width, float scale)
{
    extern __shared__ float scores[];
    __shared__ float highest[WARP];
    u32 first = BLOCK_Y * head_width;
    const float *q = query + (u64)BLOCK_X * width + first;
    float peak = -3.0e38f, sum = 0.0f;

    for (u32 t = THREAD_X; t < rows; t += WARP) {
        const float *key = keys + (u64)t * width + first;
        float dot = 0.0f;

        for (u32 c = 0; c < head_width; c += 4) {
            float4 x = *(const float4 *)(q + c);
            float4 y = *(const float4 *)(key + c);

            dot += x.x * y.x;
            dot += x.y * y.y;
            dot += x.z * y.z;
            dot += x.w * y.w;
        }
        scores[t] = dot * scale;
        peak = dot * scale > peak ? dot * scale : peak;
    }
    highest[THREAD_X] = peak;
    BARRIER();
    for (u32 t = 0; t < WARP; t++)
        peak = highest[t] > peak ? highest[t] : peak;
    for (u32 t = THREAD_X; t < rows; t += WARP) {
        scores[t] = exp_negative(scores[t] - peak);
        sum += scores[t];
    }
    sum = warp_sum(sum);
    for (u32 c = THREAD_X; c < head_width; c += WARP) {
        float dot = 0.0f;

        for (u32 t = 0; t < rows; t++)
            dot += scores[t] * values[(u64)t * width + first + c];
        out[(u64)BLOCK_X * width + first + c] = dot / sum;
    }
}

/* out = the mean of the rows of x, scaled to length 1: one block of POOL_THREADS threads. */
KERNEL mean_pool(float *out, const float *x, u32 rows, u32 width)
{
    __shared__ float partial[POOL_THREADS];
    float squares = 0.0f, length = 0.0f;

    for (u32 c = THREAD_X; c < width; c += POOL_THREADS) {
        float sum = 0.0f;

        for (u32 t = 0; t < rows; t++)
            sum += x[(u64)t * width + c];
        out[c] = sum / (float)rows;
        squares += out[c] * out[c];
    }
    partial[THREAD_X] = squares;
    BARRIER();
    for (u32 t = 0; t < POOL_THREADS; t++)
        length += partial[t];
    length = __builtin_sqrtf(length);
    length = length > 1e-12f ? length : 1e-12f;
    for (u32 c = THREAD_X; c < width; c += POOL_THREADS)
        out[c] = out[c] / length;
}
