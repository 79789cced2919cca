/* fuzz_policy_file.c - any bytes as a policy file, and as the text of --max-memory.
 *
 * What is refused must make one line; what is taken must hold what the header promises.
 *
 *     clang -std=gnu11 -g -O1 -D_GNU_SOURCE -I. -Ipolicy -fsanitize=fuzzer,address,undefined \
 *         tests/fuzz/fuzz_policy_file.c policy/[a-z]*.c -lcjson -lm -o fuzz_policy_file
 *     ./fuzz_policy_file -max_total_time=60 -max_len=2048 CORPUS tests/data/policies
 */
#include "policy_file.h"
#include <stdlib.h>
#include <string.h>

static void require(bool truth)
{
    if (!truth)
        abort();
}

static void check_refusal(const struct input_error *error)
{
    char line[INPUT_ERROR_TEXT_BYTES];

    input_error_format(error, line, sizeof(line));
    require(error->expected[0] && error->found[0] && !strchr(line, '\n'));
}

static void check(const struct policy *p)
{
    size_t i;

    require((unsigned)p->backend < POLICY_BACKEND_COUNT);
    require(!p->checkpoint || p->checkpoint[0]);
    for (i = 0; i < p->map.count; i++) {
        int place = p->map.entries[i].place;

        require(place > POLICY_NOWHERE && place < POLICY_DEVICES_MAX);
        require(policy_resolve(&p->map, p->map.entries[i].prefix) == place);
        require(i == 0 || strcmp(p->map.entries[i - 1].prefix, p->map.entries[i].prefix) < 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct policy_memory memory;
    struct policy *policy = NULL;
    struct input_error error;
    char *text = malloc(bytes + 1);

    if (!text)
        return 0;
    if (policy_parse((const char *)data, bytes, "fuzz", &policy, &error) == 0)
        check(policy);
    else
        check_refusal(&error);
    policy_free(policy);

    memcpy(text, data, bytes);
    text[bytes] = '\0';
    policy_memory_clear(&memory);
    if (policy_parse_max_memory(text, &memory, &error))
        check_refusal(&error);
    free(text);
    return 0;
}
