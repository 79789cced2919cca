#include "tie.h"
#include "architecture.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define UNTIED 0xFFu

/* The room that ties of a configuration take among the absent names. */
#define CONFIG_NAMES_MAX (ARCHITECTURE_GROUPS_MAX * ARCHITECTURE_NAMES_MAX)

/* Sets of names that grow together; numbers as in struct tie_member. */
struct finder {
    const struct checkpoint *checkpoint;
    struct ties *ties;
    uint32_t *parent; /* a set's root is the lowest of its numbers */
    uint8_t *source;  /* by number: UNTIED until it is joined to another */
    size_t room;      /* numbers that fit */
};

const char *tie_source_name(enum tie_source source)
{
    switch (source) {
    case TIE_STORAGE:
        return "one storage of the checkpoint";
    case TIE_CONFIG:
        return "tie_word_embeddings";
    case TIE_POLICY:
        return "tied";
    }
    return "?";
}

static uint32_t find_root(const struct finder *f, uint32_t name)
{
    while (f->parent[name] != name) {
        f->parent[name] = f->parent[f->parent[name]];
        name = f->parent[name];
    }
    return name;
}

static void join(const struct finder *f, uint32_t a, uint32_t b, enum tie_source source)
{
    uint32_t low = find_root(f, a), high = find_root(f, b);

    if (low == high)
        return;
    f->parent[low > high ? low : high] = low > high ? high : low;
    if (f->source[a] == UNTIED)
        f->source[a] = (uint8_t)source;
    if (f->source[b] == UNTIED)
        f->source[b] = (uint8_t)source;
}

/* The number of a name, a new one where nothing has it yet.
 *
 * name     bytes of it; need not be terminated
 * number   set on success only
 */
static int add_absent(struct finder *f, const char *name, size_t bytes, uint32_t *number)
{
    struct ties *ties = f->ties;
    size_t absent = ties->name_count - ties->tensor_count, i;
    char *copy;

    for (i = 0; i < absent; i++) {
        if (strncmp(ties->absent[i], name, bytes) == 0 && !ties->absent[i][bytes]) {
            *number = (uint32_t)(ties->tensor_count + i);
            return 0;
        }
    }
    if (ties->name_count == f->room)
        return -E2BIG;
    copy = strndup(name, bytes);
    if (!copy)
        return -ENOMEM;
    ties->absent[absent] = copy;
    *number = (uint32_t)ties->name_count++;
    f->parent[*number] = *number;
    f->source[*number] = UNTIED;
    return 0;
}

static void join_storages(const struct finder *f)
{
    const uint32_t *members;
    size_t cursor = 0, count, i;

    while ((count = checkpoint_next_tied(f->checkpoint, &cursor, &members))) {
        for (i = 1; i < count; i++)
            join(f, members[0], members[i], TIE_STORAGE);
    }
}

/* What config.json ties
 * --------------------------------------------------------------------------*/

/* A name of a group of ties, held against the checkpoint. */
struct found {
    uint32_t tensor; /* TIE_NONE where the checkpoint has none with this end */
    bool ambiguous;  /* several have it */
    bool replaced;   /* the module has other weights: a quantised head is not the embedding */
};

static bool ends_with(const struct tensor *tensor, const struct architecture_name *name)
{
    size_t before = tensor->name_bytes - name->bytes;

    return tensor->name_bytes >= name->bytes &&
           memcmp(tensor->name + before, name->tail, name->bytes) == 0 &&
           (before == 0 || tensor->name[before - 1] == '.');
}

/* Is this another tensor of the module whose weight a name is, its bias aside? */
static bool replaces(const struct tensor *tensor, const struct architecture_name *name)
{
    const char *dot = memrchr(name->tail, '.', name->bytes);
    size_t module = dot ? (size_t)(dot - name->tail) + 1 : 0;

    return module && tensor->name_bytes > module && memcmp(tensor->name, name->tail, module) == 0 &&
           strcmp(tensor->name + module, "bias") != 0 && !strchr(tensor->name + module, '.');
}

