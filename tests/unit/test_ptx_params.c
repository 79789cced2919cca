/* Strategy: small texts for each rule of the syntax, what must be passed over, and every cut of one
 * text against reading outside. The preload programs run on a driver that tells no layouts. */
#include "ptx_params.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct seen {
    char text[65536];
};

static void see(void *arg, const char *name, const struct cubin_param *params, size_t count)
{
    struct seen *seen = arg;
    size_t used = strlen(seen->text);

    used += (size_t)snprintf(seen->text + used, sizeof(seen->text) - used, "%s:", name);
    for (size_t i = 0; i < count; i++)
        used += (size_t)snprintf(seen->text + used, sizeof(seen->text) - used, " %u+%u",
                                 params[i].offset, params[i].bytes);
    snprintf(seen->text + used, sizeof(seen->text) - used, "\n");
}

static void expect(const char *ptx, const char *kernels)
{
    struct seen seen = {""};

    ptx_params_walk(ptx, strlen(ptx), see, &seen);
    assert_string_equal(seen.text, kernels);
}

static void test_layouts(void **state)
{
    (void)state;
    expect(".visible .entry k(\n .param .u64 k_param_0,\n .param .u32 k_param_1\n)\n{ ret; }",
           "k: 0+8 8+4\n");
    expect(".entry k(.param .u32 a, .param .u64 b, .param .f32 c, .param .u8 d, .param .b16 e) {}",
           "k: 0+4 8+8 16+4 20+1 22+2\n");
    expect(".entry k(.param .align 16 .b8 a[40], .param .u64 b){}", "k: 0+40 40+8\n");
    expect(".entry k(.param .u32 a, .param .align 16 .b8 b[8]){}", "k: 0+4 16+8\n");
    expect(".entry k(.param .u32 a, .param .u64 .ptr .global .align 1 b){}", "k: 0+4 8+8\n");
    expect(".entry k() .maxntid 64 { }", "k:\n");
    expect(".entry k { }", "k:\n");
    expect(".entry k .maxntid 64, 1, 1 { }", "k:\n");
}

static void test_looks_only_at_entries(void **state)
{
    (void)state;
    expect(
        "// .entry not(.param .u64 a)\n/* .entry nor(.param .u64 a) */ .entry k(.param .u64 a){}",
        "k: 0+8\n");
    expect(".func (.param .b32 r) f(.param .b64 x) { } .entry k(.param .u64 /* c */ a) {}",
           "k: 0+8\n");
    expect(".entry a(.param .u64 x){} .entry b(.param .u32 x){}", "a: 0+8\nb: 0+4\n");
    expect("", "");
    expect("\x7f"
           "ELF",
           "");
}

static void test_passes_over_what_it_does_not_understand(void **state)
{
    (void)state;
    expect(".entry k(.param .texref t){} .entry l(.param .u64 a){}", "l: 0+8\n");
    expect(".entry k(.param .align 3 .b8 a[4]){}", "");
    expect(".entry k(.param .b8 a[99999999]){}", "");
    expect(".entry k(.param .u64", "");
    expect(".entry", "");
    expect(".entry k(.reg .u64 a){}", "");
}

/* Every cut lies at the very end of an allocation: a byte too much is caught by the sanitizer. */
static void test_reads_no_further(void **state)
{
    const char *text = "/* c */ // d\n.entry k(.param .align 8 .b8 a[16], .param .u64 b) { }";

    (void)state;
    for (size_t n = 0; n <= strlen(text); n++) {
        struct seen seen = {""};
        char *cut = malloc(n ? n : 1);

        assert_non_null(cut);
        memcpy(cut, text, n);
        ptx_params_walk(cut, n, see, &seen);
        free(cut);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_looks_only_at_entries),
        cmocka_unit_test(test_passes_over_what_it_does_not_understand),
        cmocka_unit_test(test_reads_no_further),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
