/* stats_text.h - how times and budgets are written in the views of a report. */
#ifndef BERTH_TOOLS_STATS_TEXT_H
#define BERTH_TOOLS_STATS_TEXT_H

#include <stdint.h>

#define STATS_TEXT_BYTES 32

/* Write a time: "3.0 s", "20.6 ms", "0 s".
 *
 * text     STATS_TEXT_BYTES long
 * returns  text
 */
const char *stats_time_text(uint64_t ns, char text[STATS_TEXT_BYTES]);

/* Write a budget that holds at least bytes, as --max-memory takes it: "97MiB", "24.3GiB".
 *
 * text     STATS_TEXT_BYTES long
 * returns  text
 */
const char *stats_budget_text(uint64_t bytes, char text[STATS_TEXT_BYTES]);

/* Write a share of 0 to 1: "94%", "under 1%".
 *
 * text     STATS_TEXT_BYTES long
 * returns  text
 */
const char *stats_share_text(double share, char text[STATS_TEXT_BYTES]);

#endif
