/* entry.h - how a program's driver calls come in.
 *
 * This library exports every name of the driver. A name with a row in hooks.h is a function in
 * entry_<topic>.c; every other name is a jump through a slot to the real function
 * (entry_trampoline.S), which costs one instruction and disturbs no argument. A program may call
 * any of them first, from any thread, also from constructors that run before ours: whoever comes
 * first loads the driver.
 */
#ifndef BERTH_ENTRY_H
#define BERTH_ENTRY_H

#include "driver.h"

/* Does this process only pass its calls through? So does a child between fork and exec: mappings of
 * managed memory are not inherited, and the parent's threads are not there.
 *
 * locks    none
 */
int entry_is_passive(void);

/* What cuGetProcAddress() shall answer in place of the real driver's answer.
 *
 * address          what the real driver answered, not NULL
 * name             what was asked for
 * version, flags   as asked
 * returns          our hook, or address itself where none stands in for it
 */
void *entry_substitute(void *address, const char *name, int version, cuuint64_t flags);

/* For entry_trampoline.S and entry_dlopen.S
 * ------------------------------------------------------*/

/* Where each trampoline jumps: the real function, or a way into entry_resolve(). Indexed by enum
 * export_id; the entries of hooked names are not used. */
extern void *entry_slots[EXPORT_COUNT] __attribute__((visibility("hidden")));

/* The first call of a name, or a call of a name that the driver lacks.
 *
 * id       an enum export_id
 * returns  the function to jump to, never NULL
 */
void *entry_resolve(unsigned int id);

/* A library to open, and the function to open it with. */
struct entry_dlopen_route {
    const char *path;
    void *target;
};

/* Where dlopen() and dlmopen() go on with the caller's own return address in place. */
struct entry_dlopen_route entry_route_dlopen(const char *path);
struct entry_dlopen_route entry_route_dlmopen(const char *path, long name_space);

#endif
