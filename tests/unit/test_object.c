/* Strategy: random sequences of what uploads and copies do, against a model that keeps a label for
 * each byte. The objects must be exactly the runs of the model, their records must carry the runs'
 * names and sizes, and the totals must add up. Single cases follow for what the model leaves out:
 * how an extent has to be loaded, and what a load or a drop counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend.h"
#include "checkpoint.h"
#include "dtype.h"
#include "object.h"
#include "residency.h"
#include "tests/unit/fake_driver.h"

#define BYTES   512u
#define TENSORS 5u
#define BASE    (FAKE_PLAIN + 4096)

static const uint64_t g_shape[] = {64, 2};
static struct tensor g_tensor[TENSORS] = {
    {.name = "a.weight", .shape = g_shape, .rank = 2, .bytes = 256, .dtype = DTYPE_F16},
    {.name = "b.weight", .shape = g_shape, .rank = 2, .bytes = 256, .dtype = DTYPE_F16},
    {.name = "c.bias", .shape = g_shape, .rank = 1, .bytes = 64, .dtype = DTYPE_U8},
    {.name = "d", .shape = g_shape, .rank = 0, .bytes = 4, .dtype = DTYPE_F32},
    {.name = "e.weight", .shape = g_shape, .rank = 2, .bytes = 512, .dtype = DTYPE_F32},
};

static const struct tensor g_joined = {
    .name = "joined", .shape = g_shape, .rank = 2, .bytes = 64, .dtype = DTYPE_U8};

/* What one byte is: nothing, anonymous, or a byte of a tensor. */
struct label {
    int kind; /* 0 nothing, 1 anonymous, 2 + tensor */
    uint64_t offset;
};

struct model {
    struct label label[BYTES];
    uint8_t written[BYTES];
};

static uint64_t g_seed;

static uint32_t random_below(uint32_t n)
{
    g_seed = g_seed * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(g_seed >> 33) % n;
}

static void model_define(struct model *m, size_t first, size_t end, int kind, uint64_t offset)
{
    for (size_t i = first; i < end; i++) {
        struct label is = {kind, kind > 1 ? offset + (i - first) : 0};

        m->written[i] = 0;
        m->label[i] = is;
    }
}

static int is_same_object(const struct label *left, const struct label *right)
{
    return left->kind == right->kind && (left->kind < 2 || left->offset + 1 == right->offset);
}

static void check_record(const struct object *o, size_t first, size_t end, int kind)
{
    char name[64];

    assert_non_null(o->record);
    if (kind == 1)
        snprintf(name, sizeof(name), "anonymous@7+%zu", first);
    assert_string_equal(fake_record_name(o->record), kind == 1 ? name : g_tensor[kind - 2].name);
    assert_int_equal(o->record->bytes, end - first);
    assert_int_equal(o->record->generation & 1, 1);
    assert_int_equal(o->record->tier, STATS_TIER_VRAM);
    assert_int_equal(o->record->evidence, kind == 1 ? STATS_EVIDENCE_NONE : STATS_EVIDENCE_FILE);
    if (kind > 1) {
        assert_string_equal(o->record->dtype, dtype_name((enum dtype)g_tensor[kind - 2].dtype));
        assert_int_equal(o->record->rank, g_tensor[kind - 2].rank);
    }
}

/* Named records may outlive their objects, for the report; anonymous ones never do. */
static unsigned anonymous_records(void)
{
    const struct stats_record *r =
        (const struct stats_record *)((const char *)stats() + STATS_RECORDS_OFFSET);
    unsigned live = 0;

    for (uint32_t i = 0; i < stats()->record_count; i++)
        live += (r[i].generation & 1) && r[i].evidence == STATS_EVIDENCE_NONE;
    return live;
}

