/* nvrtc_kernels.cu - what people write in CUDA C, for NVRTC; nvrtc_kernels.py runs and checks it.
 *
 * Every kernel works on arrays of N elements, one thread each, unless it says otherwise.
 */
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <mma.h>

typedef unsigned int u32;
typedef unsigned long long u64;

#define FULL 0xffffffffu

template <typename T> struct plus {
    __device__ T operator()(T a, T b) const { return a + b; }
};

template <typename T> struct largest {
    __device__ T operator()(T a, T b) const { return a > b ? a : b; }
};

template <typename T, typename Op> __device__ T warp_reduce(T value, Op op)
{
    for (int offset = 16; offset; offset >>= 1)
        value = op(value, __shfl_xor_sync(FULL, value, offset));
    return value;
}

/* Blocks of 1024 threads at most, whole warps. */
template <typename T, typename Op> __device__ T block_reduce(T value, Op op, T identity)
{
    __shared__ T partial[32];
    u32 lane = threadIdx.x & 31, warp = threadIdx.x >> 5;

    value = warp_reduce(value, op);
    __syncthreads();
    if (lane == 0)
        partial[warp] = value;
    __syncthreads();
    value = lane < blockDim.x / 32 ? partial[lane] : identity;
    return warp_reduce(value, op);
}

/* One block sums all: out[0]; the largest goes to out[1]. */
template <typename T> __device__ void reduce_all(const T *in, T *out, u32 n)
{
    T sum = 0, most = in[0];

    for (u32 i = threadIdx.x; i < n; i += blockDim.x) {
        sum += in[i];
        most = largest<T>()(most, in[i]);
    }
    sum = block_reduce(sum, plus<T>(), T(0));
    most = block_reduce(most, largest<T>(), in[0]);
    if (threadIdx.x == 0) {
        out[0] = sum;
        out[1] = most;
    }
}

extern "C" {

__global__ void reduce_float(const float *in, float *out, u32 n) { reduce_all(in, out, n); }
__global__ void reduce_double(const double *in, double *out, u32 n) { reduce_all(in, out, n); }
__global__ void reduce_int(const int *in, int *out, u32 n) { reduce_all(in, out, n); }
__global__ void reduce_u64(const u64 *in, u64 *out, u32 n) { reduce_all(in, out, n); }

/* A block for each row. */
__global__ void softmax(const float *in, float *out, u32 columns)
{
    const float *row = in + (size_t)blockIdx.x * columns;
    float most = row[0], sum = 0;

    for (u32 i = threadIdx.x; i < columns; i += blockDim.x)
        most = fmaxf(most, row[i]);
    most = block_reduce(most, largest<float>(), row[0]);
    for (u32 i = threadIdx.x; i < columns; i += blockDim.x)
        sum += __expf(row[i] - most);
    sum = block_reduce(sum, plus<float>(), 0.0f);
    for (u32 i = threadIdx.x; i < columns; i += blockDim.x)
        out[(size_t)blockIdx.x * columns + i] = expf(row[i] - most) / sum;
}

/* Inclusive, within each block. */
__global__ void scan(const int *in, int *out)
{
    __shared__ int totals[32];
    u32 i = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x & 31;
    int value = in[i];

    for (u32 offset = 1; offset < 32; offset <<= 1) {
        int left = __shfl_up_sync(FULL, value, offset);
        if (lane >= offset)
            value += left;
    }
    if (lane == 31)
        totals[threadIdx.x >> 5] = value;
    __syncthreads();
    for (u32 w = 0; w < threadIdx.x >> 5; w++)
        value += totals[w];
    out[i] = value;
}

/* counts has 16 bins of its block, then 16 of all. */
__global__ void histogram(const int *in, u32 *counts)
{
    __shared__ u32 bins[16];

    if (threadIdx.x < 16)
        bins[threadIdx.x] = 0;
    __syncthreads();
    atomicAdd(&bins[in[blockIdx.x * blockDim.x + threadIdx.x] & 15], 1u);
    __syncthreads();
    if (threadIdx.x < 16)
        atomicAdd(&counts[threadIdx.x], bins[threadIdx.x]);
}

__global__ void atomics(const int *in, int *words, u64 *wide, float *floats, double *doubles)
{
    u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    int v = in[i];

    atomicAdd(&words[0], v);
    atomicSub(&words[1], v);
    atomicMin(&words[2], v);
    atomicMax(&words[3], v);
    atomicAnd(&words[4], v);
    atomicOr(&words[5], v);
    atomicXor(&words[6], v);
    atomicInc((u32 *)&words[7], 1000u);
    atomicDec((u32 *)&words[8], 1000u);
    if (atomicCAS(&words[9], 0, 1) == 0)
        atomicExch(&words[10], 77);
    atomicAdd(&wide[0], (u64)(u32)v << 20);
    atomicMax(&wide[1], (u64)(u32)v << 20 | i); /* the position of the largest */
    atomicXor(&wide[2], (u64)i << 32);
    atomicAdd(&floats[0], (float)v);
    atomicAdd(&doubles[0], (double)v);
}

/* float4 loads and stores; n is in float4. */
__global__ void reverse_quads(const float4 *in, float4 *out, u32 n)
{
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        float4 v = in[i];
        out[n - 1 - i] = make_float4(v.w, v.z, v.y, v.x);
    }
}

