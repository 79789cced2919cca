/* experts.c - a mixture of experts of which few are asked, so that no step repeats.
 *
 *     experts [--model FILE]
 *
 * Three layers have a matrix that each token reads and six experts, of 2 MiB each: of a layer's
 * experts one is asked by three tokens of four, four share the fourth, and one is never asked. With
 * --model the checkpoint stays behind, so that a plan can be made by what a run of it touched: the
 * command's tests do that. A layer that is loaded as a whole brings what nobody asks as well, where
 * it has room.
 *
 * run: max-memory=0=20MiB
 * stats: len(.parameters) == 21 and .errors.driver_failures == 0
 * stats: all(p["touches"] == 64 for p in .parameters if "shared" in p["name"])
 * stats: sum(p["touches"] for p in .parameters if "experts" in p["name"]) == 3 * 64
 * stats: sum(p["touches"] == 0 and p["first_touch"] == 0 for p in .parameters) == 3
 * stats: max(p["first_touch"] for p in .parameters) == 18
 * stats: all(p["loads"] == 0 for p in .parameters if p["touches"] == 0)
 * run: max-memory=0=20MiB policy=tests/preload/policies/preload.json
 * stats: all(p["loads"] > 32 for p in .parameters)
 * stats: sum(p["touches"] == 0 for p in .parameters) == 3
 * stats: .weights.peak_resident_bytes <= 20 * 2**20 and .errors.driver_failures == 0
 * no-stderr: preload
 * run: max-memory=0=12MiB policy=tests/preload/policies/preload.json
 * stats: all(p["loads"] == 0 for p in .parameters if p["touches"] == 0)
 * run: max-memory=0=64MiB seeds=1
 * stats: .transfers.h2d_bytes == 0
 */
#include "common.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LAYERS       3
#define EXPERTS      6
#define PER_LAYER    (1 + EXPERTS)
#define TENSORS      (LAYERS * PER_LAYER)
#define WORDS        (1u << 19) /* of each */
#define BYTES        (4ull * WORDS)
#define TOKENS       64
#define HEADER_BYTES ((size_t)4096)

static CUdeviceptr g_weights[TENSORS];
static uint64_t g_hashes[TENSORS];
static char g_folder[PATH_MAX], g_model[PATH_MAX + 32];

static void remove_model(void)
{
    unlink(g_model);
    rmdir(g_folder);
}

static const char *choose_model(int argc, char **argv)
{
    const char *temporary = getenv("TMPDIR");

    for (int i = 1; i + 1 < argc; i++)
        if (!strcmp(argv[i], "--model"))
            return argv[i + 1];
    snprintf(g_folder, sizeof(g_folder), "%s/berth-experts-XXXXXX", temporary ? temporary : "/tmp");
    EXPECT(mkdtemp(g_folder), "no folder %s", g_folder);
    snprintf(g_model, sizeof(g_model), "%s/model.safetensors", g_folder);
    EXPECT(!atexit(remove_model), "no room for an exit handler");
    return g_model;
}

static void write_model(const char *path)
{
    char header[HEADER_BYTES];
    uint64_t header_bytes = sizeof(header);
    uint32_t *words = need(BYTES);
    FILE *out = fopen(path, "wb");
    int used = 0;

    EXPECT(out, "cannot write %s", path);
    for (unsigned i = 0; i < TENSORS; i++) {
        char name[48];

        if (i % PER_LAYER)
            snprintf(name, sizeof(name), "layers.%u.experts.%u", i / PER_LAYER, i % PER_LAYER - 1);
        else
            snprintf(name, sizeof(name), "layers.%u.shared", i / PER_LAYER);
        used += snprintf(header + used, sizeof(header) - (size_t)used,
                         "%s\"%s.weight\":{\"dtype\":\"F32\",\"shape\":[%u],\"data_offsets\":"
                         "[%llu,%llu]}",
                         i ? "," : "{", name, WORDS, i * BYTES, (i + 1) * BYTES);
    }
    memset(header + used, ' ', sizeof(header) - (size_t)used);
    header[used] = '}';
    EXPECT(fwrite(&header_bytes, 8, 1, out) == 1 && fwrite(header, sizeof(header), 1, out) == 1,
           "cannot write %s", path);
    for (unsigned i = 0; i < TENSORS; i++) {
        fill_pattern(words, WORDS, i + 1);
        g_hashes[i] = tk_hash_of(words, WORDS);
        EXPECT(fwrite(words, BYTES, 1, out) == 1, "cannot write %s", path);
    }
    EXPECT(!fclose(out), "cannot write %s", path);
    free(words);
}

static void load_model(const char *path)
{
    size_t bytes = 8 + HEADER_BYTES + TENSORS * BYTES;
    int fd = open(path, O_RDONLY);
    const char *source;

    EXPECT(fd >= 0, "cannot open %s", path);
    source = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    EXPECT(source != MAP_FAILED, "cannot map %s", path);
    for (unsigned i = 0; i < TENSORS; i++) {
        CUDA_CHECK(cuMemAlloc(&g_weights[i], BYTES));
        CUDA_CHECK(cuMemcpyHtoD(g_weights[i], source + 8 + HEADER_BYTES + i * BYTES, BYTES));
    }
}

static void ask(const struct kernels *k, unsigned tensor, CUstream stream)
{
    EXPECT(device_hash(k, g_weights[tensor], WORDS, stream) == g_hashes[tensor],
           "tensor %u is wrong", tensor);
}

int main(int argc, char **argv)
{
    unsigned rare[LAYERS] = {0}; /* tokens of each layer that the hot expert was not asked for */
    uint64_t seed = program_seed(argc, argv);
    const char *path = choose_model(argc, argv);
    struct kernels k;
    CUstream stream;

    start(0, &k);
    CUDA_CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    write_model(path);
    load_model(path);
    for (int token = 0; token < TOKENS; token++) {
        for (unsigned layer = 0; layer < LAYERS; layer++) {
            unsigned expert = layer;

            if (next_random(&seed) % 4 == 0) /* every fourth token or so, and all four in turn */
                expert = (layer + 1 + rare[layer]++ % 4) % EXPERTS;

            ask(&k, layer * PER_LAYER, stream);
            ask(&k, layer * PER_LAYER + 1 + expert, stream);
        }
    }
    printf("%d tokens\n", TOKENS);
    return 0;
}
