/* Strategy: cubins and fatbins made byte by byte, with every kind of record that real ones hold,
 * and every length in them wrong once. A fatbin bounds what it holds, so one whose bytes are
 * changed at random must be walked without a step outside (the sanitizers judge that). Where the
 * machine has nvcc, a real image is compared with what its source says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "cubin.h"
#include "tests/unit/cubin_image.h"

struct seen {
    char name[64];
    size_t count;
    struct cubin_param params[8];
};

struct walk {
    struct seen kernel[16];
    size_t count;
};

static void see(void *arg, const char *name, const struct cubin_param *params, size_t count)
{
    struct walk *w = arg;
    struct seen *k = &w->kernel[w->count++];

    assert_true(w->count <= 16);
    snprintf(k->name, sizeof(k->name), "%s", name);
    k->count = count;
    memcpy(k->params, params, (count < 8 ? count : 8) * sizeof(*params));
}

static size_t walk(const void *image, struct walk *w)
{
    memset(w, 0, sizeof(*w));
    return cubin_walk(image, see, w);
}

/* The one that most tests use: two kernels, among sections that are none. */
static void make_two_kernels(struct image *m)
{
    struct image first = {{0}, 0}, second = {{0}, 0}, other = {{0}, 0};
    const struct section sections[] = {{".nv.info", &other},
                                       {".nv.info.first", &first},
                                       {".text.first", &other},
                                       {".nv.info.second_kernel", &second}};

    put32(&other, 0xdeadbeef);
    put_param(&first, 0x17, 2, 16, 4);
    put32(&first, 0x00011b01); /* format 1: no value */
    put32(&first, 0x12340a02); /* format 2: a byte */
    put32(&first, 0x00ff1903); /* format 3: a half word */
    put_param(&first, 0x17, 1, 8, 8);
    put16(&first, 0x0a04); /* another record of format 4, of some length */
    put16(&first, 8);
    put32(&first, 7);
    put32(&first, 0x17);
    put_param(&first, 0x17, 0, 0, 8);
    put_param(&second, 0x45, 0, 0, 40000);
    put_param(&second, 0x45, 1, 40000, 1);
    make_elf(m, sections, 4);
}

static void check_two_kernels(const struct walk *w)
{
    assert_int_equal(w->count, 2);
    assert_string_equal(w->kernel[0].name, "first");
    assert_int_equal(w->kernel[0].count, 3);
    assert_int_equal(w->kernel[0].params[0].offset, 0);
    assert_int_equal(w->kernel[0].params[0].bytes, 8);
    assert_int_equal(w->kernel[0].params[1].offset, 8);
    assert_int_equal(w->kernel[0].params[1].bytes, 8);
    assert_int_equal(w->kernel[0].params[2].offset, 16);
    assert_int_equal(w->kernel[0].params[2].bytes, 4);
    assert_string_equal(w->kernel[1].name, "second_kernel");
    assert_int_equal(w->kernel[1].count, 2);
    assert_int_equal(w->kernel[1].params[0].bytes, 40000);
    assert_int_equal(w->kernel[1].params[1].offset, 40000);
    assert_int_equal(w->kernel[1].params[1].bytes, 1);
}

static void test_elf(void **state)
{
    struct image m;
    struct walk w;

    (void)state;
    make_two_kernels(&m);
    assert_int_equal(walk(m.bytes, &w), 2);
    check_two_kernels(&w);
}

/* An image may lie at any address. */
static void test_unaligned(void **state)
{
    static unsigned char odd[IMAGE_MAX + 8];
    struct image m;
    struct walk w;

    (void)state;
    make_two_kernels(&m);
    for (size_t shift = 1; shift < 8; shift += 2) {
        memcpy(odd + shift, m.bytes, m.used);
        assert_int_equal(walk(odd + shift, &w), 2);
        check_two_kernels(&w);
    }
}

