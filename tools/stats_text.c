/* stats_text.c - how times and budgets are written. */
#include "stats_text.h"

#include <inttypes.h>
#include <stdio.h>

#define MIB       ((uint64_t)1 << 20)
#define GIB       ((uint64_t)1 << 30)
#define TENTHS_OF (10 * GIB) /* from here on tenths of a GiB are exact enough */

const char *stats_time_text(uint64_t ns, char text[STATS_TEXT_BYTES])
{
    static const struct {
        double ns;
        const char *unit;
    } units[] = {{1e9, "s"}, {1e6, "ms"}, {1e3, "us"}};

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        /* From here on it is not rounded up to a thousand of the next smaller unit. */
        if ((double)ns >= units[i].ns * 0.99995) {
            snprintf(text, STATS_TEXT_BYTES, "%.1f %s", (double)ns / units[i].ns, units[i].unit);
            return text;
        }
    }
    snprintf(text, STATS_TEXT_BYTES, "%" PRIu64 " %s", ns, ns ? "ns" : "s");
    return text;
}

const char *stats_budget_text(uint64_t bytes, char text[STATS_TEXT_BYTES])
{
    uint64_t tenths;

    if (bytes < TENTHS_OF) {
        snprintf(text, STATS_TEXT_BYTES, "%" PRIu64 "MiB", bytes / MIB + (bytes % MIB != 0));
        return text;
    }
    tenths = bytes / GIB * 10 + (bytes % GIB * 10 + GIB - 1) / GIB;
    snprintf(text, STATS_TEXT_BYTES, "%" PRIu64 ".%" PRIu64 "GiB", tenths / 10, tenths % 10);
    return text;
}

const char *stats_share_text(double share, char text[STATS_TEXT_BYTES])
{
    if (share > 0 && share < 0.01)
        snprintf(text, STATS_TEXT_BYTES, "under 1%%");
    else
        snprintf(text, STATS_TEXT_BYTES, "%.0f%%", 100 * share);
    return text;
}
