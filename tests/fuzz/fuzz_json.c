/* fuzz_json.c - any bytes as JSON, with integers alone and with all numbers.
 *
 * The scanner in front of cJSON and cJSON must agree on where every value stands, and no key may be
 * in a tree twice.
 *
 * Seeds: tests/data/policies tests/data/files/files.json
 */
#include "fuzz.h"
#include "json.h"

struct walk {
    const char *text;
    size_t bytes;
    const cJSON *root;
    unsigned flags;
    size_t left; /* values that are still to be looked at: locating one reads the text */
};

static void check_value(struct walk *w, const cJSON *value)
{
    struct input_error error;
    const cJSON *child, *other;
    uint64_t number;
    char text[64];

    if (w->left == 0)
        return;
    w->left--;
    input_error_clear(&error);
    json_locate(w->text, w->bytes, w->root, value, &error);
    fuzz_require(error.offset < w->bytes && error.line > 0 && error.column > 0);
    fuzz_require(json_describe(value, text, sizeof(text)) == text && text[0]);
    if (cJSON_IsNumber(value) && (w->flags & JSON_INTEGERS))
        fuzz_require((json_get_u64(value, &number) == 0) == (value->valuedouble >= 0));
    if (cJSON_IsObject(value)) {
        cJSON_ArrayForEach(child, value)
        {
            for (other = child->next; other; other = other->next)
                fuzz_require(strcmp(child->string, other->string) != 0);
        }
    }
    cJSON_ArrayForEach(child, value)
    {
        check_value(w, child);
    }
}

static void check(const char *text, size_t bytes, unsigned flags)
{
    struct walk w = {.text = text, .bytes = bytes, .flags = flags, .left = 64};
    struct input_error error;
    cJSON *root = NULL;

    input_error_clear(&error);
    if (json_parse(text, bytes, flags, &root, &error)) {
        fuzz_check_refusal(&error);
        return;
    }
    w.root = root;
    check_value(&w, root);
    cJSON_Delete(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    check((const char *)data, bytes, 0);
    check((const char *)data, bytes, JSON_INTEGERS);
    return 0;
}
