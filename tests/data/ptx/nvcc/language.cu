/* language.cu - corners of CUDA C: what nvcc makes of structs, calls, tables, halves, wide
 * integers. */
#include <cuda_bf16.h>
#include <cuda_fp16.h>

struct options {
    float scale;
    int offsets[5];
    double bias;
    char flags[3];
};

__constant__ float g_weights[8] = {1, 2, 3, 4, 5, 6, 7, 8};
__device__ int g_counter = 40;
__device__ float g_table[4] = {0.5f, 1.5f, 2.5f, 3.5f};
__device__ float *g_second = &g_table[1];

__device__ __noinline__ float apply(float x, options o, int i)
{
    return x * o.scale + o.offsets[i] + (float)o.bias + o.flags[i % 3];
}

extern "C" __global__ void by_value(float *out, options o, int n)
{
    int i = threadIdx.x;

    out[i] = apply(out[i], o, (i + n) % 5) + g_weights[(i + n) & 7] + g_second[i & 1];
    if (i == 0)
        atomicAdd(&g_counter, n);
    __syncthreads();
    if (i == 1)
        out[0] = g_counter;
}

__device__ __noinline__ int add3(int x)
{
    return x + 3;
}

__device__ __noinline__ int times5(int x)
{
    return x * 5;
}

__device__ int (*const g_functions[2])(int) = {add3, times5};

extern "C" __global__ void pointers_to_functions(int *out, int which)
{
    out[threadIdx.x] = g_functions[(which + threadIdx.x) % 2](threadIdx.x);
}

__device__ __noinline__ unsigned ackermann(unsigned m, unsigned n)
{
    if (m == 0)
        return n + 1;
    return ackermann(m - 1, n == 0 ? 1 : ackermann(m, n - 1));
}

extern "C" __global__ void recursion(unsigned *out)
{
    out[threadIdx.x] = ackermann(2, threadIdx.x);
}

extern "C" __global__ void cases(int *out, int n)
{
    int r, i = threadIdx.x;

    switch (i + n) {
    case 0:
        r = 17;
        break;
    case 1:
        r = i * 3;
        break;
    case 2:
        r = -n;
        break;
    case 3:
        r = 1 << i;
        break;
    case 4:
        r = n ^ 0x55;
        break;
    case 5:
        r = n % 7;
        break;
    case 6:
        r = __popc(n) + 100;
        break;
    default:
        r = -1;
        break;
    }
    out[i] = r;
}

extern "C" __global__ void local_array(int *out, int n)
{
    int values[32];

    for (int i = 0; i < 32; i++)
        values[i] = i * n + threadIdx.x;
    for (int i = 0; i < 31; i++) /* sorts downwards */
        for (int j = 0; j < 31 - i; j++)
            if (values[j] < values[j + 1]) {
                int t = values[j];

                values[j] = values[j + 1];
                values[j + 1] = t;
            }
    out[threadIdx.x] = values[n & 31];
}

extern "C" __global__ void integers(unsigned long long *out, unsigned long long seed, int d)
{
    unsigned long long x = seed + threadIdx.x;
    unsigned __int128 wide = (unsigned __int128)x * 0x9e3779b97f4a7c15ull;

    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdull;
    x = x / (unsigned)(d + 3) + x % (unsigned)(d + 5);
    x += (unsigned long long)(wide >> 64) ^ (unsigned long long)wide;
    x ^= (unsigned long long)__brevll(x) + __clzll(x) + __ffs((int)x);
    x += __byte_perm((unsigned)x, (unsigned)(x >> 32), 0x6035);
    x ^= __funnelshift_l((unsigned)x, (unsigned)(x >> 32), d);
    x += (long long)((int)x / (d - 7)) + (int)x % (d - 7) + __mulhi((int)x, d);
    out[threadIdx.x] = x;
}

extern "C" __global__ void halves(__half *h, __nv_bfloat16 *b, float *out, int n)
{
    int i = threadIdx.x;

    if (i >= n)
        return;
    float x = __half2float(h[i]), y = __bfloat162float(b[i]);
    __half2 pair = __halves2half2(h[i], __float2half(y));

    pair = __hfma2(pair, pair, __float2half2_rn(0.25f));
    h[i] = __hadd(__low2half(pair), __high2half(pair));
    b[i] = __float2bfloat16(x * y);
    out[i] =
        __half2float(__hmax(h[i], __float2half(1.0f))) + __half2float(__float2half_rz(x * 0.1f));
}

extern "C" __global__ void doubles(double *out, const double *in)
{
    double x = in[threadIdx.x];

    out[threadIdx.x] = sqrt(x) + exp(-x) / (1 + x * x) + fma(x, x, -1.0) + __drcp_rn(x + 2) +
                       (double)(long long)(x * 1000) + (float)x + floor(x) + log(x + 1);
}

extern "C" __global__ void warps(unsigned *out)
{
    unsigned i = threadIdx.x, lane = i % 32;
    unsigned all = __ballot_sync(0xffffffff, i & 1);
    unsigned same = __match_any_sync(0xffffffff, i / 4);
    unsigned up = __shfl_up_sync(0xffffffff, i, 3), first = __shfl_sync(0xffffffff, i, 2, 8);
    unsigned votes = __any_sync(0xffffffff, i == 5) + 2 * __all_sync(0xffffffff, i < 40);

    if (lane < 10)
        votes += __popc(__activemask()) * 8;
    __syncwarp();
    out[i] =
        all ^ same ^ up << 3 ^ first << 7 ^ votes << 11 ^ __syncthreads_count(i % 3 == 0) << 20;
}

extern "C" __global__ void atomics(unsigned *cells, float *sum, unsigned long long *wide)
{
    __shared__ unsigned shared_cell;
    unsigned i = threadIdx.x;

    if (i == 0)
        shared_cell = 0;
    __syncthreads();
    atomicAdd(&shared_cell, i);
    atomicMax(&cells[0], i);
    atomicMin((int *)&cells[1], -(int)i);
    atomicXor(&cells[2], i * 77);
    atomicInc(&cells[3], 5);
    atomicAdd(sum, 0.5f);
    atomicAdd(wide, (unsigned long long)i << 30);
    unsigned old = cells[4];

    for (unsigned seen = ~old; seen != old;) { /* an addition of our own making */
        seen = old;
        old = atomicCAS(&cells[4], seen, seen + 2);
    }
    __syncthreads();
    if (i == 0)
        cells[5] = shared_cell;
}
