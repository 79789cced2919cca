/* placed.c - a checkpoint of any format, placed as a device map says.
 *
 * Twelve layers of two tensors each and an embedding, 27 MiB, lie one behind the other in a single
 * allocation and are used in turn, in room for 18 MiB. What the map puts on the GPU is loaded once
 * and never leaves; what it puts on cpu comes anew in each round. An extent at the border of the
 * two stays: so the layers 1 and 10 are left out of what is asked.
 *
 * stats: .errors.driver_failures == 0 and .errors.refused == 0
 * stats: len(.parameters) == 25 and .weights.named_bytes == .weights.total_bytes
 * stats: all(p["bytes"] == 4 * p["shape"][0] and p["dtype"] == "F32" for p in .parameters)
 * stats: .weights.peak_resident_bytes <= 18 * 2**20
 * stats: .link.bytes_per_s > 0 and 0 < .link.share <= 1 and .link.span_ns > 0
 * run: max-memory=0=18MiB arg=safetensors
 * stats: all(p["touches"] == 12 for p in .parameters)
 * stats: .parameters[0].first_touch == 1 and .parameters[24].first_touch == 25
 * stats: .parameters[7].first_touch == 8 and len(.parameters) == 25
 * stats: all(p["evidence"] == "file" for p in .parameters)
 * no-stderr: device_map
 * run: max-memory=0=18MiB arg=sharded
 * stats: all(p["evidence"] == "file" for p in .parameters)
 * run: max-memory=0=18MiB arg=gguf
 * stats: all(p["evidence"] == "file" for p in .parameters)
 * run: max-memory=0=18MiB arg=bin
 * stats: all(p["evidence"] == "file" for p in .parameters)
 * run: max-memory=0=18MiB arg=sharded arg=read
 * stats: all(p["evidence"] == "content" for p in .parameters)
 * run: max-memory=0=18MiB arg=gguf arg=read
 * stats: all(p["evidence"] == "content" for p in .parameters)
 * run: max-memory=0=18MiB arg=bin arg=read
 * stats: all(p["evidence"] == "content" for p in .parameters)
 * run: max-memory=0=18MiB policy=tests/preload/policies/halves.json arg=safetensors
 * stats: all(p["place"] == 0 for p in .parameters if p["name"][7:9] in ("0.", "11", "ei"))
 * stats: all(p["place"] == "cpu" for p in .parameters if p["name"][7] in "23456789")
 * stats: .policy.disk_bytes == 0 and .policy.elsewhere_bytes == 0
 * stats: all(p["evictions"] == 0 for p in .parameters if p["name"][7:9] in ("0.", "11", "ei"))
 * stats: all(p["tier"] == "vram" for p in .parameters if p["name"][7:9] in ("0.", "11", "ei"))
 * stats: all(p["loads"] > 2 for p in .parameters if p["name"][7] in "23456789")
 * no-stderr: device_map
 * run: max-memory=0=18MiB policy=tests/preload/policies/halves.json arg=sharded arg=read
 * stats: all(p["evictions"] == 0 for p in .parameters if p["name"][7:9] in ("0.", "11", "ei"))
 * stats: all(p["tier"] == "vram" for p in .parameters if p["name"][7:9] in ("0.", "11", "ei"))
 * stats: all(p["loads"] > 2 for p in .parameters if p["name"][7] in "23456789")
 * no-stderr: device_map
 * run: max-memory=0=18MiB policy=tests/preload/policies/halves.json arg=bin arg=any
 * stats: all(p["evictions"] == 0 for p in .parameters if p["name"][7:9] in ("0.", "11", "ei"))
 * stats: all(p["tier"] == "vram" for p in .parameters if p["name"][7:9] in ("0.", "11", "ei"))
 * stats: all(p["loads"] > 2 for p in .parameters if p["name"][7] in "23456789")
 * no-stderr: device_map
 * run: max-memory=0=18MiB policy=tests/preload/policies/halves.json arg=gguf arg=any
 * stats: all(p["evictions"] == 0 for p in .parameters if p["name"][7:9] in ("0.", "11", "ei"))
 * stats: all(p["tier"] == "vram" for p in .parameters if p["name"][7:9] in ("0.", "11", "ei"))
 * stats: all(p["loads"] > 2 for p in .parameters if p["name"][7] in "23456789")
 * no-stderr: device_map
 * run: only=berth max-memory=0=18MiB policy=tests/preload/policies/too_much.json arg=gguf
 * stderr: device_map puts 28.0 MiB on GPU 0, and beside what streams there is room for 10.0 MiB
 * run: only=berth max-memory=0=18MiB policy=tests/preload/policies/disk.json arg=gguf
 * stderr: puts 1 module on disk: this version keeps what lives there in host memory
 * stderr: does not follow the policy's groups
 * stats: all(p["evictions"] == 0 for p in .parameters if p["name"] == "embed.weight")
 * stats: all(p["loads"] > 2 for p in .parameters if p["name"].startswith("layers.5."))
 * stats: all((p["place"] == "disk") == p["name"].startswith("layers.5.") for p in .parameters)
 * stats: .policy.disk_bytes == 2 * 2**20
 * run: only=berth max-memory=0=18MiB max-memory=cpu=2MiB policy=tests/preload/policies/disk.json arg=gguf
 * stats: .weights.total_bytes >= 27 * 2**20
 * run: only=berth max-memory=0=18MiB env=SIMCUDA_DEVICES=2 policy=tests/preload/policies/gpu1.json
 * stderr: puts layers.3.[ab] on GPU 1, and the program puts it on GPU 0
 * stats: .policy.elsewhere_bytes == 2 * 2**20
 * stats: all(p["place"] == 1 for p in .parameters if p["name"].startswith("layers.3."))
 * run: only=berth max-memory=0=18MiB policy=tests/preload/policies/parts.json arg=safetensors
 * stderr: 1 such conflict
 * stderr: no entry is for 21 tensors of .*, embed.weight first
 * stats: all(p["evictions"] == 0 for p in .parameters if p["name"][7:9] in ("0.", "4."))
 * stats: all(p["tier"] == "vram" for p in .parameters if p["name"][7:9] in ("0.", "4."))
 */
