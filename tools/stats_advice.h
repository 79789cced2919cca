/* stats_advice.h - what the figures of a report suggest to change.
 *
 * A pure function of the report: no file, no clock, no environment. A line stands only where the
 * figures say that it is true, and says what to do and what that brings.
 */
#ifndef BERTH_TOOLS_STATS_ADVICE_H
#define BERTH_TOOLS_STATS_ADVICE_H

#include "shim/stats_report.h"

#define STATS_ADVICE_MAX   3
#define STATS_ADVICE_BYTES 512

struct stats_advice {
    size_t count; /* at least 1 */
    char line[STATS_ADVICE_MAX][STATS_ADVICE_BYTES];
};

/* Judge a report. What matters most comes first; what does not fit into STATS_ADVICE_MAX lines is
 * left out. A line may hold names that the program gave: the caller cleans them.
 */
void stats_advice_make(const struct stats_report *report, struct stats_advice *advice);

/* Does the budget hold all that the program has allocated, and always did? */
int stats_fits(const struct stats_report *report);

/* A time of waiting as a share of the time from the first load to the last.
 *
 * returns  0 to 1; threads that waited at the same time count once each, up to 1
 */
double stats_share_of_span(const struct stats_report *report, uint64_t ns);

#endif
