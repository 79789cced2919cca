/* ptx_rows.h - tables of instructions with the bits that they must give.
 *
 * A row is a snippet of PTX over registers of fixed names, up to four inputs and one output. All
 * rows of a table become one kernel of one module, so the compiler is started once for a table.
 * Inputs come from memory, so that nothing is computed when the module is compiled.
 *
 *     h ha hb hc hd   16 bits        f fa fb fc fd   f32     p q   predicates
 *     r ra rb rc rd   32 bits        g ga gb gc gd   f64
 *     d da db dc dd   64 bits        t u             32 bits, free for the snippet
 *
 * Register a (b, c, d) of each kind holds the low bits of the first (second...) input.
 */
#ifndef TESTS_PTX_ROWS_H
#define TESTS_PTX_ROWS_H

#include "ptx_rig.h"

struct ptx_row {
    const char *text;
    char out; /* which register holds the result: h r d f g, or p: 1 for true */
    uint64_t in[4];
    uint64_t expected;
};

struct ptx_rows_text {
    char *data;
    size_t bytes, capacity;
};

static inline void rows_put(struct ptx_rows_text *text, const char *format, ...)
{
    va_list args;

    if (text->capacity - text->bytes < 4096) {
        text->capacity = text->capacity * 2 + 65536;
        text->data = realloc(text->data, text->capacity);
        assert_non_null(text->data);
    }
    va_start(args, format);
    text->bytes += (size_t)vsnprintf(text->data + text->bytes, 4096, format, args);
    va_end(args);
}

/* f32_type is .f32, or .b32 as newer compilers declare their registers; f64_type likewise. */
static inline void rows_put_row(struct ptx_rows_text *text, const struct ptx_row *row, size_t i,
                                const char *f32_type, const char *f64_type)
{
    rows_put(text, "{\n.reg .b16 h, ha, hb, hc, hd;\n.reg .b32 r, ra, rb, rc, rd, t, u;\n");
    rows_put(text, ".reg .b64 d, da, db, dc, dd;\n.reg .pred p, q;\n");
    rows_put(text, ".reg %s f, fa, fb, fc, fd;\n.reg %s g, ga, gb, gc, gd;\n", f32_type, f64_type);
    for (int k = 0; k < 4; k++) {
        char c = "abcd"[k];

        rows_put(text, "ld.global.b64 d%c, [in+%zu];\n", c, i * 32 + (size_t)k * 8);
        rows_put(text, "cvt.u32.u64 r%c, d%c; cvt.u16.u64 h%c, d%c;\n", c, c, c, c);
        rows_put(text, "mov.b32 f%c, r%c; mov.b64 g%c, d%c;\n", c, c, c, c);
    }
    rows_put(text, "setp.ne.s32 q, 0, 0; %s\n", row->text);
    switch (row->out) {
    case 'p':
        rows_put(text, "selp.b64 d, 1, 0, p;\n");
        break;
    case 'h':
        rows_put(text, "cvt.u64.u16 d, h;\n");
        break;
    case 'r':
        rows_put(text, "cvt.u64.u32 d, r;\n");
        break;
    case 'f':
        rows_put(text, "mov.b32 r, f; cvt.u64.u32 d, r;\n");
        break;
    case 'g':
        rows_put(text, "mov.b64 d, g;\n");
        break;
    default:
        break;
    }
    rows_put(text, "st.global.b64 [out+%zu], d;\n}\n", i * 8);
}

static inline void rows_check(const struct ptx_row *rows, size_t count, const char *f32_type,
                              const char *f64_type)
{
    struct rig *rig = rig_new();
    struct ptx_rows_text text = {0};
    uint64_t params[2] = {rig_alloc(rig, count * 32), rig_alloc(rig, count * 8)};
    uint64_t *in = rig_at(rig, params[0]), *out = rig_at(rig, params[1]);
    size_t wrong = 0;

    rows_put(&text, ".version 8.8\n.target sm_100\n.address_size 64\n"
                    ".visible .entry rows(.param .u64 p_in, .param .u64 p_out)\n{\n"
                    ".reg .b64 in, out;\n"
                    "ld.param.u64 in, [p_in]; ld.param.u64 out, [p_out];\n");
    for (size_t i = 0; i < count; i++) {
        rows_put_row(&text, &rows[i], i, f32_type, f64_type);
        memcpy(in + 4 * i, rows[i].in, 32);
    }
    rows_put(&text, "ret;\n}\n");
    rig_load(rig, text.data);
    assert_int_equal(rig_run(rig, "rows", 1, 1, 0, params), 0);
    for (size_t i = 0; i < count; i++) {
        if (out[i] == rows[i].expected)
            continue;
        wrong++;
        print_error("%s with 0x%llx 0x%llx 0x%llx 0x%llx: expected 0x%llx, got 0x%llx\n",
                    rows[i].text, (unsigned long long)rows[i].in[0],
                    (unsigned long long)rows[i].in[1], (unsigned long long)rows[i].in[2],
                    (unsigned long long)rows[i].in[3], (unsigned long long)rows[i].expected,
                    (unsigned long long)out[i]);
    }
    free(text.data);
    rig_free(rig);
    assert_int_equal(wrong, 0);
}

#define ROWS_CHECK(rows, f32_type, f64_type)                                                       \
    rows_check(rows, sizeof(rows) / sizeof((rows)[0]), f32_type, f64_type)

#endif
