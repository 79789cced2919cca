#include "stats_ended.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct stats_ended {
    uint32_t record;
    UT_hash_handle hh; /* by name */
    char name[];
};

uint32_t stats_ended_find(struct stats_ended *set, const char *name)
{
    struct stats_ended *ended = NULL;

    HASH_FIND_STR(set, name, ended);
    return ended ? ended->record : STATS_ENDED_NONE;
}

int stats_ended_add(struct stats_ended **set, const char *name, size_t name_bytes, uint32_t record)
{
    struct stats_ended *ended = NULL;

    HASH_FIND(hh, *set, name, name_bytes, ended);
    if (ended)
        return -1;
    ended = calloc(1, sizeof(*ended) + name_bytes + 1);
    if (!ended)
        return -1;
    ended->record = record;
    memcpy(ended->name, name, name_bytes);
    HASH_ADD_KEYPTR(hh, *set, ended->name, name_bytes, ended);
    if (!ended->hh.tbl) {
        free(ended);
        return -1;
    }
    return 0;
}

void stats_ended_remove(struct stats_ended **set, const char *name)
{
    struct stats_ended *ended = NULL;

    HASH_FIND_STR(*set, name, ended);
    HASH_DEL(*set, ended);
    free(ended);
}