__global__ void pack_bytes(const uchar4 *in, ushort2 *out, char2 *small)
{
    u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    uchar4 v = in[i];

    out[i] = make_ushort2(v.x * v.y, v.z + v.w);
    small[i] = make_char2(v.x - v.w, v.y ^ v.z);
}

__global__ void choose(const int *in, int *out)
{
    u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    int v = in[i];

    switch (v & 15) {
    case 0: v = 7; break;
    case 1: v *= 3; break;
    case 2: v -= 9; /* and on */
    case 3: v ^= 0x55; break;
    case 4: v <<= 2; break;
    case 5: v = -v; break;
    case 6: v /= 3; break;
    case 7: v %= 7; break;
    case 8: v |= 64; break;
    case 9: v = v * v; break;
    case 10: v >>= 3; break;
    default: v = -1;
    }
    out[i] = v;
}

/* An array with computed indices, which lies in local memory; sorts 16 values by insertion. */
__global__ void sort_local(const int *in, int *out)
{
    u32 first = (blockIdx.x * blockDim.x + threadIdx.x) * 16;
    int a[16];

    for (int i = 0; i < 16; i++) {
        int v = in[first + i], at = i;
        while (at > 0 && a[at - 1] > v) {
            a[at] = a[at - 1];
            at--;
        }
        a[at] = v;
    }
    for (int i = 0; i < 16; i++)
        out[first + i] = a[i];
}

__device__ __noinline__ u32 ackermann(u32 m, u32 n)
{
    return m == 0 ? n + 1 : ackermann(m - 1, n == 0 ? 1 : ackermann(m, n - 1));
}

__device__ __noinline__ int twice(int x) { return 2 * x; }
__device__ __noinline__ int square(int x) { return x * x; }
__device__ int (*const functions[2])(int) = {twice, square};

__global__ void calls(const int *in, int *out)
{
    u32 i = blockIdx.x * blockDim.x + threadIdx.x;

    out[i] = functions[in[i] & 1](in[i]) + (int)ackermann(2, in[i] & 7);
}

__global__ void integers(const u32 *a, const u32 *b, u32 *out, u64 *wide)
{
    u32 i = blockIdx.x * blockDim.x + threadIdx.x, x = a[i], y = b[i];
    u64 w = (u64)x << 32 | y;

    x += __popc(y) + __clz(y) + __ffs(y);
    x ^= __brev(y) + __byte_perm(x, y, 0x3160);
    x += __umulhi(x, y) ^ __funnelshift_l(x, y, 7) ^ __funnelshift_r(x, y, 9);
    x += __usad(x, y, 5) + __uhadd(x, y) + x / (y | 1) + x % (y | 1);
    x = (u32)__dp4a((int)x, (int)y, (int)a[i]);
    x ^= (u32)((int)x >> 5) + (u32)max((int)x, (int)y) + min(x, y);
    out[i] = x;
    w += __popcll(w) + __clzll(w) + __ffsll((long long)w);
    w ^= __brevll(w) + __umul64hi(w, 0x123456789abcdefull);
    w += w / (y | 1) + w % (x | 1) + (u64)((long long)w >> (y & 63));
    wide[i] = w;
}

__global__ void votes(const int *in, u32 *out)
{
    u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    int v = in[i];

    u32 odd = __ballot_sync(FULL, v & 1), same = 0;
    out[5 * i] = odd;
    out[5 * i + 1] = (u32)__any_sync(FULL, v == 3) << 1 | (u32)__all_sync(FULL, v > -5000);
    out[5 * i + 2] = __match_any_sync(FULL, v & 3);
    out[5 * i + 3] = (u32)__shfl_sync(FULL, v, 5, 8) ^ (u32)__shfl_down_sync(FULL, v, 3);
    if (v & 1)
        same = __popc(__activemask() & odd);
    out[5 * i + 4] = same <= __popc(odd) ? (u32)__syncthreads_count(v & 1) : 0;
}