#include "common.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LAYERS       12
#define TENSORS      (1 + 2 * LAYERS)
#define EMBED_WORDS  (3u << 18) /* 3 MiB */
#define LAYER_WORDS  (1u << 18)
#define ROUNDS       12
#define LOOKED_WORDS 2048u /* of each tensor in each round: all of it has to be there */
#define FILES_MAX    2
#define ZIP_ALIGN    64u
#define GGUF_ALIGN   32u

struct weight {
    char name[32];
    uint32_t words;
    uint32_t *bytes;
    int file;        /* where it stands: of g_files, */
    uint64_t offset; /* and from there on */
    CUdeviceptr p;
};

struct file {
    char path[PATH_MAX];
    FILE *out;
    int fd;
    unsigned char *source; /* all of it: mapped or read */
    uint64_t bytes;
};

static struct weight g_weights[TENSORS];
static struct file g_files[FILES_MAX];
static char g_folder[PATH_MAX];
static int g_file_count;

static void make_weights(void)
{
    for (unsigned i = 0; i < TENSORS; i++) {
        struct weight *w = &g_weights[i];

        if (i == 0)
            strcpy(w->name, "embed.weight");
        else
            snprintf(w->name, sizeof(w->name), "layers.%u.%c", (i - 1) / 2, i % 2 ? 'a' : 'b');
        w->words = i ? LAYER_WORDS : EMBED_WORDS;
        w->bytes = need(4 * (size_t)w->words);
        fill_pattern(w->bytes, w->words, i + 1);
    }
}

/* Writing ---------------------------------------------------------------------------------------*/

static void begin_file(const char *name)
{
    struct file *f = &g_files[g_file_count++];

    snprintf(f->path, sizeof(f->path), "%.*s/%s", PATH_MAX - 64, g_folder, name);
    f->out = fopen(f->path, "wb");
    EXPECT(f->out, "cannot write %s", f->path);
}