/* The objects are the model's runs, no more and no fewer. */
static void check(const struct allocation *a, const struct model *m)
{
    uint64_t total = 0, named = 0;
    size_t object = 0, anonymous = 0;

    for (size_t i = 0; i < BYTES;) {
        size_t end = i + 1;
        const struct object *o = &a->objects[object];
        CUdeviceptr first_found, end_found;

        while (end < BYTES && is_same_object(&m->label[end - 1], &m->label[end]))
            end++;
        if (!m->label[i].kind) {
            assert_null(
                object_span((struct allocation *)(uintptr_t)a, BASE + i, &first_found, &end_found));
            assert_int_equal(first_found, BASE + i);
            assert_int_equal(end_found, BASE + end);
            i = end;
            continue;
        }
        assert_true(object < a->object_count);
        assert_int_equal(o->first, BASE + i);
        assert_int_equal(o->end, BASE + end);
        assert_ptr_equal(o->tensor, m->label[i].kind > 1 ? &g_tensor[m->label[i].kind - 2] : NULL);
        if (o->tensor)
            assert_int_equal(o->tensor_offset, m->label[i].offset);
        check_record(o, i, end, m->label[i].kind);
        assert_ptr_equal(o, object_span((struct allocation *)(uintptr_t)a, BASE + end - 1,
                                        &first_found, &end_found));
        for (size_t b = i; b < end; b++)
            assert_true(!m->written[b] || o->written);
        total += end - i;
        named += m->label[i].kind > 1 ? end - i : 0;
        anonymous += m->label[i].kind == 1;
        for (size_t other = 0; other < object; other++)
            assert_ptr_not_equal(a->objects[other].record, o->record);
        object++;
        i = end;
    }
    assert_int_equal(object, a->object_count);
    assert_int_equal(stats()->weights_total_bytes, total);
    assert_int_equal(stats()->weights_named_bytes, named);
    assert_int_equal(stats()->weights_vram_bytes, total); /* where plain allocations are */
    assert_int_equal(anonymous_records(), anonymous);
}

static void random_define(struct allocation *a, struct model *m)
{
    int kind = (int)random_below(TENSORS + 1) + 1;
    size_t first = random_below(BYTES - 1), most = BYTES - first, bytes;
    uint64_t offset = 0;

    if (kind > 1) {
        const struct tensor *t = &g_tensor[kind - 2];

        /* Mostly where the whole tensor would lie, so that pieces meet and join. */
        offset = random_below(4) ? first % t->bytes : random_below((uint32_t)t->bytes);
        if (most > t->bytes - offset)
            most = t->bytes - offset;
    }
    bytes = random_below(3) ? 1 + random_below((uint32_t)most)
                            : 1 + random_below(most < 8 ? (uint32_t)most : 8);
    assert_int_equal(object_define(a, BASE + first, BASE + first + bytes,
                                   kind > 1 ? &g_tensor[kind - 2] : NULL, offset,
                                   STATS_EVIDENCE_FILE),
                     0);
    model_define(m, first, first + bytes, kind, offset);
}

static void test_random_sequences(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct allocation a = {.base = BASE, .bytes = BYTES, .kind = ALLOCATION_PLAIN, .number = 7};
        struct model m = {0};

        g_seed = seed;
        for (int step = 0; step < 200; step++) {
            if (!random_below(8)) {
                size_t first = random_below(BYTES),
                       end = first + random_below(BYTES - (uint32_t)first);

                object_mark_written(&a, BASE + first, BASE + end);
                for (size_t i = first; i < end; i++)
                    m.written[i] = m.label[i].kind != 0;
            } else if (!random_below(8)) {
                size_t first = random_below(BYTES - 1);
                size_t end = first + 1 + random_below(BYTES - 1 - (uint32_t)first);

                assert_int_equal(object_erase(&a, BASE + first, BASE + end), 0);
                model_define(&m, first, end, 0, 0);
            } else if (!random_below(60)) {
                object_clear(&a);
                memset(&m, 0, sizeof(m));
            } else {
                random_define(&a, &m);
            }
            check(&a, &m);
        }
        object_clear(&a);
        memset(&m, 0, sizeof(m));
        check(&a, &m);
    }
}