__constant__ float weights[4] = {0.5f, -1.0f, 2.0f, 0.25f};
__device__ float bias[4] = {1, 2, 3, 4};
__device__ u32 turns;

__global__ void globals(const float *in, float *out)
{
    u32 i = blockIdx.x * blockDim.x + threadIdx.x;

    out[i] = in[i] * weights[i & 3] + bias[in[i] > 0 ? 3 : 0];
    atomicAdd(&turns, 1u);
}

/* C = A * B, each n by n, n a multiple of 16; two tiles in dynamic shared memory. */
__global__ void __launch_bounds__(256) matmul(const float *a, const float *b, float *c, u32 n)
{
    extern __shared__ float tile[];
    float *left = tile, *right = tile + 256, sum = 0;
    u32 x = threadIdx.x, y = threadIdx.y;
    u32 row = blockIdx.y * 16 + y, column = blockIdx.x * 16 + x;

    for (u32 k = 0; k < n; k += 16) {
        left[y * 16 + x] = a[row * n + k + x];
        right[y * 16 + x] = b[(k + y) * n + column];
        __syncthreads();
#pragma unroll
        for (u32 j = 0; j < 16; j++)
            sum += left[y * 16 + j] * right[j * 16 + x];
        __syncthreads();
    }
    c[row * n + column] = sum;
}

struct filter {
    int taps;
    float tap[5];
    double scale;
    const float *in;
    char offset[3];
};

__global__ void by_value(struct filter f, float *out, u32 n)
{
    u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    double sum = 0;

    for (int k = 0; k < f.taps; k++)
        sum += f.tap[k] * f.in[(i + k) % n];
    out[i] = (float)(sum * f.scale) + f.offset[i % 3];
}

/* The library's functions: long stretches of arithmetic, of which each bit may differ a little. */
__global__ void library(const float *in, float *out, double *wide)
{
    u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    float x = in[i], s, c;
    double d = x;

    sincosf(x, &s, &c);
    out[8 * i] = s + 2 * c;
    out[8 * i + 1] = expf(x) + log1pf(fabsf(x));
    out[8 * i + 2] = tanhf(x) * erff(x);
    out[8 * i + 3] = powf(fabsf(x) + 0.5f, 1.7f);
    out[8 * i + 4] = fmodf(x, 0.375f) + rsqrtf(x * x + 1);
    out[8 * i + 5] = roundf(x) + floorf(x) * 2 + truncf(x) * 4 + rintf(x) * 8;
    out[8 * i + 6] = atan2f(x, 2) + cbrtf(x);
    out[8 * i + 7] = __fdividef(x, 3) + __fmaf_rz(x, x, 1) + lgammaf(x * x + 0.5f);
    wide[4 * i] = sin(d) + exp(d);
    wide[4 * i + 1] = log(d * d + 1) + tanh(d);
    wide[4 * i + 2] = pow(fabs(d) + 0.5, -2.5) + erf(d);
    wide[4 * i + 3] = sqrt(d * d + 2) / (1 + fabs(d)) + atan(d);
}

__global__ void conversions(const float *in, int *out, long long *wide, double *doubles)
{
    u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    float x = in[i];

    out[4 * i] = __float2int_rn(x);
    out[4 * i + 1] = __float2int_ru(x) * 1000 + __float2int_rd(x);
    out[4 * i + 2] = (signed char)(int)x + (unsigned short)(int)x;
    out[4 * i + 3] = __float_as_int(x) >> 16;
    wide[i] = __float2ll_rz(x * 1e6f) + __double_as_longlong(x);
    doubles[i] = __int2double_rn(out[4 * i]) + __uint2double_rn(i) + __ll2double_rn(wide[i] >> 40);
}

/* n in half2; y = a * x + y in half, and the exponential of that in float. */
__global__ void half_axpy(const __half2 *x, __half2 *y, float *out, __half a)
{
    u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    __half2 v = __hfma2(__half2half2(a), x[i], y[i]);

    y[i] = v;
    out[2 * i] = __half2float(hexp(__low2half(v)));
    out[2 * i + 1] = __half2float(__hadd(__high2half(v), __hneg(a)));
}