static void find_names(const struct checkpoint *checkpoint, const struct architecture_group *group,
                       struct found *found)
{
    size_t i, j;

    for (j = 0; j < group->count; j++)
        found[j] = (struct found){.tensor = TIE_NONE};
    for (i = 0; i < checkpoint->tensor_count; i++) {
        for (j = 0; j < group->count; j++) {
            if (ends_with(&checkpoint->tensors[i], &group->name[j])) {
                found[j].ambiguous = found[j].tensor != TIE_NONE;
                found[j].tensor = (uint32_t)i;
            } else if (replaces(&checkpoint->tensors[i], &group->name[j])) {
                found[j].replaced = true;
            }
        }
    }
}

/* Make the whole name of a parameter that the checkpoint leaves out.
 *
 * known    a name of the same group that is in the checkpoint
 */
static int add_config_name(struct finder *f, const struct architecture_name *name,
                           const struct architecture_name *known, const struct tensor *tensor,
                           uint32_t *number)
{
    static const char part[] = "language_model.";
    size_t prefix = tensor->name_bytes - known->bytes;
    char *whole;
    int res;

    /* A head stands outside the inner model, yet inside the part of a larger model that writes
     * text. */
    if (!name->inner)
        prefix = strncmp(tensor->name, part, sizeof(part) - 1) == 0 ? sizeof(part) - 1 : 0;
    whole = malloc(prefix + name->bytes);
    if (!whole)
        return -ENOMEM;
    memcpy(whole, tensor->name, prefix);
    memcpy(whole + prefix, name->tail, name->bytes);
    res = add_absent(f, whole, prefix + name->bytes, number);
    free(whole);
    return res;
}

static bool same_size(const struct checkpoint *checkpoint, uint32_t a, uint32_t b)
{
    return tensor_dense_bytes(&checkpoint->tensors[a]) ==
           tensor_dense_bytes(&checkpoint->tensors[b]);
}

static int join_group(struct finder *f, const struct architecture_group *group, bool has_head)
{
    struct found found[ARCHITECTURE_NAMES_MAX];
    size_t known, i;
    int res = 0;

    find_names(f->checkpoint, group, found);
    for (known = 0; known < group->count && found[known].tensor == TIE_NONE; known++)
        ;
    /* Inner names begin alike: one must be known to make another. */
    if (known == group->count || found[known].ambiguous)
        return 0;
    for (i = 0; i < group->count && !res; i++) {
        uint32_t number = found[i].tensor;

        if (i == known || found[i].ambiguous)
            continue;
        if (number == TIE_NONE) {
            if (!has_head || found[i].replaced ||
                (group->name[i].inner && !group->name[known].inner))
                continue;
            res = add_config_name(f, &group->name[i], &group->name[known],
                                  &f->checkpoint->tensors[found[known].tensor], &number);
        } else if (!same_size(f->checkpoint, found[known].tensor, number)) {
            continue;
        }
        if (!res)
            join(f, found[known].tensor, number, TIE_CONFIG);
    }
    return res;
}

static int join_config(struct finder *f, const struct model_config *config)
{
    struct architecture_ties ties;
    size_t i;
    int res = 0;

    architecture_find_ties(config, &ties);
    for (i = 0; i < ties.count && !res; i++)
        res = join_group(f, &ties.group[i], ties.has_head);
    return res;
}

/* What the user ties
 * ------------------------------------------------------------------------------*/

int ties_check_list(const struct checkpoint *checkpoint, const struct tie_list *list,
                    struct input_error *error)
{
    size_t first = CHECKPOINT_NONE, i;

