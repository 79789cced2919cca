/* unit_rig.h - units of a checkpoint for tests, and what must hold of every table. */
#ifndef BERTH_TEST_UNIT_RIG_H
#define BERTH_TEST_UNIT_RIG_H

#include "built_checkpoint.h"
#include "unit.h"
#include <stdio.h>
#include <string.h>

static inline struct unit_table *unit_rig_make(const struct checkpoint *checkpoint,
                                               const struct unit_options *options)
{
    struct unit_table *table = NULL;
    struct input_error error;
    char line[INPUT_ERROR_TEXT_BYTES];

    if (unit_table_create(checkpoint, options, &table, &error))
        fail_msg("%s", input_error_format(&error, line, sizeof(line)));
    return table;
}

/* What holds for every table. */
static inline void unit_rig_check(const struct unit_table *table)
{
    const struct checkpoint *checkpoint = table->checkpoint;
    size_t *seen = calloc(checkpoint->tensor_count + 1, sizeof(*seen)), i, j;
    uint64_t bits = 0;

    for (i = 0; i < table->count; i++) {
        const struct unit *unit = &table->units[i];
        size_t bytes;

        assert_true(unit->count > 0);
        assert_int_equal(unit->first,
                         i ? table->units[i - 1].first + table->units[i - 1].count : 0);
        assert_true(i == 0 || table->units[i - 1].node < unit->node);
        assert_non_null(unit_name(table, i, &bytes));
        assert_true(bytes > 0);
        for (j = 0; j < unit->count; j++) {
            uint32_t tensor = table->members[unit->first + j];

            assert_int_equal(table->unit_of[tensor], i);
            seen[tensor]++;
        }
        bits += unit->bits;
        assert_int_equal(table->whole[unit->node] != 0, unit->reason != UNIT_TENSOR);
    }
    for (i = 0; i < checkpoint->tensor_count; i++) {
        uint32_t group = table->ties->group_of[i];

        assert_int_equal(seen[i], 1);
        if (group == TIE_NONE)
            assert_int_equal(table->unit_of[i], table->unit_of[table->owners[i]]);
        else
            assert_int_equal(table->unit_of[i],
                             table->unit_of[table->ties->groups[group].members[0].name]);
    }
    assert_int_equal(bits, table->bits);
    free(seen);
}

/* The units of a reason have just these names. */
static inline void unit_rig_check_units(const struct unit_table *table, enum unit_reason reason,
                                        const char *const *names)
{
    size_t i, bytes;

    unit_rig_check(table);
    for (i = 0; i < table->count; i++) {
        const char *name = unit_name(table, i, &bytes);

        if (table->units[i].reason != reason)
            continue;
        if (!*names || strlen(*names) != bytes || memcmp(name, *names, bytes) != 0)
            fail_msg("unit %.*s, not %s", (int)bytes, name, *names ? *names : "another");
        names++;
    }
    if (*names)
        fail_msg("no unit %s", *names);
}

/* The units of a reason are prefix0, prefix1, ... in this order. */
static inline size_t unit_rig_check_blocks(const struct unit_table *table, enum unit_reason reason,
                                           const char *prefix, size_t count, size_t from)
{
    size_t i, bytes, found = 0;

    for (i = from; i < table->count && found < count; i++) {
        const char *name = unit_name(table, i, &bytes);
        char expected[128];

        if (table->units[i].reason != reason)
            continue;
        snprintf(expected, sizeof(expected), "%s%zu", prefix, found++);
        if (strlen(expected) != bytes || memcmp(name, expected, bytes) != 0)
            fail_msg("unit %.*s, not %s", (int)bytes, name, expected);
    }
    assert_int_equal(found, count);
    return i;
}

static inline size_t unit_rig_count(const struct unit_table *table, enum unit_reason reason)
{
    size_t count = 0, i;

    for (i = 0; i < table->count; i++)
        count += table->units[i].reason == reason;
    return count;
}

static inline void unit_rig_drop(struct unit_table *table)
{
    struct checkpoint *checkpoint = (struct checkpoint *)table->checkpoint;

    unit_table_free(table);
    checkpoint_close(checkpoint);
}

#endif
