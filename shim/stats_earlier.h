/* stats_earlier.h - what this process counted while it was another program, before an exec.
 *
 * Its file in shared memory has our name, and is still there when the new program begins to count.
 */
#ifndef BERTH_STATS_EARLIER_H
#define BERTH_STATS_EARLIER_H

#include <stdint.h>

/* Leave the statistics of the program before as FILE.1, of the one after that as FILE.2, and so on:
 * the last program's are FILE.
 *
 * FILE is where the one before was to leave them, if anywhere. Nothing is left beside what is no
 * regular file.
 *
 * returns  how many programs this process has been that counted; 0 for a first one
 */
uint32_t stats_earlier_keep(void);

#endif