static void test_odd_records(void **state)
{
    struct image m, none = {{0}, 0}, cut = {{0}, 0}, wrong = {{0}, 0};
    const struct section sections[] = {
        {".nv.info.none", &none}, {".nv.info.cut", &cut}, {".nv.info.wrong", &wrong}};
    struct walk w;

    (void)state;
    put32(&none, 0x00011b01);
    put_param(&cut, 0x17, 0, 0, 8);
    put_param(&cut, 0x17, 1, 8, 8);
    cut.used -= 4; /* the last record claims more than there is */
    put16(&wrong, 0x1704);
    put16(&wrong, 8); /* too short for a parameter */
    put32(&wrong, 0);
    put32(&wrong, 0);
    put_param(&wrong, 0x17, CUBIN_PARAMS_MAX, 0, 8);
    put_param(&wrong, 0x17, 1, 24, 8);
    put16(&wrong, 0x1704); /* a header, and nothing behind it */
    make_elf(&m, sections, 3);
    assert_int_equal(walk(m.bytes, &w), 3);
    assert_int_equal(w.kernel[0].count, 0);
    assert_int_equal(w.kernel[1].count, 1);
    /* A parameter that no record describes has no bytes: there is nothing to scan in it. */
    assert_int_equal(w.kernel[2].count, 2);
    assert_int_equal(w.kernel[2].params[0].bytes, 0);
    assert_int_equal(w.kernel[2].params[1].offset, 24);
}

static void test_not_understood(void **state)
{
    static const char ptx[] = ".version 6.0\n.target sm_70\n";
    struct image m;
    struct walk w;

    (void)state;
    assert_int_equal(walk(ptx, &w), 0);
    make_two_kernels(&m);
    m.bytes[EI_CLASS] = ELFCLASS32;
    assert_int_equal(walk(m.bytes, &w), 0);
    make_two_kernels(&m);
    ((Elf64_Ehdr *)(void *)m.bytes)->e_shnum = 0;
    assert_int_equal(walk(m.bytes, &w), 0);
    make_two_kernels(&m);
    ((Elf64_Ehdr *)(void *)m.bytes)->e_shentsize = sizeof(Elf64_Shdr) - 1;
    assert_int_equal(walk(m.bytes, &w), 0);
}

static void put_entry(struct image *m, unsigned kind, uint64_t flags, const void *payload,
                      size_t bytes)
{
    unsigned char header[64] = {0};
    uint32_t header_bytes = sizeof(header);
    uint64_t payload_bytes = bytes;

    header[0] = (unsigned char)kind;
    memcpy(header + 4, &header_bytes, 4);
    memcpy(header + 8, &payload_bytes, 8);
    memcpy(header + 40, &flags, 8);
    put(m, header, sizeof(header));
    put(m, payload, bytes);
}

/* The same, compressed; a payload is padded to whole words. flag: 0x2000 LZ4, 0x8000 zstd. */
static void put_compressed_entry(struct image *m, unsigned kind, uint64_t flag, const void *payload,
                                 size_t bytes)
{
    unsigned char packed[IMAGE_MAX];
    size_t entry = m->used;
    uint64_t unpacked_bytes = bytes;
    uint32_t packed_bytes;

    if (flag == 0x2000)
        packed_bytes = (uint32_t)LZ4_compress_default(payload, (char *)packed, (int)bytes,
                                                      (int)sizeof(packed));
    else
        packed_bytes = (uint32_t)ZSTD_compress(packed, sizeof(packed), payload, bytes, 3);
    memset(packed + packed_bytes, 0, 8);
    put_entry(m, kind, flag | 0x11, packed, (packed_bytes + 7) / 8 * 8);
    memcpy(m->bytes + entry + 16, &packed_bytes, 4);
    memcpy(m->bytes + entry + 56, &unpacked_bytes, 8);
}

static void put_fatbin_header(struct image *m)
{
    m->used = 0;
    put32(m, 0xBA55ED50u);
    put16(m, 1);
    put16(m, 16);
    put(m, "\0\0\0\0\0\0\0", 8);
}

