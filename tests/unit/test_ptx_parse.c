/* test_ptx_parse.c - what the translator refuses, with the line, and what it reads past.
 *
 * Strategy: a table of modules with one thing wrong in a known line; each must give its code and
 * name the line and the culprit. Then directives that mean nothing here, and every prefix of a
 * whole module, none of which may do worse than be refused.
 */
#include "ptx_rig.h"

#define HEAD ".version 7.8\n.target sm_90\n.address_size 64\n"
#define BODY_HEAD                                                                                  \
    HEAD ".visible .entry k(.param .u64 p0)\n{\n.reg .b32 r<4>; .reg .f32 f<4>;\n"                 \
         ".reg .b64 d<4>; .reg .pred p; .reg .b16 h;\n"
#define BODY(text)   BODY_HEAD text "\nret;\n}\n"
#define BODY_LINE(n) (8 + (n)) /* lines of BODY's text count from 0 */

struct refusal {
    const char *text;
    int result;
    int line; /* 0: the message has none */
    const char *says;
};

static const struct refusal g_refusals[] = {
    {BODY("foo.bar r0, r1;"), 218, BODY_LINE(0), "unknown instruction 'foo.bar'"},
    {BODY("\n\nmma.sync.aligned.m8n8k4.f32 r0;"), 218, BODY_LINE(2), "mma.sync.aligned.m8n8k4.f32"},
    {BODY("tex.2d.v4.f32.f32 r0, r1;"), 218, BODY_LINE(0), "tex"},
    {BODY("add.s32.fast r0, r1, r2;"), 218, BODY_LINE(0), "unknown modifier '.fast'"},
    {BODY("add.rz.s32 r0, r1, r2;"), 218, BODY_LINE(0), "unknown modifier '.rz'"},
    {BODY("add.s32 r0, r1;"), 218, BODY_LINE(0), "operands"},
    {BODY("add.s32 r0, r1, r9;"), 218, BODY_LINE(0), "r9"},
    {BODY("add.s32 r0, r1, d1;"), 218, BODY_LINE(0), "'d1' of type .b64"},
    {BODY("add.f32 f0, f1, 1;"), 218, BODY_LINE(0), "integer constant"},
    {BODY("add.f32 f0, f1, d1;"), 218, BODY_LINE(0), "'d1'"},
    {BODY("rcp.approx.f64 d1, d1;"), 218, BODY_LINE(0), "wants .ftz"},
    {BODY("setp.lo.s32 p, r0, r1;"), 218, BODY_LINE(0), ".lo is not defined for .s32"},
    {BODY("selp.b32 r0, r1, r2, r3;"), 218, BODY_LINE(0), "'r3'"},
    {BODY("mov.u32 r0, %nosuch;"), 218, BODY_LINE(0), "unknown special register '%nosuch'"},
    {BODY("mov.u32 5, r0;"), 218, BODY_LINE(0), "destination"},
    {BODY("bra nowhere;"), 218, BODY_LINE(0), "unknown label 'nowhere'"},
    {BODY("{ inner: mov.u32 r0, 1; } bra inner;"), 218, BODY_LINE(0), "unknown label 'inner'"},
    {BODY("call nobody;"), 218, BODY_LINE(0), "unknown function 'nobody'"},
    {BODY("@r0 mov.u32 r0, r1;"), 218, BODY_LINE(0), "'r0' is not a predicate"},
    {BODY("ld.global.u32 r0, r1;"), 218, BODY_LINE(0), "address in brackets"},
    {BODY("ld.global.v2.u32 {r0, r1, r2}, [d0];"), 218, BODY_LINE(0), "3 elements"},
    {BODY("ld.shared.u32 r0, [p0];"), 218, BODY_LINE(0), "another state space"},
    {BODY("ld.param.u64 d0, [p0+8];"), 218, BODY_LINE(0), "outside of parameter 'p0'"},
    {BODY("st.const.u32 [d0], r0;"), 218, BODY_LINE(0), "cannot be written"},
    {BODY("st.param.u64 [p0], d0;"), 218, BODY_LINE(0), "cannot be written"},
    {BODY("ld.global.u64 r0, [d0];"), 218, BODY_LINE(0), "'r0'"},
    {BODY("cvt.f16.f32 h, f0;"), 218, BODY_LINE(0), "rounding mode"},
    {BODY("cvt.f32.s32 f0, r0;"), 218, BODY_LINE(0), "rounding mode"},
    {BODY("div.f32 f0, f1, f2;"), 218, BODY_LINE(0), "rounding mode"},
    {BODY("mul.s32 r0, r1, r2;"), 218, BODY_LINE(0), ".lo, .hi or .wide"},
    {BODY("atom.global.sub.u32 r0, [d0], r1;"), 218, BODY_LINE(0), "operation"},
    {BODY("atom.global.and.f32 f0, [d0], f1;"), 218, BODY_LINE(0), "not defined for .f32"},
    {BODY("mov.f32 f0, 0f3F80;"), 218, BODY_LINE(0), "hex digits"},
    {BODY("mov.u32 r0, 12x4;"), 218, BODY_LINE(0), "malformed number"},
    {BODY("mov.u32 r0, (1 / 0);"), 218, BODY_LINE(0), "division by zero"},
    {BODY(".reg .b32 r0x, r0x;"), 218, BODY_LINE(0), "'r0x' is declared twice"},
    {BODY(".reg .b33 x;"), 218, BODY_LINE(0), "unknown type '.b33'"},
    {BODY("mov.u32 r0, r1\nadd.u32 r0, r0, r1;"), 218, BODY_LINE(1), "expected ';'"},
    {BODY("/* a comment\nof two lines */ // and more\nbogus r0;"), 218, BODY_LINE(2), "'bogus'"},
    {HEAD ".visible .entry k()\n{\nret;\n", 218, 7, "'}'"},
    {HEAD ".visible .entry k()\n{\nret;\n}\n.entry k()\n{\nret;\n}\n", 218, 8, "twice"},
    {HEAD ".nonsense 5;\n", 218, 4, "unknown directive '.nonsense'"},
    {HEAD ".global .texref t;\n", 218, 4, "unknown type '.texref'"},
    {HEAD ".extern .global .u32 elsewhere;\n", 218, 4, "'elsewhere' is not defined"},
    {HEAD ".global .u32 a[2] = {1, 2, 3};\n", 218, 4, "too many initial values"},
    {HEAD ".global .u64 a = nobody;\n", 218, 4, "unknown name 'nobody'"},
    {HEAD ".global .align 3 .u32 a;\n", 218, 4, "alignment"},
    {HEAD ".shared .u32 s = 5;\n", 218, 4, "initial values"},
    {HEAD ".extern .func f();\n.entry k()\n{\ncall f;\nret;\n}\n", 218, 7, "not defined in this"},
    {HEAD ".func f(.param .u32 a)\n{ ret; }\n.entry k()\n{\ncall f;\nret;\n}\n", 218, 8,
     "number of parameters"},
    {HEAD ".entry k()\n{\n.shared .b8 a[300000];\n.reg .b32 r;\nld.shared.u32 r, [a];\nret;\n}\n",
     218, 6, "shared memory"},
    {".version 7.8\n.target sm_90\n.address_size 32\n", 218, 3, ".address_size 64"},
    {".version 7.8\n.target mips\n", 218, 2, "unknown target 'mips'"},
    {".version 12.3\n.target sm_90\n", 222, 1, "newer"},
    {"hello", 218, 1, "expected .version"},
    {"", 218, 1, "expected .version"},
};

