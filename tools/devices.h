/* devices.h - the GPUs of this machine, as the driver counts them, and what they have free.
 *
 * The driver is asked in a child: opening it in the launcher would leave a CUDA process beside the
 * program's for as long as that runs.
 */
#ifndef BERTH_TOOLS_DEVICES_H
#define BERTH_TOOLS_DEVICES_H

#include <stdint.h>

#define DEVICES_MAX 64 /* further ones are counted, and nothing is said of them */

/* Count the GPUs that a program will find.
 *
 * driver   absolute path of the CUDA driver
 * returns  their number; -ENODATA where the driver does not start or does not say: the program will
 *          hear from it why
 */
int devices_count(const char *driver);

/* The same, with what each of them has free beside a context, which every program needs.
 *
 * free_bytes  by GPU index; 0 where the driver does not say
 */
int devices_free(const char *driver, uint64_t free_bytes[DEVICES_MAX]);

#endif
