#include "policy_file.h"
#include "json.h"
#include "policy_reader.h"
#include "python_literal.h"
#include "text_file.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int policy_parse_errors(const char *text, size_t bytes, const char *path, struct policy **out,
                        struct input_error *errors, size_t room, size_t *count)
{
    struct policy_reader r = {
        .text = text, .bytes = bytes, .path = path, .errors = errors, .room = room};
    int res;

    input_error_clear(&errors[0]);
    input_error_set_file(&errors[0], path);
    *count = 1;
    r.python = python_literal_begins(text, bytes);
    res = r.python ? python_literal_parse(text, bytes, &r.root, &errors[0])
                   : json_parse(text, bytes, JSON_INTEGERS, &r.root, &errors[0]);
    if (res)
        return res;

    r.policy = policy_new();
    res = r.policy ? policy_reader_read(&r) : policy_reader_refuse_memory(&r);
    cJSON_Delete(r.root);
    if (r.error_count) {
        policy_free(r.policy);
        *count = r.error_count;
        return res ? res : -EINVAL;
    }
    *out = r.policy;
    return 0;
}

int policy_parse(const char *text, size_t bytes, const char *path, struct policy **out,
                 struct input_error *error)
{
    size_t count;

    return policy_parse_errors(text, bytes, path, out, error, 1, &count);
}

int policy_read_errors(const char *path, struct policy **out, struct input_error *errors,
                       size_t room, size_t *count)
{
    size_t bytes;
    char *text;
    int res =
        text_file_read(path, 0, POLICY_BYTES_MAX, "a readable policy file", &text, &bytes, errors);

    *count = 1;
    if (res)
        return res;
    res = policy_parse_errors(text, bytes, path, out, errors, room, count);
    free(text);
    return res;
}

int policy_read(const char *path, struct policy **out, struct input_error *error)
{
    size_t count;

    return policy_read_errors(path, out, error, 1, &count);
}

struct policy *policy_new(void)
{
    struct policy *policy = calloc(1, sizeof(*policy));

    if (!policy)
        return NULL;
    policy_memory_clear(&policy->max_memory);
    policy->dtype = DTYPE_COUNT;
    return policy;
}

int policy_add_special_dtype(struct policy *policy, const char *pattern, size_t bytes,
                             enum dtype dtype)
{
    size_t count = policy->special_dtype_count;
    struct load_special *grown = realloc(policy->special_dtypes, (count + 1) * sizeof(*grown));

    if (!grown)
        return -ENOMEM;
    policy->special_dtypes = grown;
    grown[count] = (struct load_special){strndup(pattern, bytes), dtype};
    if (!grown[count].pattern)
        return -ENOMEM;
    policy->special_dtype_count++;
    return 0;
}

struct load_dtypes policy_load_dtypes(const struct policy *policy)
{
    return (struct load_dtypes){policy->dtype, policy->special_dtypes, policy->special_dtype_count};
}

static void free_names(struct policy_names *names)
{
    size_t i;

    for (i = 0; i < names->count; i++)
        free(names->names[i]);
    free(names->names);
}

void policy_free(struct policy *policy)
{
    size_t i;

    if (!policy)
        return;
    for (i = 0; i < policy->map.count; i++)
        free(policy->map.entries[i].prefix);
    free(policy->map.entries);
    free_names(&policy->no_split);
    free_names(&policy->no_split_classes);
    free_names(&policy->preload);
    for (i = 0; i < policy->tied_count; i++)
        free_names(&policy->tied[i]);
    free(policy->tied);
    for (i = 0; i < policy->group_count; i++) {
        free(policy->groups[i].name);
        free_names(&policy->groups[i].patterns);
    }
    free(policy->groups);
    for (i = 0; i < policy->special_dtype_count; i++)
        free(policy->special_dtypes[i].pattern);
    free(policy->special_dtypes);
    free(policy->checkpoint);
    free(policy->offload_folder);
    free(policy);
}
