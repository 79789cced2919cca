/* The device map of a policy: which place has the longest prefix of a name. */

#include "policy_file.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Room doubles: a map is filled in a time that grows with its length alone. */
int policy_map_add(struct policy_map *map, const char *prefix, int place)
{
    char *copy;

    if ((map->count & (map->count - 1)) == 0) {
        size_t room = map->count ? 2 * map->count : 1;
        void *grown = realloc(map->entries, room * sizeof(*map->entries));

        if (!grown)
            return -ENOMEM;
        map->entries = grown;
    }
    copy = strdup(prefix);
    if (!copy)
        return -ENOMEM;
    map->entries[map->count] =
        (struct policy_map_entry){.prefix = copy, .place = place, .order = (uint32_t)map->count};
    map->count++;
    return 0;
}

static int compare_entries(const void *a, const void *b)
{
    const struct policy_map_entry *l = a, *r = b;

    return strcmp(l->prefix, r->prefix);
}

void policy_map_sort(struct policy_map *map)
{
    if (map->count)
        qsort(map->entries, map->count, sizeof(*map->entries), compare_entries);
}

/* strcmp() of a prefix of the map with the first bytes of a name. */
static int compare_prefix(const char *prefix, const char *name, size_t bytes)
{
    int order = strncmp(prefix, name, bytes);

    return order ? order : prefix[bytes] != '\0';
}

static const struct policy_map_entry *find_prefix(const struct policy_map *map, const char *name,
                                                  size_t bytes)
{
    size_t first = 0, end = map->count;

    while (first < end) {
        size_t middle = first + (end - first) / 2;
        int order = compare_prefix(map->entries[middle].prefix, name, bytes);

        if (order == 0)
            return &map->entries[middle];
        if (order < 0)
            first = middle + 1;
        else
            end = middle;
    }
    return NULL;
}

size_t policy_map_count(const struct policy_map *map, int place)
{
    size_t count = 0;

    for (size_t i = 0; i < map->count; i++)
        count += map->entries[i].place == place;
    return count;
}

const struct policy_map_entry *policy_map_find(const struct policy_map *map, const char *name)
{
    size_t bytes = strlen(name);

    for (;;) {
        const struct policy_map_entry *entry = find_prefix(map, name, bytes);
        const char *dot;

        if (entry)
            return entry;
        if (bytes == 0)
            return NULL;
        dot = memrchr(name, '.', bytes);
        bytes = dot ? (size_t)(dot - name) : 0;
    }
}

int policy_resolve(const struct policy_map *map, const char *name)
{
    const struct policy_map_entry *entry = policy_map_find(map, name);

    return entry ? entry->place : POLICY_NOWHERE;
}