/* Pieces that become one are one in the list of parameters, with what both have counted. */
static void test_joined_records(void **state)
{
    struct allocation a = {.base = BASE, .bytes = BYTES, .kind = ALLOCATION_PLAIN};
    const struct stats_record *r =
        (const struct stats_record *)((const char *)stats() + STATS_RECORDS_OFFSET);
    unsigned live = 0;

    (void)state;
    object_define(&a, BASE, BASE + 16, &g_joined, 0, STATS_EVIDENCE_FILE);
    object_define(&a, BASE + 32, BASE + 64, &g_joined, 32, STATS_EVIDENCE_FILE);
    assert_int_equal(a.object_count, 2);
    a.objects[0].record->loads = 3;
    a.objects[1].record->loads = 4;
    a.objects[1].record->h2d_bytes = 100;
    object_define(&a, BASE + 16, BASE + 32, &g_joined, 16, STATS_EVIDENCE_FILE);
    assert_int_equal(a.object_count, 1);
    assert_int_equal(a.objects[0].record->loads, 7);
    assert_int_equal(a.objects[0].record->h2d_bytes, 100);
    assert_int_equal(a.objects[0].record->bytes, 64);
    for (uint32_t i = 0; i < stats()->record_count; i++)
        live += (r[i].generation & 1) && !strcmp(fake_record_name(&r[i]), "joined");
    assert_int_equal(live, 1);
    object_clear(&a);
}

/* The same upload again is no change: launches keep what they know. */
static void test_generation(void **state)
{
    struct allocation a = {.base = BASE, .bytes = BYTES, .kind = ALLOCATION_PLAIN};
    uint64_t before;

    (void)state;
    object_define(&a, BASE, BASE + 256, &g_tensor[0], 0, STATS_EVIDENCE_FILE);
    before = range_generation();
    object_define(&a, BASE, BASE + 256, &g_tensor[0], 0, STATS_EVIDENCE_FILE);
    object_define(&a, BASE + 16, BASE + 32, &g_tensor[0], 16, STATS_EVIDENCE_FILE);
    assert_int_equal(range_generation(), before);
    object_define(&a, BASE + 16, BASE + 32, &g_tensor[0], 17, STATS_EVIDENCE_FILE);
    assert_int_not_equal(range_generation(), before);
    assert_int_equal(a.object_count, 3);
    object_clear(&a);
}

/* A tensor that is uploaded afresh, whole, is clean again whatever was written to it before. */
static void test_upload_anew_is_clean(void **state)
{
    struct allocation a = {.base = BASE, .bytes = BYTES, .kind = ALLOCATION_PLAIN};

    (void)state;
    object_define(&a, BASE, BASE + 256, &g_tensor[0], 0, STATS_EVIDENCE_FILE);
    object_mark_written(&a, BASE + 100, BASE + 101);
    assert_true(a.objects[0].written);
    object_define(&a, BASE, BASE + 128, &g_tensor[0], 0, STATS_EVIDENCE_FILE);
    assert_true(a.objects[0].written);
    object_define(&a, BASE, BASE + 256, &g_tensor[0], 0, STATS_EVIDENCE_FILE);
    assert_false(a.objects[0].written);
    object_clear(&a);
}

