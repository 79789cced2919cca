/* fake_allocation.h - allocations of a program on the fake driver, for the tests of shim/. */
#ifndef BERTH_TEST_FAKE_ALLOCATION_H
#define BERTH_TEST_FAKE_ALLOCATION_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "checkpoint.h"
#include "object.h"
#include "tests/unit/fake_driver.h"

static inline CUdeviceptr take(size_t bytes)
{
    CUdeviceptr p = 0;

    assert_int_equal(range_alloc(bytes, fake_plain, &bytes, &p), CUDA_SUCCESS);
    assert_int_not_equal(p, 0);
    return p;
}

static inline void give(CUdeviceptr p)
{
    struct range_view view;
    int paged = -1;

    assert_int_equal(range_find(p, &view), 1);
    assert_int_equal(range_free(p, &paged), CUDA_SUCCESS);
    assert_int_equal(paged, view.kind == ALLOCATION_PAGED);
    if (!paged)
        g_fake_driver.cuMemFree_v2(p);
}

/* The objects of the allocation that starts at base, one word each: name+offset@address,bytes and
 * a ! where it was written since. All that have a name have it by the same evidence. */
static inline const char *objects_of(CUdeviceptr base, enum stats_evidence evidence)
{
    static char text[1024];
    const struct allocation *a;
    size_t at = 0;

    text[0] = '\0';
    range_read_lock();
    a = range_allocation_at(base);
    for (size_t i = 0; a && i < a->object_count; i++) {
        const struct object *o = &a->objects[i];

        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s+%llu@%llu,%llu%s", i ? " " : "",
                               o->tensor ? o->tensor->name : "?",
                               (unsigned long long)(o->tensor ? o->tensor_offset : 0),
                               (unsigned long long)(o->first - base),
                               (unsigned long long)(o->end - o->first), o->written ? "!" : "");
        if (o->tensor)
            assert_string_equal(fake_record_name(o->record), o->tensor->name);
        assert_int_equal(o->evidence, o->tensor ? evidence : STATS_EVIDENCE_NONE);
    }
    range_unlock();
    return text;
}

#endif
