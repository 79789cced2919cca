/* schedule_fixed.h - the inside of schedule.h: what stays through a step.
 *
 * Nobody but schedule.c includes it.
 */
#ifndef BERTH_POLICY_SCHEDULE_FIXED_H
#define BERTH_POLICY_SCHEDULE_FIXED_H

#include "schedule.h"

/* Choose what stays; everything, where everything fits.
 *
 * step          checked: not empty, its extents all less than out->extent_count
 * window_bytes  the least that the rest shall have to stream through; 0: some extents
 * ahead         what the window has room for beside a launch
 * out           its fixed, all zero, fixed_bytes and window_bytes are filled in
 * returns       0 or -ENOMEM
 */
int schedule_choose_fixed(const struct schedule_trace *step, const struct schedule_extent *extents,
                          uint64_t budget_bytes, uint64_t window_bytes, enum schedule_ahead ahead,
                          struct schedule_plan *out);

/* schedule.c: list the loads of one step with plan->fixed, through a window of room_bytes.
 *
 * plan     its load, load_count and load_bytes are set; load is the caller's to free
 * returns  0 or -ENOMEM; then load may have been set all the same
 */
int schedule_list_loads(const struct schedule_trace *step, const struct schedule_extent *extents,
                        struct schedule_plan *plan, uint64_t room_bytes);

#endif
