/* stats_ended.h - which records are of parameters that were freed.
 *
 * Such a record stays as it was, for a tidy program frees its weights before it ends and its user
 * still wants to know; the same parameter loaded anew goes on with it. A set begins as NULL. The
 * caller guards it.
 */
#ifndef BERTH_STATS_ENDED_H
#define BERTH_STATS_ENDED_H

#include <stddef.h>
#include <stdint.h>

#define STATS_ENDED_NONE UINT32_MAX

struct stats_ended;

/* returns the record of that name, STATS_ENDED_NONE when there is none */
uint32_t stats_ended_find(struct stats_ended *set, const char *name);

/* Add a record.
 *
 * name     name_bytes long, without an end; copied
 * returns  0; -1 when the name is there already (one account of a parameter is enough), or without
 *          memory
 */
int stats_ended_add(struct stats_ended **set, const char *name, size_t name_bytes, uint32_t record);

/* The name is there. */
void stats_ended_remove(struct stats_ended **set, const char *name);

#endif