    input_error_clear(error);
    input_error_set_field(error, "tied", strlen("tied"));
    if (list->count < 2)
        return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET,
                               "two names or more of one parameter", "%zu", list->count);
    for (i = 0; i < list->count; i++) {
        size_t tensor = checkpoint_find_name(checkpoint, list->names[i]);
        const struct tensor *a, *b;

        if (tensor == CHECKPOINT_NONE)
            continue;
        if (first == CHECKPOINT_NONE)
            first = tensor;
        a = &checkpoint->tensors[first];
        b = &checkpoint->tensors[tensor];
        if (tensor_dense_bytes(a) != tensor_dense_bytes(b))
            return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET, "tensors of one size",
                                   "%s of %llu bytes and %s of %llu bytes", a->name,
                                   (unsigned long long)tensor_dense_bytes(a), b->name,
                                   (unsigned long long)tensor_dense_bytes(b));
    }
    if (first != CHECKPOINT_NONE)
        return 0;
    return input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET,
                           "a name that is in the checkpoint", "\"%s\" and \"%s\"", list->names[0],
                           list->names[1]);
}

static int join_list(struct finder *f, const struct tie_list *list, struct input_error *error)
{
    uint32_t first = TIE_NONE;
    size_t i;
    int res = ties_check_list(f->checkpoint, list, error);

    for (i = 0; i < list->count && !res; i++) {
        size_t tensor = checkpoint_find_name(f->checkpoint, list->names[i]);
        uint32_t number = (uint32_t)tensor;

        if (tensor == CHECKPOINT_NONE) {
            res = *list->names[i] ? add_absent(f, list->names[i], strlen(list->names[i]), &number)
                                  : input_error_set(error, -EINVAL, INPUT_ERROR_NO_OFFSET,
                                                    "the name of a parameter", "\"\"");
        }
        if (res)
            break;
        if (first == TIE_NONE)
            first = number;
        else
            join(f, first, number, TIE_POLICY);
    }
    return res;
}

/* The objects
 * -------------------------------------------------------------------------------------*/

static int compare_places(const void *a, const void *b, void *checkpoint)
{
    const struct tensor *tensors = ((const struct checkpoint *)checkpoint)->tensors;
    const struct tensor *l = &tensors[*(const uint32_t *)a], *r = &tensors[*(const uint32_t *)b];

    if (l->storage != r->storage)
        return l->storage < r->storage ? -1 : 1;
    if (l->file != r->file)
        return l->file < r->file ? -1 : 1;
    return l->offset < r->offset ? -1 : l->offset > r->offset;
}

/* What several tensors take together: of each storage what they cover of it; of storages that the
 * file holds apart, though they are one object, the largest.
 *
 * tensors  count indexes; put into another order
 */
static uint64_t count_bits(const struct checkpoint *checkpoint, uint32_t *tensors, size_t count)
{
    uint64_t most = 0, sum = 0, end = 0;
    size_t i;

    qsort_r(tensors, count, sizeof(*tensors), compare_places, (void *)checkpoint);
    for (i = 0; i < count; i++) {
        const struct tensor *now = &checkpoint->tensors[tensors[i]];
        const struct tensor *last = i ? &checkpoint->tensors[tensors[i - 1]] : NULL;
        uint64_t first = now->offset;

        if (!last || last->storage != now->storage || last->file != now->file) {
            sum = last && last->storage == now->storage ? sum : 0;
            end = 0;
        }
        first = first < end ? end : first;
        if (now->offset + now->bytes > first)
            sum += now->offset + now->bytes - first;
        end = now->offset + now->bytes > end ? now->offset + now->bytes : end;
        most = sum > most ? sum : most;
    }
    return most * 8;
}

/* Put the members of each group side by side.
 *
 * order    room for all names
 */