/* How an extent is loaded follows from what was uploaded to it, allocation by allocation. */
static void test_mode(void **state)
{
    size_t bytes = 4 * FAKE_PAGE;
    CUdeviceptr base;
    struct allocation *a;

    (void)state;
    fake_context(0);
    assert_int_equal(range_alloc(bytes, fake_plain, &bytes, &base), CUDA_SUCCESS);
    range_write_lock();
    a = range_allocation_at(base);
    object_define(a, base, base + FAKE_PAGE - 4096, NULL, 0, STATS_EVIDENCE_NONE);
    object_define(a, base + FAKE_PAGE, base + 2 * FAKE_PAGE, &g_tensor[0], 0, STATS_EVIDENCE_FILE);
    object_define(a, base + 2 * FAKE_PAGE + 4097, base + 3 * FAKE_PAGE, &g_tensor[1], 0,
                  STATS_EVIDENCE_FILE);
    range_unlock();
    /* Padding of a page is none of the program's working memory; one byte more may be. */
    assert_int_equal(object_mode(base, base + 2 * FAKE_PAGE), BACKEND_SHARED);
    assert_int_equal(object_mode(base + 2 * FAKE_PAGE, base + 3 * FAKE_PAGE), BACKEND_MOVED);
    assert_int_equal(object_mode(base + 3 * FAKE_PAGE, base + 4 * FAKE_PAGE), BACKEND_MOVED);
    range_write_lock();
    object_mark_written(a, base + FAKE_PAGE, base + FAKE_PAGE + 1);
    range_unlock();
    assert_int_equal(object_mode(base, base + FAKE_PAGE), BACKEND_SHARED);
    assert_int_equal(object_mode(base + FAKE_PAGE, base + 2 * FAKE_PAGE), BACKEND_MOVED);
}

static void test_mode_of_a_shared_range(void **state)
{
    size_t bytes[3] = {FAKE_PAGE / 2, FAKE_PAGE / 4, FAKE_PAGE / 4};
    CUdeviceptr base[3];

    (void)state;
    fake_context(1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(range_alloc(bytes[i], fake_plain, &bytes[i], &base[i]), CUDA_SUCCESS);
        assert_int_equal(base[i], i ? base[i - 1] + bytes[i - 1] : base[0]);
    }
    range_write_lock();
    object_define(range_allocation_at(base[0]), base[0], base[0] + bytes[0], NULL, 0,
                  STATS_EVIDENCE_NONE);
    object_define(range_allocation_at(base[2]), base[2], base[2] + bytes[2], NULL, 0,
                  STATS_EVIDENCE_NONE);
    range_unlock();
    assert_int_equal(object_mode(base[0], base[0] + FAKE_PAGE), BACKEND_MOVED);
    range_write_lock();
    object_define(range_allocation_at(base[1]), base[1], base[1] + bytes[1], NULL, 0,
                  STATS_EVIDENCE_NONE);
    range_unlock();
    assert_int_equal(object_mode(base[0], base[0] + FAKE_PAGE), BACKEND_SHARED);
    /* What lies behind the last allocation was never uploaded, and is not the program's. */
    assert_int_equal(object_mode(base[0], base[0] + 2 * FAKE_PAGE), BACKEND_SHARED);
    assert_true(object_fills_ends(base[0], FAKE_PAGE));
    assert_false(object_fills_ends(base[0], 2 * FAKE_PAGE));
    assert_false(object_fills_ends(base[0] + FAKE_PAGE, FAKE_PAGE));
}

/* As the pager does: an extent comes or goes, and is accounted for. */
static void move_page(CUdeviceptr base, size_t page, enum object_move move)
{
    struct range *r;

    range_read_lock();
    r = range_allocation_at(base)->range;
    range_unlock();
    r->extents[page]->state = move == OBJECT_LOADED ? EXTENT_LOADING : EXTENT_EVICTING;
    object_account(base + page * FAKE_PAGE, base + (page + 1) * FAKE_PAGE, move);
    r->extents[page]->state = move == OBJECT_LOADED ? EXTENT_RESIDENT : EXTENT_ABSENT;
}

