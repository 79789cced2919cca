/* Strategy: a fake driver that knows some functions' parameters and counts how often it is asked.
 * A layout is asked for once, whatever the driver's answer; it is forgotten when code is unloaded;
 * threads that ask together get one. Drivers that do not tell are stood in for by code images. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "layout.h"
#include "tests/unit/cubin_image.h"
#include "tests/unit/fake_driver.h"

static atomic_int g_asked;

static CUfunction function_of(size_t i)
{
    return (CUfunction)(0x10000 + 16 * i);
}

/* Function i has i % 4 parameters, of 8 * (i % 3 + 1) bytes each. */
static CUresult param_info(CUfunction function, size_t index, size_t *offset, size_t *bytes)
{
    size_t i = ((uintptr_t)function - 0x10000) / 16;

    atomic_fetch_add(&g_asked, 1);
    if ((uintptr_t)function < 0x10000)
        return CUDA_ERROR_INVALID_HANDLE;
    if (index >= i % 4)
        return CUDA_ERROR_INVALID_VALUE;
    *bytes = 8 * (i % 3 + 1);
    *offset = index * *bytes;
    return CUDA_SUCCESS;
}

static CUresult kernel_param_info(CUkernel kernel, size_t index, size_t *offset, size_t *bytes)
{
    atomic_fetch_add(&g_asked, 1);
    if ((uintptr_t)kernel != 0x77 || index > 1)
        return index > 1 ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_INVALID_HANDLE;
    *offset = 100 * index;
    *bytes = 8;
    return CUDA_SUCCESS;
}

static CUresult function_name(const char **name, CUfunction function)
{
    if ((uintptr_t)function == 0x10)
        *name = "first";
    else if ((uintptr_t)function == 0x20)
        *name = "second";
    else
        return CUDA_ERROR_INVALID_HANDLE;
    return CUDA_SUCCESS;
}

static CUresult kernel_name(const char **name, CUkernel kernel)
{
    if ((uintptr_t)kernel != 0x30)
        return CUDA_ERROR_INVALID_HANDLE;
    *name = "second";
    return CUDA_SUCCESS;
}

static void check(const struct layout *l, size_t i)
{
    assert_non_null(l);
    assert_true(l->known);
    assert_ptr_equal(l->function, function_of(i));
    assert_int_equal(l->count, i % 4);
    for (size_t p = 0; p < l->count; p++) {
        assert_int_equal(l->param[p].bytes, 8 * (i % 3 + 1));
        assert_int_equal(l->param[p].offset, p * l->param[p].bytes);
    }
}

static void test_asked_once(void **state)
{
    int asked;

    (void)state;
    for (size_t i = 0; i < 5000; i++)
        check(layout_get(function_of(i)), i);
    asked = g_asked;
    for (size_t i = 0; i < 5000; i++)
        check(layout_get(function_of(i)), i);
    assert_int_equal(g_asked, asked);
    assert_ptr_equal(layout_get(function_of(7)), layout_get(function_of(7)));
    layout_forget_all();
    check(layout_get(function_of(7)), 7);
    assert_true(g_asked > asked);
}

/* Forgetting again and again fills the table with what has passed, not for ever. */
static void test_forgotten_many_times(void **state)
{
    (void)state;
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < 30; i++)
            check(layout_get(function_of(i)), i);
        layout_forget_all();
    }
}

static void test_kernel_handle(void **state)
{
    const struct layout *l = layout_get((CUfunction)0x77);

    (void)state;
    assert_non_null(l);
    assert_true(l->known);
    assert_int_equal(l->count, 2);
    assert_int_equal(l->param[1].offset, 100);
}

static void test_nobody_knows(void **state)
{
    const struct layout *l = layout_get((CUfunction)0x88);
    int asked = g_asked;

    (void)state;
    assert_non_null(l);
    assert_false(l->known);
    assert_int_equal(l->count, 0);
    assert_ptr_equal(layout_get((CUfunction)0x88), l);
    assert_int_equal(g_asked, asked);
}

static CUmodule g_module; /* of every function */

