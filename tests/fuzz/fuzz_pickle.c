/* fuzz_pickle.c - any bytes as a pickle.
 *
 * Beyond what the sanitizers see, a pickle that is taken makes no more values than it has bytes,
 * and no reference leads out of its tables.
 *
 * Seeds: tests/fuzz/seeds/pickle
 * Options: -max_len=4096 -dict=tests/fuzz/pickle.dict
 */
#include "fuzz.h"
#include "pickle.h"
#include "pytorch_globals.h"

static void check_value(const struct pickle *p, const struct pickle_value *v, size_t bytes)
{
    fuzz_require(pickle_kind_name(v) != NULL && v->at < bytes);
    switch ((enum pickle_kind)v->kind) {
    case PICKLE_STRING:
    case PICKLE_BYTES:
    case PICKLE_LONG:
        fuzz_require(v->count < bytes);
        break;
    case PICKLE_TUPLE:
        fuzz_require(v->count == 0 || v->elements + v->count <= p->element_count);
        break;
    case PICKLE_LIST:
    case PICKLE_DICT:
    case PICKLE_OBJECT:
        fuzz_require(v->count ? v->items.last < p->item_count : v->items.first == PICKLE_NONE);
        break;
    default:
        break;
    }
    if (v->kind == PICKLE_OBJECT || v->kind == PICKLE_PERSISTENT)
        fuzz_require(p->values[v->args].kind == PICKLE_TUPLE);
    if (v->kind == PICKLE_OBJECT || v->kind == PICKLE_GLOBAL)
        fuzz_require(v->global < g_pytorch_global_count);
}

static void check(const struct pickle *p, size_t bytes)
{
    size_t i;

    fuzz_require(p->bytes <= bytes && p->root < p->value_count);
    fuzz_require(p->value_count <= bytes + 4 && p->item_count < bytes && p->element_count < bytes);
    for (i = 0; i < p->value_count; i++)
        check_value(p, &p->values[i], bytes);
    for (i = 0; i < p->element_count; i++)
        fuzz_require(p->elements[i] < p->value_count);
    for (i = 0; i < p->item_count; i++) {
        fuzz_require(p->items[i].value < p->value_count);
        fuzz_require(p->items[i].key == PICKLE_NONE || p->items[i].key < p->value_count);
        fuzz_require(p->items[i].next == PICKLE_NONE ||
                     (p->items[i].next > i && p->items[i].next < p->item_count));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct pickle *pickle = NULL;
    struct input_error error;

    input_error_clear(&error);
    if (pickle_read(data, bytes, 0, g_pytorch_globals, g_pytorch_global_count, &pickle, &error))
        fuzz_check_refusal(&error);
    else
        check(pickle, bytes);
    pickle_free(pickle);
    return 0;
}