static struct file *current(void)
{
    return &g_files[g_file_count - 1];
}

static void put(const void *bytes, size_t count)
{
    EXPECT(fwrite(bytes, 1, count, current()->out) == count, "cannot write");
}

static void put_number(uint64_t value, size_t bytes)
{
    put(&value, bytes);
}

static void pad(uint64_t align)
{
    while ((uint64_t)ftell(current()->out) % align)
        put_number(0, 1);
}

/* The bytes of a tensor stand here. */
static void put_weight(struct weight *w)
{
    w->file = g_file_count - 1;
    w->offset = (uint64_t)ftell(current()->out);
    put(w->bytes, 4 * (size_t)w->words);
}

static void write_safetensors(const char *name, unsigned first, unsigned end)
{
    char header[128 * TENSORS];
    uint64_t at = 0;
    size_t used = 0;

    begin_file(name);
    for (unsigned i = first; i < end; i++) {
        used += (size_t)sprintf(
            header + used,
            "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%u],\"data_offsets\":[%llu,%llu]}",
            i == first ? "{" : ",", g_weights[i].name, g_weights[i].words, (unsigned long long)at,
            (unsigned long long)(at + 4ull * g_weights[i].words));
        at += 4ull * g_weights[i].words;
    }
    used += (size_t)sprintf(header + used, "}");
    put_number(used, 8);
    put(header, used);
    for (unsigned i = first; i < end; i++)
        put_weight(&g_weights[i]);
}

static void put_string(const char *text)
{
    put_number(strlen(text), 8);
    put(text, strlen(text));
}

static void write_gguf(void)
{
    uint64_t at = 0;

    begin_file("model.gguf");
    put("GGUF", 4);
    put_number(3, 4);
    put_number(TENSORS, 8);
    put_number(1, 8);
    put_string("general.architecture");
    put_number(8, 4); /* a string */
    put_string("placed");
    for (unsigned i = 0; i < TENSORS; i++) {
        put_string(g_weights[i].name);
        put_number(1, 4);
        put_number(g_weights[i].words, 8);
        put_number(0, 4); /* F32 */
        put_number(at, 8);
        at += 4ull * g_weights[i].words;
    }
    pad(GGUF_ALIGN);
    for (unsigned i = 0; i < TENSORS; i++)
        put_weight(&g_weights[i]);
}

static size_t pickle_text(char *out, const char *text)
{
    uint32_t bytes = (uint32_t)strlen(text);

    out[0] = 'X';
    memcpy(out + 1, &bytes, 4);
    memcpy(out + 5, text, bytes);
    return 5 + bytes;
}

static size_t pickle_number(char *out, uint32_t value)
{
    out[0] = 'J';
    memcpy(out + 1, &value, 4);
    return 5;
}

/* A dict of tensors, each with a storage of its own, as torch.save() writes it. */
static size_t make_pickle(char *out)
{
    size_t used = 0;

#define TEXT(text) (memcpy(out + used, text, sizeof(text) - 1), used += sizeof(text) - 1)
    TEXT("\x80\2}(");
    for (unsigned i = 0; i < TENSORS; i++) {
        char key[16];

        snprintf(key, sizeof(key), "%u", i);
        used += pickle_text(out + used, g_weights[i].name);
        TEXT("ctorch._utils\n_rebuild_tensor_v2\n((");
        used += pickle_text(out + used, "storage");
        TEXT("ctorch\nFloatStorage\n");
        used += pickle_text(out + used, key);
        used += pickle_text(out + used, "cpu");
        used += pickle_number(out + used, g_weights[i].words);
        TEXT("tQK\0");
        used += pickle_number(out + used, g_weights[i].words);
        TEXT("\x85K\1\x85\x89"
             "ccollections\nOrderedDict\n)RtR");
    }
    TEXT("u.");
#undef TEXT
    return used;
}

static uint32_t crc_of(const void *bytes, size_t count)
{
    static uint32_t table[256];
    const unsigned char *at = bytes;
    uint32_t crc = ~0u;

    for (uint32_t i = 0; !table[255] && i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320u : 0);
    }
    while (count--)
        crc = table[(crc ^ *at++) & 255] ^ crc >> 8;
    return ~crc;
}

