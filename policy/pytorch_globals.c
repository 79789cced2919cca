#include "pytorch_globals.h"

const struct pickle_global g_pytorch_globals[] = {
#define X(module, name, flags, role, dtype) {module, name, flags},
    PYTORCH_GLOBALS(X)
#undef X
};

const size_t g_pytorch_global_count = sizeof(g_pytorch_globals) / sizeof(g_pytorch_globals[0]);

static const struct {
    enum pytorch_role role;
    enum dtype dtype;
} g_meanings[] = {
#define X(module, name, flags, role, dtype) {PYTORCH_##role, DTYPE_##dtype},
    PYTORCH_GLOBALS(X)
#undef X
};

enum pytorch_role pytorch_role_of(const struct pickle_value *value)
{
    if (value->kind != PICKLE_GLOBAL && value->kind != PICKLE_OBJECT)
        return PYTORCH_OPAQUE;
    return g_meanings[value->global].role;
}

enum dtype pytorch_dtype_of(const struct pickle_value *value)
{
    return value->kind == PICKLE_GLOBAL ? g_meanings[value->global].dtype : DTYPE_COUNT;
}