__global__ void half_misc(const __half *x, const __half *y, __half *out, int *ints)
{
    u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    __half a = x[i], b = y[i];

    out[4 * i] = __hmul(a, b);
    out[4 * i + 1] = a < b ? __hmax(a, __hneg(b)) : __hsub(a, b);
    out[4 * i + 2] = __hadd_sat(a, b);
    out[4 * i + 3] = __float2half_rz(__half2float(a) / 3);
    ints[i] = __half2int_rn(a) * 100 + __half2int_rd(b) + (__hisnan(a) ? 1000 : 0);
}

/* A row of 256 for each block: x / sqrt(mean of squares) * weight, in bfloat16. */
__global__ void rms_norm(const __nv_bfloat16 *x, const __nv_bfloat16 *weight, __nv_bfloat16 *out)
{
    u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    float v = __bfloat162float(x[i]);
    float sum = block_reduce(v * v, plus<float>(), 0.0f);

    v *= rsqrtf(sum / blockDim.x + 1e-6f);
    out[i] = __float2bfloat16(v * __bfloat162float(weight[threadIdx.x]));
}

/* The weights of a layer larger than most of the rest: out[row] = sum of row of w times x. A warp for
 * each row, n columns, n a multiple of 128. */
__global__ void matvec(const float4 *w, const float4 *x, float *out, u32 n)
{
    u32 row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    float sum = 0;

    for (u32 i = threadIdx.x & 31; i < n / 4; i += 32) {
        float4 a = __ldg(&w[(size_t)row * (n / 4) + i]), b = x[i];
        sum += a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w;
    }
    sum = warp_reduce(sum, plus<float>());
    if ((threadIdx.x & 31) == 0)
        out[row] = sum;
}

/* C = A * B, each n by n, by a warp for each 16 by 16 of C. */
__global__ void tensor_cores(const __half *a, const __half *b, float *c, u32 n)
{
    using namespace nvcuda::wmma;
    fragment<matrix_a, 16, 16, 16, __half, row_major> left;
    fragment<matrix_b, 16, 16, 16, __half, row_major> right;
    fragment<accumulator, 16, 16, 16, float> sum;
    u32 row = blockIdx.y * 16, column = blockIdx.x * 16;

    fill_fragment(sum, 0.0f);
    for (u32 k = 0; k < n; k += 16) {
        load_matrix_sync(left, a + row * n + k, n);
        load_matrix_sync(right, b + k * n + column, n);
        mma_sync(sum, left, right, sum);
    }
    for (u32 i = 0; i < sum.num_elements; i++)
        sum.x[i] *= 2;
    store_matrix_sync(c + row * n + column, sum, n, mem_row_major);
}

__global__ void parts(const u32 *a, const u32 *b, u32 *out)
{
    u32 i = blockIdx.x * blockDim.x + threadIdx.x, x = a[i], y = b[i];

    out[4 * i] = __vabsdiffu4(x, y);
    out[4 * i + 1] = __vsads4(x, y) + __vsadu2(x, y);
    out[4 * i + 2] = __vmaxu4(x, y) ^ __vadd2(x, y);
    out[4 * i + 3] = __vcmpgtu4(x, y) ^ __vavgu4(x, y);
}

__global__ void bytes(const float *in, unsigned char *e4m3, unsigned char *e5m2, float *back)
{
    u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    __nv_fp8_e4m3 small(in[i]);
    __nv_fp8_e5m2 wide(in[i] * 64);

    e4m3[i] = small.__x;
    e5m2[i] = wide.__x;
    back[i] = float(small) + float(wide);
}

/* What devices from 9.0 and 10.0 on have instructions for. */
__global__ void pairs(const float2 *a, const float2 *b, float2 *out, float4 *sums)
{
    u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    float2 x = a[i], y = b[i];

#if __CUDA_ARCH__ >= 1000
    x = __ffma2_rn(__fadd2_rn(x, y), y, __fmul2_rn(x, x));
#else
    x = make_float2((x.x + y.x) * y.x + x.x * x.x, (x.y + y.y) * y.y + x.y * x.y);
#endif
    out[i] = x;
#if __CUDA_ARCH__ >= 900
    atomicAdd(&sums[i & 1], make_float4(x.x, x.y, y.x, y.y));
#else
    atomicAdd(&sums[i & 1].x, x.x);
    atomicAdd(&sums[i & 1].y, x.y);
    atomicAdd(&sums[i & 1].z, y.x);
    atomicAdd(&sums[i & 1].w, y.y);
#endif
}

}