struct member {
    char name[32];
    uint32_t crc, bytes, header;
};

/* What a local header and one of the directory have in common. */
static void put_member(const struct member *m, uint32_t extra_bytes)
{
    put_number(0, 2);          /* flags */
    put_number(0, 2);          /* stored */
    put_number(0x00210000, 4); /* time and date */
    put_number(m->crc, 4);
    put_number(m->bytes, 4);
    put_number(m->bytes, 4);
    put_number(strlen(m->name), 2);
    put_number(extra_bytes, 2);
}

/* A member whose bytes begin at a multiple of 64, which takes an extra field of padding. */
static void put_stored(struct member *m, const char *name, const void *bytes, size_t count,
                       struct weight *w)
{
    uint32_t at = (uint32_t)ftell(current()->out), padding;

    strcpy(m->name, name);
    m->crc = crc_of(bytes, count);
    m->bytes = (uint32_t)count;
    m->header = at;
    padding = ZIP_ALIGN - (at + 34 + (uint32_t)strlen(name)) % ZIP_ALIGN;
    put("PK\3\4", 4);
    put_number(0, 2);
    put_member(m, 4 + padding);
    put(name, strlen(name));
    put("FB", 2);
    put_number(padding, 2);
    for (uint32_t i = 0; i < padding; i++)
        put("Z", 1);
    if (w)
        put_weight(w);
    else
        put(bytes, count);
}

static void write_bin(void)
{
    static struct member members[TENSORS + 1];
    char *pickle = need(4096 + 256 * TENSORS), name[32];
    uint32_t directory, end;

    begin_file("pytorch_model.bin");
    put_stored(&members[TENSORS], "m/data.pkl", pickle, make_pickle(pickle), NULL);
    for (unsigned i = 0; i < TENSORS; i++) {
        snprintf(name, sizeof(name), "m/data/%u", i);
        put_stored(&members[i], name, g_weights[i].bytes, 4 * (size_t)g_weights[i].words,
                   &g_weights[i]);
    }
    directory = (uint32_t)ftell(current()->out);
    for (unsigned i = 0; i < TENSORS + 1; i++) {
        put("PK\1\2", 4);
        put_number(0, 4); /* both versions */
        put_member(&members[i], 0);
        put_number(0, 6); /* comment, disk, attributes inside */
        put_number(0, 4); /* attributes outside */
        put_number(members[i].header, 4);
        put(members[i].name, strlen(members[i].name));
    }
    end = (uint32_t)ftell(current()->out);
    put("PK\5\6", 4);
    put_number(0, 4);
    put_number(TENSORS + 1, 2);
    put_number(TENSORS + 1, 2);
    put_number(end - directory, 4);
    put_number(directory, 4);
    put_number(0, 2);
    free(pickle);
}

static void remove_files(void)
{
    for (int i = 0; i < g_file_count; i++)
        unlink(g_files[i].path);
    rmdir(g_folder);
}

static void write_files(const char *format)
{
    const char *folder = getenv("TMPDIR");

    snprintf(g_folder, sizeof(g_folder), "%s/berth-placed-XXXXXX", folder ? folder : "/tmp");
    EXPECT(mkdtemp(g_folder), "no folder %s", g_folder);
    EXPECT(!atexit(remove_files), "no room for an exit handler");
    if (!strcmp(format, "gguf")) {
        write_gguf();
    } else if (!strcmp(format, "bin")) {
        write_bin();
    } else if (!strcmp(format, "sharded")) { /* a layer is in both */
        write_safetensors("model-00001-of-00002.safetensors", 0, 12);
        write_safetensors("model-00002-of-00002.safetensors", 12, TENSORS);
    } else {
        write_safetensors("model.safetensors", 0, TENSORS);
    }
    for (int i = 0; i < g_file_count; i++)
        EXPECT(!fclose(g_files[i].out), "cannot write %s", g_files[i].path);
}

/* Loading ---------------------------------------------------------------------------------------*/

