/* config.h - what the user asked of this process, read once from the environment.
 *
 * The flags of `berth run` arrive as BERTH_* variables, so that LD_PRELOAD alone works too. A value
 * that does not parse is logged and turns berth off (everything passes through): a misread budget
 * is worse than none.
 */
#ifndef BERTH_CONFIG_H
#define BERTH_CONFIG_H

#include "policy_file.h"

/* What users set. Any other variable whose name begins so is taken for a mistyped one, and told of.
 *
 * variable             what it holds
 */
#define CONFIG_VARIABLES(X)                                                                        \
    X(BERTH_POLICY)     /* path of a policy file or of a bare device map */                        \
    X(BERTH_CHECKPOINT) /* path of the checkpoint */                                               \
    X(BERTH_MAX_MEMORY) /* "0=8GiB,cpu=64GiB" */                                                   \
    X(BERTH_BACKEND)    /* auto, um, off */                                                        \
    X(BERTH_DRIVER)     /* path of the driver; driver.c reads it */                                \
    X(BERTH_STATS)      /* where to leave the statistics */                                        \
    X(BERTH_LOG)        /* off, error, warn, info, debug; log.c reads it */

/* What others set: `berth run`, and who runs the tests and the demo without a network. */
#define CONFIG_OTHER_VARIABLES(X)                                                                  \
    X(BERTH_LAUNCHER_PID)                                                                          \
    X(BERTH_STATS_PID)                                                                             \
    X(BERTH_OFFLINE)                                                                               \
    X(BERTH_TEST_DATA)

struct config {
    struct policy *policy; /* never NULL; max_memory has the flags' values in it */
    int off;               /* pass everything through */
    int holds_disk;        /* the map has places on disk, and host memory holds what lives there */
    const char *stats_path;
};

/* The configuration; reads it on the first call. Never NULL. Thread-safe. */
const struct config *config(void);

#endif
