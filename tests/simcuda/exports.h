/* exports.h - every name that the driver exports: its address here, and the calls that found
 * nothing.
 *
 * The list is shim/exports.h. A name that some other file of this library defines is modelled;
 * every other one is a weak stub that counts the call and answers 801, so that no name is ever
 * missing.
 */
#ifndef SIMCUDA_EXPORTS_H
#define SIMCUDA_EXPORTS_H

#include <stdint.h>

/* How many exports there are; an index is below it. */
unsigned export_count(void);
const char *export_name(unsigned index);
/* The function that a direct call of the name reaches. */
void *export_address(unsigned index);

/* What every stub calls: counts the call. returns 801, or what sim_call() refuses with */
int export_unmodelled(unsigned index);
/* How often the stub of that name was called. */
uint64_t export_unmodelled_calls(unsigned index);

#endif