static void open_file(struct file *f, int is_read)
{
    struct stat status;

    f->fd = open(f->path, O_RDONLY);
    EXPECT(f->fd >= 0 && !fstat(f->fd, &status), "cannot open %s", f->path);
    f->bytes = (uint64_t)status.st_size;
    if (!is_read) {
        f->source = mmap(NULL, f->bytes, PROT_READ, MAP_SHARED, f->fd, 0);
        EXPECT(f->source != MAP_FAILED, "cannot map %s", f->path);
        return;
    }
    f->source = need(f->bytes);
    for (uint64_t at = 0; at < f->bytes;) {
        ssize_t got = read(f->fd, f->source + at, f->bytes - at);

        EXPECT(got > 0, "cannot read %s", f->path);
        at += (uint64_t)got;
    }
}

/* One behind the other in one allocation. */
static void load(int is_read)
{
    uint64_t total = 0;
    CUdeviceptr base = 0;

    for (int i = 0; i < g_file_count; i++)
        open_file(&g_files[i], is_read);
    for (unsigned i = 0; i < TENSORS; i++)
        total += 4ull * g_weights[i].words;
    CUDA_CHECK(cuMemAlloc(&base, total));
    for (unsigned i = 0; i < TENSORS; i++) {
        struct weight *w = &g_weights[i];

        w->p = base;
        CUDA_CHECK(cuMemcpyHtoD(base, g_files[w->file].source + w->offset, 4 * (size_t)w->words));
        base += 4ull * w->words;
    }
}

/* Using -----------------------------------------------------------------------------------------*/

static void hash_all(const struct kernels *k, CUdeviceptr out, CUstream stream, uint64_t *seed,
                     int is_any_order)
{
    unsigned order[TENSORS];
    uint64_t got[TENSORS];

    for (unsigned i = 0; i < TENSORS; i++) {
        unsigned with = is_any_order ? (unsigned)(next_random(seed) % (i + 1)) : i;

        order[i] = order[with];
        order[with] = i;
    }
    for (unsigned i = 0; i < TENSORS; i++) {
        uint64_t words = LOOKED_WORDS;
        CUdeviceptr to = out + 8ull * order[i];
        void *params[] = {&g_weights[order[i]].p, &words, &to};

        launch_block(k->hash, stream, params);
    }
    CUDA_CHECK(cuStreamSynchronize(stream));
    CUDA_CHECK(cuMemcpyDtoH(got, out, sizeof(got)));
    for (unsigned i = 0; i < TENSORS; i++)
        EXPECT(got[i] == tk_hash_of(g_weights[i].bytes, LOOKED_WORDS), "%s is wrong",
               g_weights[i].name);
}

static void read_back(void)
{
    for (unsigned i = 0; i < TENSORS; i++) {
        size_t bytes = 4 * (size_t)g_weights[i].words;
        void *back = need(bytes);

        CUDA_CHECK(cuMemcpyDtoH(back, g_weights[i].p, bytes));
        EXPECT(!memcmp(back, g_weights[i].bytes, bytes), "%s came back changed", g_weights[i].name);
        free(back);
    }
}

int main(int argc, char **argv)
{
    const char *format = argc > 1 ? argv[1] : "safetensors", *how = argc > 2 ? argv[2] : "map";
    uint64_t seed = program_seed(argc, argv);
    CUdeviceptr out = 0, scratch = 0;
    struct kernels k;
    CUstream stream;

    start(0, &k);
    CUDA_CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CUDA_CHECK(cuMemAlloc(&out, 8 * TENSORS));
    make_weights();
    write_files(format);
    load(!strcmp(how, "read"));
    for (int round = 0; round < ROUNDS; round++)
        hash_all(&k, out, stream, &seed, !strcmp(how, "any"));
    read_back();
    /* What a failure has left is given back with a free; the weights stay, to be told of. */
    CUDA_CHECK(cuMemAlloc(&scratch, 1 << 16));
    CUDA_CHECK(cuMemFree(scratch));
    printf("%s: placed\n", format);
    return 0;
}