static void test_refusals(void **state)
{
    struct rig *rig = rig_new();

    (void)state;
    for (size_t i = 0; i < sizeof(g_refusals) / sizeof(g_refusals[0]); i++) {
        const struct refusal *r = &g_refusals[i];
        char line[32];
        int res = rig_try_load(rig, r->text);

        snprintf(line, sizeof(line), "ptx line %d:", r->line);
        if (res != r->result || !strstr(rig->log, r->says) ||
            strncmp(rig->log, line, strlen(line)) != 0)
            fail_msg("expected %d and '%s ... %s', got %d and '%s'", r->result, line, r->says, res,
                     rig->log);
    }
    rig_free(rig);
}

/* The log is optional, and its end is respected. */
static void test_log_bounds(void **state)
{
    const char *text = BODY("foo.bar r0, r1;");
    struct ptx_module *module = NULL;
    char log[16];

    (void)state;
    assert_int_equal(ptx_module_load(text, strlen(text), NULL, 0, &module), 218);
    memset(log, 'x', sizeof(log));
    assert_int_equal(ptx_module_load(text, strlen(text), log, 8, &module), 218);
    assert_string_equal(log, "ptx lin");
    assert_int_equal(log[8], 'x');
}

static const char g_directives[] =
    "// a header\n/* of two kinds */\n.version 8.0\n.target sm_75, debug\n.address_size 64\n"
    ".file 1 \"a.cu\", 123, 456\n.file 2 \"b.cu\"\n"
    ".weak .func (.param .b32 r) helper(.param .b32 a) .noreturn;\n"
    ".visible .entry k(.param .u64 .ptr .global .align 16 k_param_0)\n"
    ".maxntid 128, 2, 1\n.minnctapersm 2\n.maxnreg 64\n"
    "{\n.pragma \"nounroll\";\n.reg .b64 %rd<2>; .reg .b32 %r<2>;\n"
    ".loc 1 10 5\n$L__func: ld.param.u64 %rd1, [k_param_0];\n"
    ".loc 1 11 7, function_name $L__info, inlined_at 1 3 4\n"
    "mov.u32 %r1, 0x7;\n"
    ".loc 1 12 7, function_name $L__info+12, inlined_at 1 3 4\n"
    "st.global.u32 [%rd1], %r1;\nret;\n$L__end:\n}\n"
    ".section .debug_str\n{\n$L__info:\n.b8 97, 98, 0\n.b32 .debug_str+5\n}\n"
    ".section .debug_loc { }\n"
    ".entry small() .reqntid 32 { ret; }\n"
    ".common .global .align 4 .b8 shared_variable[4];\n"
    ".visible .global .attribute(.managed) .align 4 .u32 managed = 5;\n";

