/* The fields of a policy that are lists of names or patterns. */

#include "json.h"
#include "policy_reader.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATTERN_LIST "a list of patterns such as [\"model.layers.*\"]"
#define PATTERN      "a pattern such as \"model.layers.*\""
#define TIED_GROUP   "two or more names of one tensor such as [\"lm_head.weight\", \"wte.weight\"]"

/* Read the strings of an array.
 *
 * expected  what a string of it is, for an error
 * to        gets the strings, all or those before an error; empty before
 */
static int read_strings(struct policy_reader *r, const cJSON *array, const char *expected,
                        struct policy_names *to)
{
    int count = cJSON_GetArraySize(array);
    const cJSON *item;

    to->names = count ? calloc((size_t)count, sizeof(*to->names)) : NULL;
    if (count && !to->names)
        return policy_reader_refuse_memory(r);
    cJSON_ArrayForEach(item, array)
    {
        if (!cJSON_IsString(item) || item->valuestring[0] == '\0') {
            policy_reader_refuse_value(r, item, expected);
            if (!policy_reader_goes_on(r, -EINVAL))
                return -EINVAL;
            continue;
        }
        to->names[to->count] = strdup(item->valuestring);
        if (!to->names[to->count])
            return policy_reader_refuse_memory(r);
        to->count++;
    }
    return 0;
}

static int read_patterns(struct policy_reader *r, const cJSON *item, struct policy_names *to)
{
    if (!cJSON_IsArray(item))
        return policy_reader_refuse_value(r, item, PATTERN_LIST);
    return read_strings(r, item, PATTERN, to);
}

int policy_read_no_split(struct policy_reader *r, const cJSON *item)
{
    r->policy->no_split_given = true;
    return read_patterns(r, item, &r->policy->no_split);
}

int policy_read_no_split_module_classes(struct policy_reader *r, const cJSON *item)
{
    if (!cJSON_IsArray(item))
        return policy_reader_refuse_value(r, item,
                                          "a list of class names such as [\"LlamaDecoderLayer\"]");
    r->policy->no_split_given = true;
    return read_strings(r, item, "a class name such as \"LlamaDecoderLayer\"",
                        &r->policy->no_split_classes);
}

int policy_read_preload(struct policy_reader *r, const cJSON *item)
{
    return read_patterns(r, item, &r->policy->preload);
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp((*(const cJSON *const *)a)->valuestring, (*(const cJSON *const *)b)->valuestring);
}

/* Find a name that stands twice in the groups of ties.
 *
 * returns  0; -EINVAL, noted at the later one of the sorted order; -ENOMEM
 */
static int refuse_repeated(struct policy_reader *r, const cJSON *groups)
{
    const cJSON **items, *group, *item;
    size_t count = 0, i;
    int res = 0;

    cJSON_ArrayForEach(group, groups)
    {
        count += (size_t)cJSON_GetArraySize(group);
    }
    items = malloc((count + 1) * sizeof(*items));
    if (!items)
        return policy_reader_refuse_memory(r);
    count = 0;
    cJSON_ArrayForEach(group, groups)
    {
        cJSON_ArrayForEach(item, group)
        {
            if (cJSON_IsString(item))
                items[count++] = item;
        }
    }
    qsort(items, count, sizeof(*items), compare_strings);
    for (i = 1; i < count && policy_reader_goes_on(r, res); i++) {
        char found[160];

        if (compare_strings(&items[i - 1], &items[i]) != 0)
            continue;
        snprintf(found, sizeof(found), "\"%s\" a second time", items[i]->valuestring);
        res = policy_reader_refuse(r, items[i], "every name once, in one group", found);
    }
    free(items);
    return res;
}

int policy_read_tied(struct policy_reader *r, const cJSON *item)
{
    int count = cJSON_GetArraySize(item);
    const cJSON *group;

    if (!cJSON_IsArray(item))
        return policy_reader_refuse_value(r, item,
                                          "a list of groups such as [[\"lm_head.weight\", "
                                          "\"model.embed_tokens.weight\"]]");
    r->policy->tied = count ? calloc((size_t)count, sizeof(*r->policy->tied)) : NULL;
    if (count && !r->policy->tied)
        return policy_reader_refuse_memory(r);
    cJSON_ArrayForEach(group, item)
    {
        int res;

        if (!cJSON_IsArray(group))
            res = policy_reader_refuse_value(r, group, TIED_GROUP);
        else if (cJSON_GetArraySize(group) < 2)
            res = policy_reader_refuse(r, group, TIED_GROUP, "fewer");
        else
            res = read_strings(r, group, "a tensor's name",
                               &r->policy->tied[r->policy->tied_count++]);
        if (!policy_reader_goes_on(r, res))
            return res;
    }
    return refuse_repeated(r, item);
}

static int read_group(struct policy_reader *r, const cJSON *item, struct policy_group *group)
{
    policy_reader_set_field(r, "groups", item->string);
    if (!cJSON_IsArray(item) || !item->child)
        return policy_reader_refuse_value(r, item, PATTERN_LIST);
    if (item->string[0] == '\0')
        return policy_reader_refuse(r, item, "a name for the group", "\"\"");
    group->name = strdup(item->string);
    if (!group->name)
        return policy_reader_refuse_memory(r);
    r->policy->group_count++;
    return read_patterns(r, item, &group->patterns);
}

int policy_read_groups(struct policy_reader *r, const cJSON *item)
{
    int count = cJSON_GetArraySize(item);
    const cJSON *entry;

    if (!cJSON_IsObject(item))
        return policy_reader_refuse_value(r, item,
                                          "an object such as {\"text_encoder\": [\"te.*\"]}");
    r->policy->groups = count ? calloc((size_t)count, sizeof(*r->policy->groups)) : NULL;
    if (count && !r->policy->groups)
        return policy_reader_refuse_memory(r);
    cJSON_ArrayForEach(entry, item)
    {
        int res = read_group(r, entry, &r->policy->groups[r->policy->group_count]);

        if (!policy_reader_goes_on(r, res))
            return res;
    }
    return 0;
}
