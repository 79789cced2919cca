/* Our ABI header and the hook table against a real cuda.h, where the machine has one of 13.0 or
 * later.
 *
 * The names to compare are read from the text of shim/cuda_abi.h, so that whatever is added there
 * is compared too. Two programs are generated from them that print values, sizes and offsets; one
 * is compiled with our header, one with cuda.h, and the outputs have to be equal. Prototypes are
 * redeclared after cuda.h's own: the compiler refuses a difference, which a wrong one on purpose
 * proves. Without a cuda.h these tests are skipped; that every constant states its value is checked
 * anywhere.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver.h"

#define OUR_HEADER  "shim/cuda_abi.h"
#define NAME_BYTES  128
#define NAMES_MAX   1024
#define OLDEST_CUDA 13000

struct names {
    char items[NAMES_MAX][NAME_BYTES];
    size_t count;
};

static struct names g_constants; /* enumerators and object-like macros */
static struct names g_types;
static struct names g_fields; /* "CUtype.field" */
static char g_folder[64];
static char g_include[PATH_MAX]; /* the folder of cuda.h; "" where there is none */
static const char *g_why_not = "";

/* Reading our header
 * -----------------------------------------------------------------------------*/

static char *read_text(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *text;
    long bytes;

    if (!file)
        return NULL;
    fseek(file, 0, SEEK_END);
    bytes = ftell(file);
    rewind(file);
    text = calloc(1, (size_t)bytes + 1);
    if (text && fread(text, 1, (size_t)bytes, file) != (size_t)bytes) {
        free(text);
        text = NULL;
    }
    fclose(file);
    return text;
}

/* Comments become spaces; lines stay where they are. */
static void blank_comments(char *text)
{
    char *start;

    while ((start = strstr(text, "/*"))) {
        char *end = strstr(start, "*/");

        assert_non_null(end);
        for (; start < end + 2; start++)
            if (*start != '\n')
                *start = ' ';
    }
}

static void add_name(struct names *names, const char *prefix, const char *name, size_t length)
{
    char *item;

    assert_true(names->count < NAMES_MAX);
    item = names->items[names->count++];
    assert_true(strlen(prefix) + length + 2 < NAME_BYTES);
    snprintf(item, NAME_BYTES, "%s%s%.*s", prefix, *prefix ? "." : "", (int)length, name);
}

static size_t identifier_length(const char *text)
{
    size_t length = 0;

    while (isalnum((unsigned char)text[length]) || text[length] == '_')
        length++;
    return length;
}

/* The declared name in "type name;" or "type name[n];": the last identifier before either. */
static const char *declared_name(const char *line, size_t *length)
{
    const char *end = line + strcspn(line, "[;");
    const char *start;

    while (end > line && !isalnum((unsigned char)end[-1]) && end[-1] != '_')
        end--;
    start = end;
    while (start > line && (isalnum((unsigned char)start[-1]) || start[-1] == '_'))
        start--;
    *length = (size_t)(end - start);
    return start;
}

static void read_macro(const char *line)
{
    const char *name = line + strlen("#define ");
    size_t length = identifier_length(name);

    if (strncmp(name, "CU_", 3) == 0 && name[length] != '(')
        add_name(&g_constants, "", name, length);
}

static void read_enumerator(const char *line)
{
    size_t length = identifier_length(line);

    if (length == 0)
        return;
    /* A value that follows from the line before would move when one is inserted. */
    if (strncmp(line + length, " = ", 3) != 0)
        fail_msg("%s: no value: %s", OUR_HEADER, line);
    add_name(&g_constants, "", line, length);
}

/* The lines of one structure or enumeration, up to its closing brace. */
static char *read_body(char *line, int is_enum, char **save)
{
    struct names fields = {.count = 0};
    const char *name;
    size_t length;
    int depth = 1;

    while ((line = strtok_r(NULL, "\n", save))) {
        line += strspn(line, " ");
        if (is_enum && *line != '}')
            read_enumerator(line);
        if (*line == '}' && --depth == 0)
            break;
        if (!is_enum && depth == 1 && strchr(line, ';')) {
            name = declared_name(line, &length);
            add_name(&fields, "", name, length);
        }
        if (strchr(line, '{'))
            depth++;
    }
    assert_non_null(line);
    name = declared_name(line, &length);
    add_name(&g_types, "", name, length);
    for (size_t i = 0; i < fields.count; i++)
        add_name(&g_fields, g_types.items[g_types.count - 1], fields.items[i],
                 strlen(fields.items[i]));
    return line;
}

/* What lies in structures without a name of their own. */
static const char *const g_nested[] = {"op.ptr.ptr",     "op.ptr.rowLength", "op.ptr.layerHeight",
                                       "op.ptr.locHint", "op.array.array",   "op.array.offset"};

