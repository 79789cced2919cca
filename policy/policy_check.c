#include "policy_checker.h"
#include "size.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Findings ------------------------------------------------------------------------------------- */

/* Errors stand before warnings: one that is added later goes between them. */
static int insert(struct policy_check *check, struct policy_finding finding)
{
    size_t at = finding.severity == POLICY_ERROR ? check->error_count : check->finding_count;
    void *grown = realloc(check->findings, (check->finding_count + 1) * sizeof(*check->findings));

    if (!grown)
        return -ENOMEM;
    check->findings = grown;
    memmove(&check->findings[at + 1], &check->findings[at],
            (check->finding_count - at) * sizeof(finding));
    check->findings[at] = finding;
    check->finding_count++;
    check->error_count += finding.severity == POLICY_ERROR;
    return 0;
}

static int add_text(struct policy_check *check, enum policy_severity severity, const char *field,
                    const char *format, va_list args)
{
    struct policy_finding finding = {.severity = severity, .field = strdup(field)};

    if (vasprintf(&finding.text, format, args) < 0)
        finding.text = NULL;
    if (finding.field && finding.text && insert(check, finding) == 0)
        return 0;
    free(finding.field);
    free(finding.text);
    return -ENOMEM;
}

int policy_check_add(struct policy_check *check, enum policy_severity severity, const char *field,
                     const char *format, ...)
{
    va_list args;
    int res;

    va_start(args, format);
    res = add_text(check, severity, field, format, args);
    va_end(args);
    return res;
}

int checker_add_error(struct checker *c, const char *field, const char *format, ...)
{
    va_list args;
    int res;

    va_start(args, format);
    res = add_text(c->check, POLICY_ERROR, field, format, args);
    va_end(args);
    return res;
}

int checker_add_warning(struct checker *c, const char *field, const char *format, ...)
{
    va_list args;
    int res;

    va_start(args, format);
    res =
        add_text(c->check, c->policy->strict ? POLICY_ERROR : POLICY_WARNING, field, format, args);
    va_end(args);
    return res;
}

/* Objects and their sizes ---------------------------------------------------------------------- */

uint32_t checker_find_object(const struct checker *c, uint32_t tensor)
{
    const struct ties *ties = c->units->ties;
    uint32_t group = ties->group_of[tensor];

    return group == TIE_NONE ? tensor : ties->groups[group].members[0].name;
}

/* What covers the first covered name of an object. Names that the checkpoint leaves out count. */
static const struct policy_map_entry *find_home(const struct checker *c, uint32_t tensor)
{
    const struct ties *ties = c->units->ties;
    const struct tie_group *group;
    size_t i;

    if (c->entries[tensor] || ties->group_of[tensor] == TIE_NONE)
        return c->entries[tensor];
    group = &ties->groups[ties->group_of[tensor]];
    for (i = 0; i < group->count; i++) {
        const char *name = unit_table_name(c->units, group->members[i].name);
        const struct policy_map_entry *entry = policy_map_find(&c->policy->map, name);

        if (entry)
            return entry;
    }
    return NULL;
}

/* Fill in what is known of each tensor. */
static int prepare(struct checker *c)
{
    size_t count = c->checkpoint->tensor_count, i;

    c->entries = calloc(count + 1, sizeof(*c->entries));
    c->homes = calloc(count + 1, sizeof(*c->homes));
    c->bytes = calloc(count + 1, sizeof(*c->bytes));
    if (!c->entries || !c->homes || !c->bytes)
        return -ENOMEM;
    for (i = 0; i < count; i++)
        c->entries[i] = policy_map_find(&c->policy->map, c->checkpoint->tensors[i].name);
    for (i = 0; i < count; i++) {
        uint32_t object = checker_find_object(c, (uint32_t)i);

        c->bytes[object] = c->units->tensors[object].bits / 8;
        if (object == i)
            c->homes[i] = find_home(c, object);
    }
    c->check->tensors = count;
    for (i = 0; i < count; i++)
        c->check->bytes += c->bytes[i];
    return 0;
}

void checker_hold(struct policy_holding *holding, uint64_t bytes)
{
    holding->tensors++;
    holding->bytes += bytes;
}

/* What lives where ----------------------------------------------------------------------------- */

static uint64_t limit_of(const struct policy_memory *memory, int place)
{
    return place == POLICY_CPU    ? memory->cpu_bytes
           : place == POLICY_DISK ? memory->disk_bytes
                                  : memory->device_bytes[place];
}

/* Take the places that are limited, or that a key puts something into. */
static void fill_places(struct checker *c)
{
    static const int others[] = {POLICY_CPU, POLICY_DISK};
    const struct policy_map *map = &c->policy->map;
    bool used[POLICY_DEVICES_MAX + 2] = {false};
    size_t i;

    for (i = 0; i < map->count; i++) {
        int place = map->entries[i].place;

        used[place >= 0 ? place : POLICY_DEVICES_MAX - 1 - place] = true;
    }
    for (i = 0; i < POLICY_DEVICES_MAX + 2; i++) {
        int place = i < POLICY_DEVICES_MAX ? (int)i : others[i - POLICY_DEVICES_MAX];
        uint64_t limit = limit_of(&c->policy->max_memory, place);

        if (used[i] || limit != POLICY_UNSET)
            c->check->places[c->check->place_count++] =
                (struct policy_holding){.name = policy_place_name(place, c->check->place_names[i]),
                                        .place = place,
                                        .limit = limit};
    }
}

