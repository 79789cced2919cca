/* stale.h - the counters files of programs under berth: which there are, which are left over.
 *
 * A program that was killed leaves its file behind, and where it had no launcher (LD_PRELOAD and
 * BERTH_STATS alone) nobody has written its statistics. Whoever comes next does both: the JSON is
 * written where the program wanted it, then the file is removed. Never while the program may be
 * alive, in another pid namespace for one, nor while its launcher is about to do it.
 */
#ifndef BERTH_TOOLS_STALE_H
#define BERTH_TOOLS_STALE_H

#include <stddef.h>
#include <sys/types.h>

/* Is it said what became of statistics that were still to be written? */
enum stale_voice {
    STALE_SILENT,
    STALE_TELLS, /* one line on standard error for each */
};

/* Write what this user's programs that have ended were to leave, and remove their files.
 *
 * What cannot be written safely (the path is no regular file of this user's, or of another mount
 * namespace) stays in shared memory until it has been shown; where the path's folder is gone, only
 * until somebody comes who does not tell. What has been written to the path since the program began
 * is newer, and stays.
 *
 * shown    a pid whose statistics the user has before him: its file stays, to be looked at again,
 *          and goes the next time in any case; or 0
 */
void stale_settle(pid_t shown, enum stale_voice voice);

/* List this user's programs under berth.
 *
 * pids     set to an array, in ascending order
 * returns  how many, or -errno
 * owner    the caller frees *pids
 */
long stale_list_living(pid_t **pids);

#endif