static void test_directives(void **state)
{
    struct rig *rig = rig_new();
    uint64_t out = rig_alloc(rig, 64);
    const struct ptx_global *globals;

    (void)state;
    rig_load(rig, g_directives);
    assert_int_equal(ptx_module_kernel_count(rig->module), 2);
    assert_string_equal(ptx_kernel_name(ptx_module_kernel_at(rig->module, 0)), "k");
    assert_null(ptx_module_kernel_at(rig->module, 2));
    assert_null(ptx_module_kernel(rig->module, "helper"));
    assert_int_equal(ptx_kernel_max_threads(ptx_module_kernel(rig->module, "k")), 256);
    assert_int_equal(ptx_kernel_max_threads(ptx_module_kernel(rig->module, "small")), 32);
    assert_int_equal(ptx_module_globals(rig->module, &globals), 2);
    assert_string_equal(globals[1].name, "managed");
    assert_int_equal(rig_run(rig, "k", 1, 1, 0, &out), 0);
    assert_int_equal(*(uint32_t *)rig_at(rig, out), 7);
    rig_free(rig);
}

/* Brackets without end must not reach the end of the stack. */
static void test_deep_nesting(void **state)
{
    static const char *const heads[] = {BODY_HEAD "mov.u32 r0, ", BODY_HEAD,
                                        BODY_HEAD "mov.b32 r0, ", HEAD ".global .u32 a[2] = "};
    static const char brackets[] = "({{{";
    enum { DEEP = 1000000 };
    char *text = malloc(DEEP + 4096);
    struct ptx_module *module = NULL;
    char log[256];

    (void)state;
    assert_non_null(text);
    for (int i = 0; i < 4; i++) {
        size_t n = strlen(heads[i]);

        memcpy(text, heads[i], n);
        memset(text + n, brackets[i], DEEP);
        assert_int_equal(ptx_module_load(text, n + DEEP, log, sizeof(log), &module), 218);
        assert_non_null(strstr(log, "nested too deeply"));
    }
    free(text);
}

/* A module that ends anywhere in its first kernel, and one with a stray byte in any place behind
 * its first comment. */
static void test_mutilated_text(void **state)
{
    char *text = data_read("ptx/variables.ptx", NULL);
    size_t bytes = strlen(text), first_line = strcspn(text, "\n");
    size_t first_kernel = (size_t)(strstr(text, ".visible") - text) + 1;
    size_t whole = (size_t)(strstr(text, "\n}\n") - text); /* behind it a prefix is a module */
    struct ptx_module *module = NULL;
    char log[256];

    (void)state;
    for (size_t n = first_kernel; n < whole; n++)
        assert_int_equal(ptx_module_load(text, n, log, sizeof(log), &module), 218);
    for (size_t n = first_line; n < bytes; n++) {
        char saved = text[n];

        text[n] = '\x01';
        assert_int_equal(ptx_module_load(text, bytes, log, sizeof(log), &module), 218);
        text[n] = saved;
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),     cmocka_unit_test(test_log_bounds),
        cmocka_unit_test(test_directives),   cmocka_unit_test(test_mutilated_text),
        cmocka_unit_test(test_deep_nesting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
