/* names.c - two modules with a kernel of one name and other parameters each, as compilers of
 * kernels make them for each shape. Weights are loaded for both.
 *
 * stats: .paging.unknown_launches == 0 and all(p["touches"] == 6 for p in .parameters)
 * run: max-memory=0=8MiB
 * run: max-memory=0=8MiB env=SIMCUDA_PARAM_INFO=0 env=SIMCUDA_DRIVER_VERSION=12030
 */
#include "common.h"

#define TENSORS 10
#define WORDS   ((uint64_t)1 << 19)

#define HEAD ".version 7.0\n.target sm_70\n.address_size 64\n.visible .entry first_word("
#define BODY                                                                                       \
    ")\n{\n.reg .b64 %rd<5>;\n.reg .b32 %r<2>;\n"                                                  \
    "ld.param.u64 %rd1, [to];\ncvta.to.global.u64 %rd2, %rd1;\n"                                   \
    "ld.param.u64 %rd3, [from];\ncvta.to.global.u64 %rd4, %rd3;\n"                                 \
    "ld.global.u32 %r1, [%rd4];\nst.global.u32 [%rd2], %r1;\nret;\n}\n"

static const char g_two[] = HEAD ".param .u64 to, .param .u64 from" BODY;
static const char g_three[] = HEAD ".param .u32 unused, .param .u64 to, .param .u64 from" BODY;

static CUfunction load(const char *ptx)
{
    CUmodule module;
    CUfunction function;

    CUDA_CHECK(cuModuleLoadData(&module, ptx));
    CUDA_CHECK(cuModuleGetFunction(&function, module, "first_word"));
    return function;
}

int main(void)
{
    struct kernels kernels;
    CUfunction two, three;
    CUdeviceptr weights[TENSORS], out;
    uint32_t *words = need(WORDS * 4), unused = 0, found;

    start(0, &kernels);
    two = load(g_two);
    three = load(g_three);
    CUDA_CHECK(cuMemAlloc(&out, sizeof(found)));
    for (uint32_t i = 0; i < TENSORS; i++) {
        fill_pattern(words, WORDS, i);
        CUDA_CHECK(cuMemAlloc(&weights[i], WORDS * 4));
        CUDA_CHECK(cuMemcpyHtoD(weights[i], words, WORDS * 4));
    }
    free(words);
    for (uint32_t i = 0; i < 6 * TENSORS; i++) {
        CUdeviceptr from = weights[i % TENSORS];

        if (i / TENSORS % 2)
            launch_block(three, NULL, (void *[]){&unused, &out, &from});
        else
            launch_block(two, NULL, (void *[]){&out, &from});
        CUDA_CHECK(cuMemcpyDtoH(&found, out, sizeof(found)));
        EXPECT(found == tk_pattern(0, i % TENSORS), "tensor %u", i % TENSORS);
    }
    return 0;
}