static void end_fatbin(struct image *m)
{
    uint64_t bytes = m->used - 16;

    memcpy(m->bytes + 8, &bytes, 8);
}

static void make_fatbin(struct image *m)
{
    struct image elf;

    make_two_kernels(&elf);
    put_fatbin_header(m);
    put_entry(m, 1, 0, ".version 6.0 ....", 16);
    put_entry(m, 2, 0x2000, elf.bytes, elf.used); /* compressed: says nothing */
    put_entry(m, 2, 0x11, elf.bytes, elf.used);
    end_fatbin(m);
}

static void test_fatbin(void **state)
{
    struct image m;
    struct walk w;
    struct {
        uint32_t magic, version;
        const void *data;
        void *unused;
    } wrapper = {0x466243B1u, 1, m.bytes, NULL};

    (void)state;
    make_fatbin(&m);
    assert_int_equal(walk(m.bytes, &w), 2);
    check_two_kernels(&w);
    assert_int_equal(walk(&wrapper, &w), 2);
    check_two_kernels(&w);
    wrapper.data = NULL;
    assert_int_equal(walk(&wrapper, &w), 0);
}

static const char g_text[] = ".version 6.0\n.target sm_70\n.address_size 64\n"
                             ".visible .entry text(.param .u64 a, .param .u32 b, .param .u64 c)\n"
                             "{\n    ret;\n}\n";

/* Machine code and text, in both ways of packing, before one that is not packed. */
static void make_compressed_fatbin(struct image *m)
{
    struct image elf;

    make_two_kernels(&elf);
    put_fatbin_header(m);
    put_compressed_entry(m, 2, 0x8000, elf.bytes, elf.used);
    put_compressed_entry(m, 2, 0x2000, elf.bytes, elf.used);
    put_compressed_entry(m, 1, 0x8000, g_text, strlen(g_text));
    put_compressed_entry(m, 1, 0x2000, g_text, sizeof(g_text));
    put_compressed_entry(m, 16, 0x2000, g_text, sizeof(g_text)); /* of a kind that is not known */
    put_entry(m, 2, 0x11, elf.bytes, elf.used);
    end_fatbin(m);
}

static void test_compressed(void **state)
{
    struct image m;
    struct walk w, two;

    (void)state;
    make_compressed_fatbin(&m);
    assert_int_equal(walk(m.bytes, &w), 8);
    for (size_t at = 0; at < 8; at += at == 2 ? 4 : 2) {
        if (at == 4)
            continue;
        memset(&two, 0, sizeof(two));
        memcpy(two.kernel, &w.kernel[at], 2 * sizeof(two.kernel[0]));
        two.count = 2;
        check_two_kernels(&two);
    }
    for (size_t at = 4; at < 6; at++) {
        assert_string_equal(w.kernel[at].name, "text");
        assert_int_equal(w.kernel[at].count, 3);
        assert_int_equal(w.kernel[at].params[2].offset, 16);
    }
}

/* What does not unpack to what it says is passed over; the entries behind it are not. */
static void test_compressed_wrongly(void **state)
{
    static const struct {
        size_t at, bytes;
    } fields[] = {{16, 4}, {40, 8}, {56, 8}, {64 + 20, 8}};
    uint64_t wrong = 0x8011 ^ 0xa000;
    struct image m;
    struct walk w;

    (void)state;
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        make_compressed_fatbin(&m);
        if (fields[i].at != 40)
            wrong = fields[i].at == 16 ? 3 : 77;
        memcpy(m.bytes + 16 + fields[i].at, &wrong, fields[i].bytes);
        if (walk(m.bytes, &w) != 6)
            fail_msg("field at %zu: %zu kernels", fields[i].at, w.count);
    }
}