static void fill_groups(const struct finder *f, uint32_t *order)
{
    struct ties *ties = f->ties;
    struct tie_member *members = ties->members;
    size_t tensors, i;
    uint32_t name;

    for (name = 0; name < ties->name_count; name++) {
        uint32_t root = find_root(f, name);

        ties->group_of[name] = TIE_NONE;
        if (f->source[name] == UNTIED)
            continue;
        if (root == name)
            ties->group_of[name] = (uint32_t)ties->count++;
        else
            ties->group_of[name] = ties->group_of[root];
        ties->groups[ties->group_of[name]].count++;
    }
    for (i = 0; i < ties->count; i++) {
        ties->groups[i].members = members;
        members += ties->groups[i].count;
        ties->groups[i].count = 0;
    }
    for (name = 0; name < ties->name_count; name++) {
        struct tie_group *group;

        if (ties->group_of[name] == TIE_NONE)
            continue;
        group = &ties->groups[ties->group_of[name]];
        group->members[group->count++] =
            (struct tie_member){name, (enum tie_source)f->source[name]};
    }
    for (i = 0; i < ties->count; i++) {
        struct tie_group *group = &ties->groups[i];

        for (tensors = 0;
             tensors < group->count && group->members[tensors].name < ties->tensor_count; tensors++)
            order[tensors] = group->members[tensors].name;
        group->bits = count_bits(f->checkpoint, order, tensors);
    }
}

static int make_groups(const struct finder *f)
{
    struct ties *ties = f->ties;
    size_t tied = 0, i;
    uint32_t *order;
    int res = -ENOMEM;

    for (i = 0; i < ties->name_count; i++)
        tied += f->source[i] != UNTIED;
    ties->member_count = tied;
    ties->members = calloc(tied + 1, sizeof(*ties->members));
    ties->groups = calloc(tied / 2 + 1, sizeof(*ties->groups));
    ties->group_of = malloc((ties->name_count + 1) * sizeof(*ties->group_of));
    order = malloc((tied + 1) * sizeof(*order));
    if (ties->members && ties->groups && ties->group_of && order) {
        fill_groups(f, order);
        res = 0;
    }
    free(order);
    return res;
}

static int start(struct finder *f, size_t listed)
{
    size_t absent = CONFIG_NAMES_MAX + (listed < TIE_ABSENT_MAX ? listed : TIE_ABSENT_MAX), i;

    f->ties->tensor_count = f->ties->name_count = f->checkpoint->tensor_count;
    f->room = f->ties->tensor_count + absent;
    f->parent = malloc(f->room * sizeof(*f->parent));
    f->source = malloc(f->room);
    f->ties->absent = calloc(absent, sizeof(*f->ties->absent));
    if (!f->parent || !f->source || !f->ties->absent)
        return -ENOMEM;
    for (i = 0; i < f->ties->tensor_count; i++)
        f->parent[i] = (uint32_t)i;
    memset(f->source, UNTIED, f->room);
    return 0;
}

static int find_all(struct finder *f, const struct model_config *config,
                    const struct tie_list *lists, size_t list_count, struct input_error *error)
{
    size_t listed = 0, i;
    int res;

    for (i = 0; i < list_count; i++)
        listed += lists[i].count;
    res = start(f, listed);
    if (res)
        return res;
    join_storages(f);
    res = join_config(f, config);
    for (i = 0; i < list_count && !res; i++)
        res = join_list(f, &lists[i], error);
    if (res == -E2BIG)
        return input_error_set(error, res, INPUT_ERROR_NO_OFFSET,
                               "fewer names that the checkpoint leaves out", "more than %d",
                               TIE_ABSENT_MAX);
    return res ? res : make_groups(f);
}

int ties_find(const struct checkpoint *checkpoint, const struct model_config *config,
              const struct tie_list *lists, size_t list_count, struct ties **out,
              struct input_error *error)
{
    struct finder f = {.checkpoint = checkpoint, .ties = calloc(1, sizeof(*f.ties))};
    int res;

    input_error_clear(error);
    res = f.ties ? find_all(&f, config, lists, list_count, error) : -ENOMEM;
    free(f.parent);
    free(f.source);
    if (res)
        ties_free(f.ties);
    else
        *out = f.ties;
    return res;
}

void ties_free(struct ties *ties)
{
    size_t i;

    if (!ties)
        return;
    for (i = 0; ties->absent && i < ties->name_count - ties->tensor_count; i++)
        free(ties->absent[i]);
    free(ties->absent);
    free(ties->groups);
    free(ties->group_of);
    free(ties->members);
    free(ties);
}