/* Loads are counted where a parameter begins, bytes wherever it lies, and the tier follows. */
static void test_account(void **state)
{
    size_t bytes = 8 * FAKE_PAGE;
    struct stats_record *r;
    uint64_t others = stats()->weights_vram_bytes; /* of tests before this one */
    CUdeviceptr base;

    (void)state;
    fake_context(2);
    assert_int_equal(range_alloc(bytes, fake_plain, &bytes, &base), CUDA_SUCCESS);
    range_write_lock();
    object_define(range_allocation_at(base), base + FAKE_PAGE / 2, base + 5 * FAKE_PAGE / 2,
                  &g_tensor[0], 0, STATS_EVIDENCE_FILE);
    r = range_allocation_at(base)->objects[0].record;
    range_unlock();
    assert_int_equal(r->tier, STATS_TIER_VRAM);
    assert_int_equal(r->resident_bytes, 2 * FAKE_PAGE);
    move_page(base, 0, OBJECT_DROPPED);
    assert_int_equal(r->evictions, 1);
    assert_int_equal(r->resident_bytes, 3 * FAKE_PAGE / 2);
    assert_int_equal(r->tier, STATS_TIER_HOST);
    move_page(base, 1, OBJECT_DROPPED);
    assert_int_equal(r->evictions, 1);
    assert_int_equal(r->resident_bytes, FAKE_PAGE / 2);
    assert_int_equal(stats()->weights_vram_bytes, others + FAKE_PAGE / 2);
    assert_true(stats()->weights_peak_vram_bytes >= others + 2 * FAKE_PAGE);
    move_page(base, 0, OBJECT_LOADED);
    assert_int_equal(r->loads, 1);
    assert_int_equal(r->h2d_bytes, FAKE_PAGE / 2);
    move_page(base, 1, OBJECT_LOADED);
    assert_int_equal(r->loads, 1);
    assert_int_equal(r->h2d_bytes, 3 * FAKE_PAGE / 2);
    assert_int_equal(r->tier, STATS_TIER_VRAM);
    move_page(base, 3, OBJECT_DROPPED);
    move_page(base, 3, OBJECT_LOADED);
    assert_int_equal(r->h2d_bytes, 3 * FAKE_PAGE / 2);
    assert_int_equal(r->evictions, 1);
    /* What is on its way counts once, whoever measures it meanwhile. */
    range_read_lock();
    range_allocation_at(base)->range->extents[2]->state = EXTENT_ABSENT;
    range_unlock();
    object_account(base + 2 * FAKE_PAGE, base + 3 * FAKE_PAGE, OBJECT_DROPPED);
    range_read_lock();
    range_allocation_at(base)->range->extents[2]->state = EXTENT_LOADING;
    range_unlock();
    object_account(base + 3 * FAKE_PAGE, base + 4 * FAKE_PAGE, OBJECT_LOADED);
    object_account(base + 2 * FAKE_PAGE, base + 3 * FAKE_PAGE, OBJECT_LOADED);
    assert_int_equal(r->resident_bytes, 2 * FAKE_PAGE);
    assert_int_equal(stats()->weights_vram_bytes, others + 2 * FAKE_PAGE);
    assert_int_equal(r->freed, 0);
    range_write_lock();
    object_clear(range_allocation_at(base));
    range_unlock();
    assert_int_equal(stats()->weights_vram_bytes, others);
    assert_int_equal(r->freed, 1);
    assert_int_equal(r->resident_bytes, 2 * FAKE_PAGE); /* as it was */
}

static int setup(void **state)
{
    (void)state;
    for (int i = 0; i < FAKE_DEVICES; i++)
        fake_budget(i, (uint64_t)1 << 30, (uint64_t)1 << 30);
    fake_budget(2, (uint64_t)64 << 20, (uint64_t)1 << 30); /* extents of a page */
    stats_open("fake", "um", NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    stats_close();
    return g_fake.misuse;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_sequences),
        cmocka_unit_test(test_joined_records),
        cmocka_unit_test(test_generation),
        cmocka_unit_test(test_upload_anew_is_clean),
        cmocka_unit_test(test_mode),
        cmocka_unit_test(test_mode_of_a_shared_range),
        cmocka_unit_test(test_account),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