static void test_odd_fatbins(void **state)
{
    struct image m;
    struct walk w;
    uint64_t bytes;
    uint32_t small;

    (void)state;
    /* The last entry reaches past the end. */
    make_fatbin(&m);
    bytes = m.used - 16 - 1;
    memcpy(m.bytes + 8, &bytes, 8);
    assert_int_equal(walk(m.bytes, &w), 0);
    /* An entry whose header is shorter than an entry's. */
    make_fatbin(&m);
    small = 63;
    memcpy(m.bytes + 16 + 4, &small, 4);
    assert_int_equal(walk(m.bytes, &w), 0);
    /* A payload that wraps the address space around. */
    make_fatbin(&m);
    bytes = UINT64_MAX - 8;
    memcpy(m.bytes + 16 + 8, &bytes, 8);
    assert_int_equal(walk(m.bytes, &w), 0);
    /* No entry at all. */
    put_fatbin_header(&m);
    assert_int_equal(walk(m.bytes, &w), 0);
    /* An ELF payload that is none, and one that is cut short. */
    put_fatbin_header(&m);
    put_entry(&m, 2, 0, "nonsense that is as long as a header of an ELF file would have to be, 64",
              72);
    end_fatbin(&m);
    assert_int_equal(walk(m.bytes, &w), 0);
}

static void ignore(void *arg, const char *name, const struct cubin_param *params, size_t count)
{
    size_t *sum = arg;

    *sum += strlen(name);
    for (size_t i = 0; i < count; i++)
        *sum += params[i].offset + params[i].bytes;
}

static void test_changed_bytes(void **state)
{
    struct image m;
    uint64_t seed = 1;
    size_t sum = 0;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        unsigned char *exact;

        if (round % 2)
            make_fatbin(&m);
        else
            make_compressed_fatbin(&m);
        exact = malloc(m.used);
        memcpy(exact, m.bytes, m.used);
        for (int i = 0; i < 1 + round % 4; i++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            exact[16 + (seed >> 33) % (m.used - 16)] = (unsigned char)(seed >> 24);
        }
        cubin_walk(exact, ignore, &sum);
        free(exact);
    }
    assert_int_not_equal(sum, 0);
}

static const char *nvcc(void)
{
    const char *given = getenv("NVCC");

    if (given)
        return given;
    if (!system("command -v nvcc >/dev/null 2>&1"))
        return "nvcc";
    return access("/usr/local/cuda/bin/nvcc", X_OK) ? NULL : "/usr/local/cuda/bin/nvcc";
}

static const char g_source[] =
    "struct pair { float *p; char c; double *q; };\n"
    "extern \"C\" __global__ void small(float *a, char b, long long c) { a[b] = c; }\n"
    "extern \"C\" __global__ void by_value(char x, pair y, short z)\n"
    "{ *y.p = x; *y.q = z + y.c; }\n"
    "extern \"C\" __global__ void nothing() {}\n";

/* Three kernels, as often as the image has them: a fatbin holds the cubin and the PTX of each. */
static void check_real(const void *image, size_t times)
{
    struct walk w;

    assert_int_equal(walk(image, &w), 3 * times);
    for (size_t i = 0; i < 3 * times; i++) {
        const struct cubin_param *p = w.kernel[i].params;

        if (!strcmp(w.kernel[i].name, "small")) {
            assert_int_equal(w.kernel[i].count, 3);
            assert_int_equal(p[0].bytes, 8);
            assert_int_equal(p[1].offset, 8);
            assert_int_equal(p[1].bytes, 1);
            assert_int_equal(p[2].offset, 16);
        } else if (!strcmp(w.kernel[i].name, "by_value")) {
            assert_int_equal(w.kernel[i].count, 3);
            assert_int_equal(p[1].offset, 8);
            assert_int_equal(p[1].bytes, 24);
            assert_int_equal(p[2].offset, 32);
            assert_int_equal(p[2].bytes, 2);
        } else {
            assert_string_equal(w.kernel[i].name, "nothing");
            assert_int_equal(w.kernel[i].count, 0);
        }
    }
}

