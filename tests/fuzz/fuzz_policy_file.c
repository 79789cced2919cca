/* fuzz_policy_file.c - any bytes as a policy file, JSON or as Python prints it, and as the text of
 * --max-memory.
 *
 * What is refused must make one line, and the first of several errors must be the only one's line.
 * What is taken must hold what the header promises, and be the same once written and read again.
 *
 * Seeds: tests/data/policies
 * Options: -max_len=4096
 */
#include "fuzz.h"
#include "pattern.h"
#include "policy_write.h"

#define ERRORS 8

static void check_names(const struct policy_names *names, size_t least)
{
    size_t i;

    fuzz_require(names->count >= least);
    for (i = 0; i < names->count; i++) {
        fuzz_require(names->names[i][0] != '\0');
        if (!strpbrk(names->names[i], "*?"))
            fuzz_require(pattern_find_module(names->names[i], names->names[i]) ==
                         strlen(names->names[i]));
    }
}

static void check(const struct policy *p)
{
    size_t i;

    fuzz_require((unsigned)p->backend < POLICY_BACKEND_COUNT);
    fuzz_require(!p->checkpoint || p->checkpoint[0]);
    fuzz_require(!p->offload_folder || p->offload_folder[0]);
    fuzz_require(p->dtype == DTYPE_COUNT || policy_dtype_name(p->dtype));
    for (i = 0; i < p->map.count; i++) {
        int place = p->map.entries[i].place;

        fuzz_require(place > POLICY_NOWHERE && place < POLICY_DEVICES_MAX);
        fuzz_require(policy_resolve(&p->map, p->map.entries[i].prefix) == place);
        fuzz_require(p->map.entries[i].order < p->map.count);
        fuzz_require(i == 0 || strcmp(p->map.entries[i - 1].prefix, p->map.entries[i].prefix) < 0);
    }
    fuzz_require(p->no_split_given || p->no_split.count + p->no_split_classes.count == 0);
    check_names(&p->no_split, 0);
    check_names(&p->no_split_classes, 0);
    check_names(&p->preload, 0);
    for (i = 0; i < p->tied_count; i++)
        check_names(&p->tied[i], 2);
    for (i = 0; i < p->group_count; i++) {
        fuzz_require(p->groups[i].name[0] != '\0');
        check_names(&p->groups[i].patterns, 1);
    }
}

/* The policy as text; the caller frees it. */
static char *write_text(const struct policy *policy, size_t *bytes)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, bytes);

    fuzz_require(out && policy_write(policy, "fuzz", out) == 0 && fclose(out) == 0);
    return text;
}

static void check_written(const struct policy *policy)
{
    size_t bytes, bytes_again;
    char *text = write_text(policy, &bytes), *again;
    struct policy *back = NULL;
    struct input_error error;

    fuzz_require(policy_parse(text, bytes, "fuzz", &back, &error) == 0);
    check(back);
    again = write_text(back, &bytes_again);
    fuzz_require(bytes == bytes_again && memcmp(text, again, bytes) == 0);
    free(text);
    free(again);
    policy_free(back);
}

static void check_policy(const char *text, size_t bytes)
{
    struct input_error error, errors[ERRORS];
    char line[INPUT_ERROR_TEXT_BYTES], first[INPUT_ERROR_TEXT_BYTES];
    struct policy *policy = NULL, *same = NULL;
    size_t count = 0, i;

    if (policy_parse(text, bytes, "fuzz", &policy, &error) == 0) {
        check(policy);
        check_written(policy);
        fuzz_require(policy_parse_errors(text, bytes, "fuzz", &same, errors, ERRORS, &count) == 0);
        policy_free(same);
        policy_free(policy);
        return;
    }
    fuzz_require(policy_parse_errors(text, bytes, "fuzz", &same, errors, ERRORS, &count) != 0);
    fuzz_require(!policy && !same && count >= 1 && count <= ERRORS);
    fuzz_require(!strcmp(input_error_format(&error, line, sizeof(line)),
                         input_error_format(&errors[0], first, sizeof(first))));
    for (i = 0; i < count; i++) {
        fuzz_check_refusal(&errors[i]);
        fuzz_require(errors[i].line > 0);
    }
}

static void check_flag(const char *text)
{
    struct policy_memory memory;
    struct input_error error;

    policy_memory_clear(&memory);
    if (policy_parse_max_memory(text, &memory, &error))
        fuzz_check_refusal(&error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char *text = malloc(bytes + 1);

    if (!text)
        return 0;
    check_policy((const char *)data, bytes);
    memcpy(text, data, bytes);
    text[bytes] = '\0';
    check_flag(text);
    free(text);
    return 0;
}
