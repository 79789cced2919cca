/* fuzz_policy_file.c - any bytes as a policy file, and as the text of --max-memory.
 *
 * What is refused must make one line; what is taken must hold what the header promises.
 *
 * Seeds: tests/data/policies
 */
#include "fuzz.h"
#include "policy_file.h"

static void check(const struct policy *p)
{
    size_t i;

    fuzz_require((unsigned)p->backend < POLICY_BACKEND_COUNT);
    fuzz_require(!p->checkpoint || p->checkpoint[0]);
    for (i = 0; i < p->map.count; i++) {
        int place = p->map.entries[i].place;

        fuzz_require(place > POLICY_NOWHERE && place < POLICY_DEVICES_MAX);
        fuzz_require(policy_resolve(&p->map, p->map.entries[i].prefix) == place);
        fuzz_require(i == 0 || strcmp(p->map.entries[i - 1].prefix, p->map.entries[i].prefix) < 0);
    }
}

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
        fuzz_check_refusal(&error);
    policy_free(policy);

    memcpy(text, data, bytes);
    text[bytes] = '\0';
    policy_memory_clear(&memory);
    if (policy_parse_max_memory(text, &memory, &error))
        fuzz_check_refusal(&error);
    free(text);
    return 0;
}
