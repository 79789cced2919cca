/* init.h - the driver's life, and the report that it leaves.
 *
 * The report is written once, when a process that called cuInit ends in the ordinary way; a child
 * of fork writes none.
 */
#ifndef SIMCUDA_INIT_H
#define SIMCUDA_INIT_H

#include "sim.h"

/* Write SIMCUDA_REPORT, one JSON object, when that is set:
 * {"launches":N,"devices":[{"device_used_bytes":N,...},...],"allocated":{"device":N,...},
 * "alive":{"streams":N,...},"unmodelled":{"cuName":N,...}}, with "pace" (pace.h) in paced mode. */
void report_write(void);

#endif
