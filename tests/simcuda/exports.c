#include "tests/simcuda/exports.h"

#include "shim/exports.h"

enum export_index {
#define X(symbol) INDEX_##symbol,
    DRIVER_EXPORTS(X)
#undef X
        EXPORT_COUNT
};

/* A stub has no prototype to keep to: what it is handed does not matter, it reads none of it. So
 * this file sees no other declaration of the driver's names. Where a name is modelled the linker
 * takes that definition instead. The export itself is in gate_jump.S. */
#define X(symbol)                                                                                  \
    extern int symbol(void);                                                                       \
    __attribute__((weak)) int stub_##symbol(void) __asm__("sim_" #symbol);                         \
    int stub_##symbol(void)                                                                        \
    {                                                                                              \
        return export_unmodelled(INDEX_##symbol);                                                  \
    }
DRIVER_EXPORTS(X)
#undef X

static const struct {
    const char *name;
    int (*function)(void);
} EXPORTS[EXPORT_COUNT] = {
#define X(symbol) {#symbol, symbol},
    DRIVER_EXPORTS(X)
#undef X
};

unsigned export_count(void)
{
    return EXPORT_COUNT;
}

const char *export_name(unsigned index)
{
    return EXPORTS[index].name;
}

void *export_address(unsigned index)
{
    return (void *)EXPORTS[index].function;
}