static struct policy_holding *find_place(struct policy_check *check, int place)
{
    size_t i;

    for (i = 0; check->places[i].place != place; i++)
        ;
    return &check->places[i];
}

static int make_keys(struct checker *c)
{
    const struct policy_map *map = &c->policy->map;
    struct policy_check *check = c->check;
    size_t i;

    if (!map->count)
        return 0;
    check->keys = calloc(map->count, sizeof(*check->keys));
    if (!check->keys)
        return -ENOMEM;
    check->key_count = map->count;
    for (i = 0; i < map->count; i++)
        check->keys[map->entries[i].order] = (struct policy_holding){
            .name = map->entries[i].prefix, .place = map->entries[i].place, .limit = POLICY_UNSET};
    return 0;
}

/* Count what each key and each place holds. */
static int fill_keys(struct checker *c)
{
    struct policy_check *check = c->check;
    size_t i;

    if (!check->key_count)
        return 0;
    for (i = 0; i < check->tensors; i++) {
        const struct policy_map_entry *home = c->homes[checker_find_object(c, (uint32_t)i)];

        if (home) {
            checker_hold(find_place(check, home->place), c->bytes[i]);
            checker_hold(&check->keys[(c->entries[i] ? c->entries[i] : home)->order], c->bytes[i]);
        } else {
            checker_hold(&check->uncovered, c->bytes[i]);
        }
    }
    return 0;
}

/* Name the first tensor that nothing covers. */
static int check_coverage(struct checker *c)
{
    const struct policy_holding *uncovered = &c->check->uncovered;
    char size[SIZE_TEXT_BYTES], more[64] = "";
    size_t i;

    if (!uncovered->tensors || !c->policy->map.count)
        return 0;
    for (i = 0; c->homes[checker_find_object(c, (uint32_t)i)]; i++)
        ;
    if (uncovered->tensors > 1)
        snprintf(more, sizeof(more), " and %zu more tensors", uncovered->tensors - 1);
    return checker_add_error(
        c, "device_map", "no key covers %s%s (%s); add keys for them, or \"\" for all the rest",
        c->checkpoint->tensors[i].name, more, size_format(uncovered->bytes, SIZE_BINARY, size));
}

static int check_limits(struct checker *c)
{
    char placed[SIZE_TEXT_BYTES], limit[SIZE_TEXT_BYTES], field[32];
    size_t i;
    int res = 0;

    for (i = 0; i < c->check->place_count && !res; i++) {
        const struct policy_holding *place = &c->check->places[i];

        if (place->limit == POLICY_UNSET || place->bytes <= place->limit)
            continue;
        snprintf(field, sizeof(field), "max_memory.%s", place->name);
        res = checker_add_error(
            c, field, "the map puts %s there, %llu bytes more than the %s that it may take",
            size_format(place->bytes, SIZE_BINARY, placed),
            (unsigned long long)(place->bytes - place->limit),
            size_format(place->limit, SIZE_BINARY, limit));
    }
    return res;
}

/* All of it ------------------------------------------------------------------------------------ */

static int check_names(struct checker *c)
{
    static int (*const parts[])(struct checker *) = {
        checker_make_units,
        prepare,
        fill_keys,
        check_coverage,
        check_limits,
        checker_check_room,
        checker_check_conflicts,
        checker_check_names,
    };
    int res = 0;

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && !res; i++)
        res = parts[i](c);
    return res;
}

int policy_check_create(const struct policy *policy, const struct checkpoint *checkpoint,
                        const struct model_config *config, struct policy_check **out)
{
    struct policy_check *check = calloc(1, sizeof(*check));
    struct checker c = {
        .policy = policy, .checkpoint = checkpoint, .config = config, .check = check};
    int res;

    if (!check)
        return -ENOMEM;
    check->uncovered =
        (struct policy_holding){.name = "", .place = POLICY_NOWHERE, .limit = POLICY_UNSET};
    fill_places(&c);
    res = make_keys(&c);
    if (checkpoint && !res)
        res = check_names(&c);
    unit_table_free(c.units);
    free(c.entries);
    free(c.homes);
    free(c.bytes);
    free(c.tied);
    free(c.classes);
    if (res) {
        policy_check_free(check);
        return res;
    }
    *out = check;
    return 0;
}

void policy_check_free(struct policy_check *check)
{
    size_t i;

    if (!check)
        return;
    for (i = 0; i < check->finding_count; i++) {
        free(check->findings[i].field);
        free(check->findings[i].text);
    }
    free(check->findings);
    free(check->keys);
    free(check->groups);
    free(check->streamed_unit);
    free(check);
}
