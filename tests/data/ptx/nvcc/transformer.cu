/* transformer.cu - kernels such as language models are made of, in the CUDA C that people write.
 *
 * Shapes are given by the launch; every kernel works on float32, row-major.
 */

/* C = A B, 64 x 64 tiles through shared memory, 4 x 4 to a thread, 256 threads; M and N are
 * multiples of 64, K of 16. */
extern "C" __global__ void __launch_bounds__(256)
    sgemm(const float *__restrict__ a, const float *__restrict__ b, float *c, int m, int n, int k)
{
    __shared__ float as[16][64];
    __shared__ float bs[16][64];
    int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    int row = blockIdx.y * 64, col = blockIdx.x * 64;
    float acc[4][4] = {};

    (void)m;
    for (int k0 = 0; k0 < k; k0 += 16) {
        int ar = threadIdx.x / 4, ac = threadIdx.x % 4 * 4;
        float4 v = *(const float4 *)&a[(row + ar) * k + k0 + ac];

        as[ac][ar] = v.x;
        as[ac + 1][ar] = v.y;
        as[ac + 2][ar] = v.z;
        as[ac + 3][ar] = v.w;
        *(float4 *)&bs[ty][tx * 4] = *(const float4 *)&b[(k0 + ty) * n + col + tx * 4];
        __syncthreads();
#pragma unroll
        for (int kk = 0; kk < 16; kk++) {
            float4 x = *(float4 *)&as[kk][ty * 4], y = *(float4 *)&bs[kk][tx * 4];
            float xs[4] = {x.x, x.y, x.z, x.w}, ys[4] = {y.x, y.y, y.z, y.w};

#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++)
                    acc[i][j] += xs[i] * ys[j];
        }
        __syncthreads();
    }
    for (int i = 0; i < 4; i++)
        *(float4 *)&c[(row + ty * 4 + i) * n + col + tx * 4] =
            make_float4(acc[i][0], acc[i][1], acc[i][2], acc[i][3]);
}

/* The sum of one value of each thread of the block, for all of them. */
__device__ float block_sum(float v)
{
    __shared__ float partial[32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;

    for (int d = 16; d > 0; d /= 2)
        v += __shfl_xor_sync(0xffffffff, v, d);
    if (lane == 0)
        partial[warp] = v;
    __syncthreads();
    v = lane < blockDim.x / 32 ? partial[lane] : 0.0f;
    for (int d = 16; d > 0; d /= 2)
        v += __shfl_xor_sync(0xffffffff, v, d);
    __syncthreads();
    return v;
}

__device__ float block_max(float v)
{
    extern __shared__ float wide[];

    wide[threadIdx.x] = v;
    __syncthreads();
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half)
            wide[threadIdx.x] = fmaxf(wide[threadIdx.x], wide[threadIdx.x + half]);
        __syncthreads();
    }
    v = wide[0];
    __syncthreads();
    return v;
}

/* A block for each row. */
extern "C" __global__ void layernorm(float *out, const float *in, const float *gain,
                                     const float *bias, int columns, float epsilon)
{
    const float *row = in + blockIdx.x * columns;
    float sum = 0, squares = 0;

    for (int i = threadIdx.x; i < columns; i += blockDim.x)
        sum += row[i];
    float mean = block_sum(sum) / columns;
    for (int i = threadIdx.x; i < columns; i += blockDim.x)
        squares += (row[i] - mean) * (row[i] - mean);
    float scale = rsqrtf(block_sum(squares) / columns + epsilon);
    for (int i = threadIdx.x; i < columns; i += blockDim.x)
        out[blockIdx.x * columns + i] = (row[i] - mean) * scale * gain[i] + bias[i];
}

extern "C" __global__ void softmax(float *rows, int columns)
{
    float *row = rows + blockIdx.x * columns;
    float most = -INFINITY, sum = 0;

    for (int i = threadIdx.x; i < columns; i += blockDim.x)
        most = fmaxf(most, row[i]);
    most = block_max(most);
    for (int i = threadIdx.x; i < columns; i += blockDim.x)
        sum += __expf(row[i] - most);
    sum = block_sum(sum);
    for (int i = threadIdx.x; i < columns; i += blockDim.x)
        row[i] = __expf(row[i] - most) / sum;
}

extern "C" __global__ void gelu(float *out, const float *in, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;

    if (i < n)
        out[i] = 0.5f * in[i] * (1.0f + erff(in[i] * 0.70710678f));
}

extern "C" __global__ void gelu_tanh(float *out, const float *in, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;

    if (i < n)
        out[i] = 0.5f * in[i] *
                 (1.0f + tanhf(0.79788456f * (in[i] + 0.044715f * in[i] * in[i] * in[i])));
}

extern "C" __global__ void silu(float *data, int n)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        data[i] = data[i] / (1.0f + expf(-data[i]));
}

/* Rotary positions: pairs (i, i + half) of a row turned by position * base^(-i / half). */
extern "C" __global__ void rotate(float *rows, int half, float log2_base)
{
    float *row = rows + blockIdx.x * 2 * half;

    for (int i = threadIdx.x; i < half; i += blockDim.x) {
        float angle = blockIdx.x * exp2f(-log2_base * i / half), s, c;
        float x = row[i], y = row[i + half];

        sincosf(angle, &s, &c);
        row[i] = x * c - y * s;
        row[i + half] = x * s + y * c;
    }
}

extern "C" __global__ void embed(float4 *out, const float4 *table, const int *ids, int quads)
{
    for (int i = threadIdx.x; i < quads; i += blockDim.x)
        out[blockIdx.x * quads + i] = table[(long long)ids[blockIdx.x] * quads + i];
}
