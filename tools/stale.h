/* stale.h - the counters files of programs under berth: which there are, which are left over.
 *
 * A killed program leaves its file behind. It is removed when its process is gone for certain, and
 * never when the process may be alive in another pid namespace.
 */
#ifndef BERTH_TOOLS_STALE_H
#define BERTH_TOOLS_STALE_H

#include <stddef.h>
#include <sys/types.h>

/* Remove this user's files of processes that are gone.
 *
 * except   a pid whose file stays, or 0
 */
void stale_remove(pid_t except);

/* List this user's programs under berth.
 *
 * pids     set to an array, in ascending order
 * returns  how many, or -errno
 * owner    the caller frees *pids
 */
long stale_list_living(pid_t **pids);

#endif
