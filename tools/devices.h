/* devices.h - the GPUs of this machine, as the driver counts them.
 *
 * The driver is asked in a child: opening it in the launcher would leave a CUDA process beside the
 * program's for as long as that runs.
 */
#ifndef BERTH_TOOLS_DEVICES_H
#define BERTH_TOOLS_DEVICES_H

/* Count the GPUs that a program will find.
 *
 * driver   absolute path of the CUDA driver
 * returns  their number; -ENODATA where the driver does not start or does not say: the program will
 *          hear from it why
 */
int devices_count(const char *driver);

#endif