static int read_our_header(void **state)
{
    char *text = read_text(OUR_HEADER);
    char *save = NULL;

    (void)state;
    if (!text) {
        print_error("cannot open %s: run the tests from the root of the repository\n", OUR_HEADER);
        return -1;
    }
    blank_comments(text);
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        const char *name;
        size_t length;

        if (strncmp(line, "#define ", 8) == 0) {
            read_macro(line);
        } else if (strncmp(line, "typedef ", 8) == 0 && strchr(line, '{')) {
            line = read_body(line, strncmp(line, "typedef enum", 12) == 0, &save);
        } else if (strncmp(line, "typedef ", 8) == 0 && !strchr(line, '(')) {
            name = declared_name(line, &length);
            add_name(&g_types, "", name, length);
        }
    }
    free(text);
    for (size_t i = 0; i < sizeof(g_nested) / sizeof(g_nested[0]); i++)
        add_name(&g_fields, "CUmemcpy3DOperand", g_nested[i], strlen(g_nested[i]));
    return 0;
}

/* The compiler
 * -----------------------------------------------------------------------------------*/

static const char *in_folder(const char *name)
{
    static char paths[8][NAME_BYTES];
    static int next;
    char *path = paths[next++ % 8];

    snprintf(path, NAME_BYTES, "%s/%s", g_folder, name);
    return path;
}

/* Where there is a cuda.h that is new enough. */
static void find_cuda(void)
{
    const char *home = getenv("CUDA_HOME");
    char path[PATH_MAX + 16];
    char *text;
    const char *version;

    snprintf(g_include, sizeof(g_include), "%s/include", home ? home : "/usr/local/cuda");
    snprintf(path, sizeof(path), "%s/cuda.h", g_include);
    text = read_text(path);
    version = text ? strstr(text, "#define CUDA_VERSION ") : NULL;
    if (!version)
        g_why_not = "no cuda.h in $CUDA_HOME/include or /usr/local/cuda/include";
    else if (atoi(version + strlen("#define CUDA_VERSION ")) < OLDEST_CUDA)
        g_why_not = "cuda.h is older than 13.0";
    free(text);
}

static int set_up(void **state)
{
    char folder[] = "/tmp/berth-abi-XXXXXX";

    if (read_our_header(state) || !mkdtemp(folder))
        return -1;
    snprintf(g_folder, sizeof(g_folder), "%s", folder);
    find_cuda();
    return 0;
}

static int tear_down(void **state)
{
    char command[NAME_BYTES];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", g_folder);
    return system(command);
}

static void skip_without_cuda(void)
{
    if (*g_why_not) {
        print_message("skipped: %s\n", g_why_not);
        skip();
    }
}

/* Run cc with the source, which may end in what else it wants.  returns  its exit status */
static int compile(const char *source, const char *arguments)
{
    char command[PATH_MAX * 2];

    snprintf(command, sizeof(command), "${CC:-cc} -std=gnu11 -w -I'%s' -Ishim %s '%s' >'%s' 2>&1",
             g_include, arguments, source, in_folder("errors"));
    return system(command);
}

/* For a failure: what the compiler said. */
static const char *compiler_errors(void)
{
    static char text[4096];
    FILE *file = fopen(in_folder("errors"), "r");
    size_t got = file ? fread(text, 1, sizeof(text) - 1, file) : 0;

    text[got] = '\0';
    if (file)
        fclose(file);
    return text;
}

/* Constants, sizes and offsets
 * -------------------------------------------------------------------*/

static void write_probe(void)
{
    FILE *file = fopen(in_folder("probe.c"), "w");

    assert_non_null(file);
    fputs("#ifdef OURS\n#include \"cuda_abi.h\"\n#else\n#define __CUDA_API_VERSION_INTERNAL\n"
          "#include <cuda.h>\n#endif\n#include <stddef.h>\n#include <stdio.h>\n"
          "int main(void)\n{\n",
          file);
    for (size_t i = 0; i < g_constants.count; i++)
        fprintf(file, "    printf(\"%s %%lld\\n\", (long long)(%s));\n", g_constants.items[i],
                g_constants.items[i]);
    for (size_t i = 0; i < g_types.count; i++)
        fprintf(file, "    printf(\"%s %%zu %%zu\\n\", sizeof(%s), _Alignof(%s));\n",
                g_types.items[i], g_types.items[i], g_types.items[i]);
    for (size_t i = 0; i < g_fields.count; i++) {
        const char *field = strchr(g_fields.items[i], '.') + 1;
        int length = (int)(field - 1 - g_fields.items[i]);

        fprintf(
            file, "    printf(\"%s %%zu %%zu\\n\", offsetof(%.*s, %s), sizeof(((%.*s *)0)->%s));\n",
            g_fields.items[i], length, g_fields.items[i], field, length, g_fields.items[i], field);
    }
    fputs("    return 0;\n}\n", file);
    assert_int_equal(fclose(file), 0);
}

