/* The names of a policy: keys, patterns and groups that match nothing, or match twice. */

#include "names.h"
#include "pattern.h"
#include "policy_checker.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEAR_LETTERS  3  /* a key is taken for a mistyped module up to so many */
#define UNMATCHED_MAX 64 /* keys that are named; the rest is counted */

/* Keys ----------------------------------------------------------------------------------------- */

static size_t count_dots(const char *name)
{
    size_t dots = 0;

    for (; *name; name++)
        dots += *name == '.';
    return dots;
}

/* How many bytes of a name its first parts are; 0 where it has fewer. */
static size_t cut_at_dots(const char *name, size_t dots)
{
    const char *at = name;

    for (;; at++) {
        at = strchrnul(at, '.');
        if (dots-- == 0)
            return (size_t)(at - name);
        if (*at == '\0')
            return 0;
    }
}

/* The next number is no mistyped one: layers.9 is not what layers.99 was meant to be. */
static bool differ_in_numbers(const char *a, const char *b)
{
    static const char digits[] = "0123456789";

    for (;;) {
        a += strspn(a, digits);
        b += strspn(b, digits);
        if (*a != *b)
            return false;
        if (*a == '\0')
            return true;
        a++;
        b++;
    }
}

/* Find the module or tensor that a key was probably meant to be.
 *
 * near     bytes long; "" where none is near
 */
static void find_near(const struct checkpoint *checkpoint, const char *key, char *near,
                      size_t bytes)
{
    size_t dots = count_dots(key), best = NEAR_LETTERS + 1, length = strlen(key), i;
    char candidate[128] = "";

    near[0] = '\0';
    for (i = 0; i < checkpoint->tensor_count && best > 1; i++) {
        const char *name = checkpoint->tensors[i].name;
        size_t cut = cut_at_dots(name, dots), distance;

        if (cut == 0 || cut >= sizeof(candidate) || cut + NEAR_LETTERS < length ||
            cut > length + NEAR_LETTERS ||
            (strncmp(candidate, name, cut) == 0 && candidate[cut] == '\0'))
            continue;
        memcpy(candidate, name, cut);
        candidate[cut] = '\0';
        distance = names_distance(key, candidate);
        if (distance < best && !differ_in_numbers(key, candidate)) {
            best = distance;
            snprintf(near, bytes, "%s", candidate);
        }
    }
}

/* Is a key, or a module, the beginning of a name? */
static bool is_above(const char *key, const char *name)
{
    size_t bytes = strlen(key);

    return bytes == 0 ||
           (strncmp(key, name, bytes) == 0 && (name[bytes] == '\0' || name[bytes] == '.'));
}

/* Does the map have a key below this one? Then its tensors may all have keys of their own. */
static bool has_key_below(const struct checker *c, const char *key)
{
    size_t i;

    for (i = 0; i < c->check->key_count; i++) {
        const struct policy_holding *other = &c->check->keys[i];

        if (other->tensors && is_above(key, other->name))
            return true;
    }
    return false;
}

/* Is a name below a key that the model has, but that the checkpoint leaves out? */
static bool has_absent_name(const struct checker *c, const char *key)
{
    const struct ties *ties = c->units->ties;
    size_t i;

    for (i = 0; i < ties->name_count - ties->tensor_count; i++) {
        if (is_above(key, ties->absent[i]))
            return true;
    }
    return false;
}

static int check_keys(struct checker *c)
{
    char field[200], near[128];
    size_t unmatched = 0, i;
    int res = 0;

    for (i = 0; i < c->check->key_count && !res; i++) {
        const struct policy_holding *key = &c->check->keys[i];

        if (key->tensors || has_absent_name(c, key->name) || ++unmatched > UNMATCHED_MAX)
            continue;
        snprintf(field, sizeof(field), "device_map%s%s", *key->name ? "." : "[\"\"]", key->name);
        if (has_key_below(c, key->name)) {
            res = checker_add_warning(c, field,
                                      "all tensors below it have longer keys: it places nothing");
            continue;
        }
        find_near(c->checkpoint, key->name, near, sizeof(near));
        if (*near)
            res = checker_add_warning(c, field, "matches no tensor; did you mean %s?", near);
        else
            res = checker_add_warning(c, field,
                                      "matches no tensor: a module without weights, or no module");
    }
    if (res || unmatched <= UNMATCHED_MAX)
        return res;
    return checker_add_warning(c, "device_map", "%zu more keys match no tensor",
                               unmatched - UNMATCHED_MAX);
}

/* Patterns ------------------------------------------------------------------------------------- */

static int check_pattern(struct checker *c, const char *field, const char *pattern)
{
    size_t i;

    for (i = 0; i < c->check->tensors; i++) {
        if (pattern_find_module(pattern, c->checkpoint->tensors[i].name))
            return 0;
    }
    return checker_add_warning(c, field, "\"%s\" matches no module and no tensor", pattern);
}

static int check_patterns(struct checker *c, const char *field, const struct policy_names *patterns)
{
    size_t i;
    int res = 0;

    for (i = 0; i < patterns->count && !res; i++)
        res = check_pattern(c, field, patterns->names[i]);
    return res;
}

static bool is_in_group(const struct policy_group *group, const char *name)
{
    size_t i;

    for (i = 0; i < group->patterns.count; i++) {
        if (pattern_find_module(group->patterns.names[i], name))
            return true;
    }
    return false;
}

/* Count what each group holds; complain of each pair of groups once. */
static int fill_groups(struct checker *c)
{
    const struct policy *policy = c->policy;
    size_t count = policy->group_count, i, j;
    bool *pairs = calloc(count * count + 1, sizeof(*pairs));
    int res = 0;

    for (i = 0; i < c->check->tensors && pairs && !res; i++) {
        const char *name = c->checkpoint->tensors[i].name;
        size_t first = SIZE_MAX;

        for (j = 0; j < count && !res; j++) {
            if (!is_in_group(&policy->groups[j], name))
                continue;
            if (first == SIZE_MAX) {
                first = j;
                checker_hold(&c->check->groups[j], c->bytes[i]);
            } else if (!pairs[first * count + j]) {
                pairs[first * count + j] = true;
                res = checker_add_error(c, "groups",
                                        "%s is in %s and in %s; a tensor is in one group", name,
                                        policy->groups[first].name, policy->groups[j].name);
            }
        }
    }
    res = pairs ? res : -ENOMEM;
    free(pairs);
    return res;
}

static int check_groups(struct checker *c)
{
    const struct policy *policy = c->policy;
    char field[200];
    size_t i;
    int res;

    if (!policy->group_count)
        return 0;
    c->check->groups = calloc(policy->group_count, sizeof(*c->check->groups));
    if (!c->check->groups)
        return -ENOMEM;
    c->check->group_count = policy->group_count;
    for (i = 0; i < policy->group_count; i++)
        c->check->groups[i] = (struct policy_holding){
            .name = policy->groups[i].name, .place = POLICY_NOWHERE, .limit = POLICY_UNSET};
    res = fill_groups(c);
    for (i = 0; i < policy->group_count && !res; i++) {
        snprintf(field, sizeof(field), "groups.%s", policy->groups[i].name);
        res = check_patterns(c, field, &policy->groups[i].patterns);
    }
    return res;
}

int checker_check_names(struct checker *c)
{
    int res = check_keys(c);
    size_t i;

    if (!res)
        res = check_patterns(c, "preload", &c->policy->preload);
    for (i = 0; i < c->policy->special_dtype_count && !res; i++)
        res = check_pattern(c, "special_dtypes", c->policy->special_dtypes[i].pattern);
    return res ? res : check_groups(c);
}
