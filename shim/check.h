/* check.h - what must be true, asked in debug builds only (make DEBUG=1, or any SAN=).
 *
 * A release build never stops the program that it lives in, so nothing may rest on these: they are
 * for finding out, while testing, where the books first went wrong.
 */
#ifndef BERTH_CHECK_H
#define BERTH_CHECK_H

#ifdef BERTH_DEBUG
#include "log.h"
#define BERTH_ASSERT(condition)                                                                    \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            log_error("check", "%s:%d: not so: %s", __FILE__, __LINE__, #condition);               \
            __builtin_trap();                                                                      \
        }                                                                                          \
    } while (0)
#else
#define BERTH_ASSERT(condition) ((void)sizeof(condition))
#endif

/* The same for checks that walk a whole structure. */
#define BERTH_ASSERT_SLOW(condition) BERTH_ASSERT(condition)

#endif