static CUresult function_module(CUmodule *module, CUfunction function)
{
    (void)function;
    *module = g_module;
    return g_module ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

/* Two parameters, the second of so many bytes. */
static void load_image(const void *owner, enum layout_owner kind, const char *name, unsigned bytes)
{
    char section[64];
    struct image info = {{0}, 0}, image;
    struct section sections[1] = {{section, &info}};

    snprintf(section, sizeof(section), ".nv.info.%s", name);
    put_param(&info, 0x17, 1, 8, bytes);
    put_param(&info, 0x17, 0, 0, 8);
    make_elf(&image, sections, 1);
    layout_image_loaded(owner, kind, image.bytes);
}

static void load_library(uintptr_t owner, const char *name, unsigned bytes)
{
    load_image((const void *)owner, LAYOUT_LIBRARY, name, bytes);
}

static CUmodule load_module(uintptr_t owner, const char *name, unsigned bytes)
{
    load_image((const void *)owner, LAYOUT_MODULE, name, bytes);
    return (CUmodule)owner;
}

/* What the driver does not tell images have to. */
static void tell_nothing(void)
{
    g_fake_driver.cuFuncGetParamInfo = NULL;
    g_fake_driver.cuKernelGetParamInfo = NULL;
    g_fake_driver.cuFuncGetModule = function_module;
    g_module = NULL;
    layout_forget_all();
}

/* Bytes of the second parameter of a function in a module, 0 when nobody knows. */
static uint32_t second_bytes(CUmodule module, uintptr_t function)
{
    const struct layout *l;

    g_module = module;
    layout_forget_all();
    l = layout_get((CUfunction)function);
    assert_non_null(l);
    assert_int_equal(l->count, l->known ? 2 : 0);
    return l->known ? l->param[1].bytes : 0;
}

/* Without cuFuncGetParamInfo the image tells; of libraries, whose functions say nothing of where
 * they are from, two images that contradict each other tell nothing. */
static void test_from_images(void **state)
{
    const struct layout *l;

    (void)state;
    tell_nothing();
    load_library(1, "first", 16);
    load_library(2, "second", 16);
    l = layout_get((CUfunction)0x10);
    assert_true(l->known);
    assert_int_equal(l->count, 2);
    assert_int_equal(l->param[0].bytes, 8);
    assert_int_equal(l->param[1].offset, 8);
    assert_int_equal(l->param[1].bytes, 16);
    l = layout_get((CUfunction)0x30); /* by the name of a library's kernel */
    assert_int_equal(l->count, 2);
    load_library(3, "first", 16);
    load_library(4, "second", 24);
    layout_image_loaded((void *)1, LAYOUT_LIBRARY, NULL);
    assert_int_equal(second_bytes(NULL, 0x10), 16);
    assert_int_equal(second_bytes(NULL, 0x20), 0);
    assert_int_equal(second_bytes(NULL, 0x30), 0);
    assert_int_equal(second_bytes(NULL, 0x40), 0);
    layout_unloaded((void *)4);
    assert_int_equal(second_bytes(NULL, 0x20), 16);
    layout_unloaded((void *)2);
    assert_int_equal(second_bytes(NULL, 0x20), 0);
    layout_unloaded((void *)1);
    layout_unloaded((void *)3);
    assert_int_equal(second_bytes(NULL, 0x10), 0);
}

/* One name in two modules with other parameters: a function's module tells which. */
static void test_told_apart_by_module(void **state)
{
    CUcontext ends = fake_context(0);
    CUmodule one, other;

    (void)state;
    fake_context(0);
    tell_nothing();
    one = load_module(11, "first", 16); /* of the context that stays */
    t_fake_ctx = ends;
    other = load_module(12, "first", 24);
    load_library(1, "first", 8);
    assert_int_equal(second_bytes(one, 0x10), 16);
    assert_int_equal(second_bytes(other, 0x10), 24);
    assert_int_equal(second_bytes(one, 0x20), 0);          /* which is not in it */
    assert_int_equal(second_bytes((CUmodule)13, 0x10), 8); /* of none of ours: a library's */
    /* A handle that comes again says nothing of what had it, even when the image is not read. */
    layout_image_loaded(other, LAYOUT_MODULE, "no image");
    assert_int_equal(second_bytes(other, 0x10), 0);
    load_module(12, "first", 32);
    assert_int_equal(second_bytes(other, 0x10), 32);
    assert_int_equal(second_bytes(NULL, 0x10), 0);
    layout_context_destroyed(ends);
    assert_int_equal(second_bytes(one, 0x10), 16);
    layout_unloaded(one);
    assert_int_equal(second_bytes(other, 0x10), 8); /* the library's alone is left */
    layout_file_loaded(other, LAYOUT_MODULE, "/dev/null");
    assert_int_equal(second_bytes(other, 0x10), 0);
    layout_unloaded(other);
    load_library(1, "first", 40);
    assert_int_equal(second_bytes(other, 0x10), 40);
    layout_unloaded((void *)1);
}

/* "first", twice. */
static void load_twice(uintptr_t owner, unsigned bytes, unsigned again_bytes)
{
    struct image info[2] = {{{0}, 0}, {{0}, 0}}, image;
    struct section sections[2] = {{".nv.info.first", &info[0]}, {".nv.info.first", &info[1]}};

    for (int i = 0; i < 2; i++) {
        put_param(&info[i], 0x17, 1, 8, i ? again_bytes : bytes);
        put_param(&info[i], 0x17, 0, 0, 8);
    }
    make_elf(&image, sections, 2);
    layout_image_loaded((const void *)owner, LAYOUT_MODULE, image.bytes);
}

/* A fatbin has a kernel more than once, alike as a rule. */
static void test_twice_in_an_image(void **state)
{
    (void)state;
    tell_nothing();
    load_twice(22, 16, 24);
    load_twice(21, 16, 16);
    assert_int_equal(second_bytes((CUmodule)21, 0x10), 16);
    assert_int_equal(second_bytes((CUmodule)22, 0x10), 0);
    assert_int_equal(second_bytes(NULL, 0x10), 0);
    layout_unloaded((void *)21);
    layout_unloaded((void *)22);
}

static void *ask_all(void *arg)
{
    const struct layout **found = arg;

    for (size_t i = 0; i < 2000; i++) {
        found[i] = layout_get(function_of(i));
        assert_non_null(found[i]);
    }
    return NULL;
}

static void test_threads(void **state)
{
    static const struct layout *found[4][2000];
    pthread_t thread[4];

    (void)state;
    layout_forget_all();
    for (int t = 0; t < 4; t++)
        assert_int_equal(pthread_create(&thread[t], NULL, ask_all, found[t]), 0);
    for (int t = 0; t < 4; t++)
        pthread_join(thread[t], NULL);
    for (size_t i = 0; i < 2000; i++)
        for (int t = 0; t < 4; t++) {
            check(found[t][i], i);
            assert_ptr_equal(found[t][i], found[0][i]);
        }
}

/* A file is read for its layouts and closed again, whatever is in it. */
static void test_file_is_closed(void **state)
{
    int before = open("/dev/null", O_RDONLY), after;

    (void)state;
    close(before);
    layout_file_loaded((void *)1, LAYOUT_MODULE, "/proc/self/exe");
    layout_file_loaded((void *)1, LAYOUT_MODULE, "/dev/null");
    after = open("/dev/null", O_RDONLY);
    close(after);
    assert_int_equal(after, before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asked_once),        cmocka_unit_test(test_forgotten_many_times),
        cmocka_unit_test(test_kernel_handle),     cmocka_unit_test(test_nobody_knows),
        cmocka_unit_test(test_threads),           cmocka_unit_test(test_from_images),
        cmocka_unit_test(test_file_is_closed),    cmocka_unit_test(test_told_apart_by_module),
        cmocka_unit_test(test_twice_in_an_image),
    };

    g_fake_driver.cuFuncGetParamInfo = param_info;
    g_fake_driver.cuKernelGetParamInfo = kernel_param_info;
    g_fake_driver.cuFuncGetName = function_name;
    g_fake_driver.cuKernelGetName = kernel_name;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