static FILE *run_probe(const char *name, const char *flags)
{
    char arguments[NAME_BYTES * 2];

    snprintf(arguments, sizeof(arguments), "%s -o '%s'", flags, in_folder(name));
    if (compile(in_folder("probe.c"), arguments) != 0)
        fail_msg("%s does not compile: %s", name, compiler_errors());
    return popen(in_folder(name), "r");
}

static void test_values_and_layouts(void **state)
{
    char our_line[256];
    char real_line[256];
    size_t lines = 0;
    FILE *ours;
    FILE *real;

    (void)state;
    skip_without_cuda();
    write_probe();
    ours = run_probe("ours", "-DOURS");
    real = run_probe("real", "");
    while (fgets(our_line, sizeof(our_line), ours)) {
        assert_non_null(fgets(real_line, sizeof(real_line), real));
        if (strcmp(our_line, real_line) != 0)
            fail_msg("ours: %scuda.h: %s", our_line, real_line);
        lines++;
    }
    assert_int_equal(pclose(ours), 0);
    assert_int_equal(pclose(real), 0);
    assert_int_equal(lines, g_constants.count + g_types.count + g_fields.count);
}

/* What was read from the header: a test of this test's own reader. */
static void test_names_are_read(void **state)
{
    size_t found = 0;

    (void)state;
    assert_true(g_constants.count > 150 && g_types.count > 40 && g_fields.count > 80);
    for (size_t i = 0; i < g_fields.count; i++)
        found += strcmp(g_fields.items[i], "CUDA_MEMCPY2D.Height") == 0 ||
                 strcmp(g_fields.items[i], "CUmemPoolProps.reserved") == 0 ||
                 strcmp(g_fields.items[i], "CUmemAllocationProp.allocFlags") == 0;
    for (size_t i = 0; i < g_constants.count; i++)
        found += strcmp(g_constants.items[i], "CUDA_ERROR_UNKNOWN") == 0 ||
                 strcmp(g_constants.items[i], "CU_STREAM_LEGACY") == 0;
    assert_int_equal(found, 5);
}

/* Prototypes
 * -------------------------------------------------------------------------------------*/

static void begin_prototypes(FILE *file)
{
    fputs("#define __CUDA_API_VERSION_INTERNAL\n#include <cuda.h>\n", file);
}

/* The first line fails where cuda.h has no such function, the second where it has another. */
static void write_prototype(FILE *file, const char *symbol, const char *params)
{
    fprintf(file, "typedef __typeof__(%s) declared_%s;\nCUresult %s%s;\n", symbol, symbol, symbol,
            params);
}

static void test_prototypes(void **state)
{
    FILE *file;

    (void)state;
    skip_without_cuda();
    file = fopen(in_folder("prototypes.c"), "w");
    assert_non_null(file);
    begin_prototypes(file);
#define X(name, symbol, since, null_stream, params) write_prototype(file, #symbol, #params);
    HOOKS(X)
#undef X
#define X(need, symbol, params) write_prototype(file, #symbol, #params);
    DRIVER_CALLS(X)
#undef X
    assert_int_equal(fclose(file), 0);
    if (compile(in_folder("prototypes.c"), "-fsyntax-only") != 0)
        fail_msg("%s", compiler_errors());
}

static void test_wrong_prototypes_are_noticed(void **state)
{
    static const char *const wrong[][2] = {
        {"cuMemAlloc_v2", "(CUdeviceptr *out, unsigned int bytes)"},
        {"cuMemAlloc", "(CUdeviceptr *out, size_t bytes)"}, /* v2's, for the 32-bit function */
        {"cuMemcpyBatchAsync", "(void)"},
        {"cuNoSuchFunction", "(int device)"},
    };

    (void)state;
    skip_without_cuda();
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        FILE *file = fopen(in_folder("wrong.c"), "w");

        assert_non_null(file);
        begin_prototypes(file);
        write_prototype(file, wrong[i][0], wrong[i][1]);
        assert_int_equal(fclose(file), 0);
        assert_int_not_equal(compile(in_folder("wrong.c"), "-fsyntax-only"), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_read),
        cmocka_unit_test(test_values_and_layouts),
        cmocka_unit_test(test_prototypes),
        cmocka_unit_test(test_wrong_prototypes_are_noticed),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