/* The first bytes of an image as a file: at the end of memory of its own, with one zero behind. */
static size_t walk_file(const struct image *m, size_t bytes, struct walk *w)
{
    char *file = calloc(1, bytes + 1);
    size_t found;

    assert_non_null(file);
    memcpy(file, m->bytes, bytes);
    memset(w, 0, sizeof(*w));
    found = cubin_walk_file(file, bytes, see, w);
    free(file);
    return found;
}

/* What a file holds is walked as it would be in memory. However it was cut off, nothing behind its
 * end is read, which the sanitizers judge; and what it calls a pointer is followed nowhere. */
static void test_files(void **state)
{
    struct image elf, fatbin, text = {{0}, 0}, wrapper = {{0}, 0};
    const void *data = fatbin.bytes;
    struct walk w;

    (void)state;
    make_two_kernels(&elf);
    assert_int_equal(walk_file(&elf, elf.used, &w), 2);
    check_two_kernels(&w);
    make_fatbin(&fatbin);
    assert_int_equal(walk_file(&fatbin, fatbin.used, &w), 2);
    check_two_kernels(&w);
    for (size_t bytes = 0; bytes < elf.used; bytes++)
        walk_file(&elf, bytes, &w);
    for (size_t bytes = 0; bytes < fatbin.used; bytes++)
        assert_int_equal(walk_file(&fatbin, bytes, &w), 0);
    put(&text, g_text, strlen(g_text));
    assert_int_equal(walk_file(&text, text.used, &w), 1);
    assert_string_equal(w.kernel[0].name, "text");
    put32(&wrapper, 0x466243B1u);
    put32(&wrapper, 1);
    put(&wrapper, &data, sizeof(data));
    put(&wrapper, "\0\0\0\0\0\0\0", 8);
    assert_int_equal(walk_file(&wrapper, wrapper.used, &w), 0);
}

static void test_real_images(void **state)
{
    static const struct {
        const char *options;
        size_t times;
    } kinds[] = {{"-cubin", 1},
                 {"-fatbin -no-compress", 2},
                 {"-fatbin", 2}, /* PTX is compressed, machine code is not */
                 {"-fatbin --compress-mode=size", 2},
                 {"-fatbin --compress-mode=speed", 2}};
    char folder[] = "/tmp/berth-cubin-XXXXXX", command[512], path[64];
    const char *compiler = nvcc();

    (void)state;
    if (!compiler) {
        print_message("no nvcc on this machine\n");
        skip();
    }
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        void *image = calloc(1, 1 << 20);
        FILE *file;
        int failed;

        snprintf(path, sizeof(path), "%s/k.cu", folder);
        file = fopen(path, "w");
        assert_non_null(file);
        fputs(g_source, file);
        fclose(file);
        snprintf(command, sizeof(command), "cd %s && %s -arch=sm_75 %s -o k.bin k.cu", folder,
                 compiler, kinds[i].options);
        failed = system(command);
        if (failed && i >= 3) { /* a compiler before 12.8 */
            free(image);
            continue;
        }
        assert_int_equal(failed, 0);
        snprintf(path, sizeof(path), "%s/k.bin", folder);
        file = fopen(path, "rb");
        assert_non_null(file);
        assert_true(fread(image, 1, 1 << 20, file) > 0);
        fclose(file);
        check_real(image, kinds[i].times);
        free(image);
    }
    snprintf(command, sizeof(command), "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elf),           cmocka_unit_test(test_unaligned),
        cmocka_unit_test(test_odd_records),   cmocka_unit_test(test_not_understood),
        cmocka_unit_test(test_fatbin),        cmocka_unit_test(test_odd_fatbins),
        cmocka_unit_test(test_compressed),    cmocka_unit_test(test_compressed_wrongly),
        cmocka_unit_test(test_changed_bytes), cmocka_unit_test(test_real_images),
        cmocka_unit_test(test_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
