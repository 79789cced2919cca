/* Strategy: every run of tests/data/maps.jsonl and balanced.jsonl is planned anew and the map held
 * against the one that accelerate made. The two are the same when every tensor lives in the same
 * place by both. At least 95 in 100 must be; each of the others must be no worse, which is decided
 * by what both maps are, never by a model's name:
 *
 *   - ours keeps every tensor inside the limits and all names of an object together, and
 *   - the GPUs hold at least as many bytes by ours as by accelerate's, and GPUs and cpu as well,
 *   - or accelerate's map breaks a rule that ours keeps: more in a device than its limit (it merges
 *     a module's entries over a buffer that it had left out); two names of one object in two
 *     places; the tensors of a module without modules in two places, or a buffer of it in none (the
 *     model had a module without tensors there, which names cannot tell of); or no room on the
 *     first GPU or on cpu for a module that streams (for the same reason: it took that for one that
 *     can be split).
 *
 * Every map of ours must cover every tensor, also where accelerate answers with an exception or
 * forgets the buffers of a module that it splits. Other files than these two may be given as
 * arguments: what other seeds of the generator made.
 */
#include "golden_model.h"

static const char *const *g_files;
static size_t g_file_count;

struct score {
    unsigned runs, same, no_worse, errors, memory_runs, memory_same;
};

/* Where each tensor lives by a map. */
static int *resolve_all(const struct golden_model *model, const struct policy_map *map)
{
    int *places = calloc(model->count + 1, sizeof(*places));
    size_t i;

    for (i = 0; i < model->count; i++)
        places[i] = policy_resolve(map, model->tensors[i].name);
    return places;
}

static void free_map(struct policy_map *map)
{
    size_t i;

    for (i = 0; i < map->count; i++)
        free(map->entries[i].prefix);
    free(map->entries);
}

static int *golden_places(const struct golden_model *model, const cJSON *entries)
{
    struct policy_map map = {calloc((size_t)cJSON_GetArraySize(entries) + 1, sizeof(*map.entries)),
                             0};
    const cJSON *item;
    int *places;

    cJSON_ArrayForEach(item, entries)
    {
        const cJSON *place = cJSON_GetArrayItem(item, 1);
        struct policy_map_entry *entry = &map.entries[map.count++];

        entry->prefix = strdup(cJSON_GetArrayItem(item, 0)->valuestring);
        if (cJSON_IsNumber(place))
            entry->place = place->valueint;
        else
            assert_int_equal(policy_parse_place(place->valuestring, &entry->place), 0);
    }
    policy_map_sort(&map);
    places = resolve_all(model, &map);
    free_map(&map);
    return places;
}

/* The bits on GPUs, and on GPUs and cpu; what by_other has nowhere counts as it is by_other's. */
static void sum_tiers(const struct golden_model *model, const int *places, const int *instead,
                      uint64_t sums[2])
{
    size_t i;

    sums[0] = sums[1] = 0;
    for (i = 0; i < model->count; i++) {
        int place = places[i] == POLICY_NOWHERE ? instead[i] : places[i];
        uint64_t bits = model->tree->nodes[model->tree->leaves[i]].bits;

        sums[0] += place >= 0 ? bits : 0;
        sums[1] += place >= POLICY_CPU ? bits : 0;
    }
}

static int breaks_a_tie(const struct golden_model *model, const int *places)
{
    size_t i, j;

    for (i = 0; i < model->count; i++) {
        for (j = 0; j < i && model->tensors[i].tie != MODULE_NONE; j++) {
            if (model->tensors[j].tie == model->tensors[i].tie && places[i] != places[j])
                return 1;
        }
    }
    return 0;
}

/* Are the tensors of a module without modules in several places? Buffers count where they have
 * none. */
static int divides_a_module(const struct golden_model *model, const int *places)
{
    const struct module_tree *tree = model->tree;
    uint32_t node, child;

    for (node = MODULE_ROOT + 1; node < tree->count; node++) {
        int parameters = POLICY_NOWHERE, innermost = 1, divided = 0, lost = 0;

        MODULE_FOR_EACH_CHILD(tree, node, child)
        {
            uint32_t tensor = tree->nodes[child].tensor;

            innermost = innermost && tree->nodes[child].end == child + 1;
            if (!innermost)
                break;
            if (model->kinds[tensor] == PLAN_PARAMETER) {
                divided = divided || (parameters != POLICY_NOWHERE && places[tensor] != parameters);
                parameters = places[tensor];
            } else {
                lost = lost || places[tensor] == POLICY_NOWHERE;
            }
        }
        if (innermost && (divided || lost))
            return 1;
    }
    return 0;
}

/* Ours must be valid whatever accelerate's is. */
static void check_valid(const struct golden_model *model, const struct plan *plan,
                        const int *places, const struct policy_memory *memory)
{
    uint64_t device_bits[POLICY_DEVICES_MAX] = {0}, cpu_bits = 0, disk_bits = 0;
    size_t i;

    for (i = 0; i < model->count; i++) {
        uint64_t bits = model->tree->nodes[model->tree->leaves[i]].bits;

        assert_true(places[i] != POLICY_NOWHERE);
        if (places[i] >= 0)
            device_bits[places[i]] += bits;
        else
            *(places[i] == POLICY_CPU ? &cpu_bits : &disk_bits) += bits;
    }
    for (i = 0; i < POLICY_DEVICES_MAX; i++) {
        assert_int_equal(device_bits[i], plan->device_bits[i]);
        assert_true(device_bits[i] == 0 || device_bits[i] <= memory->device_bytes[i] * 8);
    }
    assert_int_equal(cpu_bits, plan->cpu_bits);
    assert_int_equal(disk_bits, plan->disk_bits);
    assert_true(cpu_bits == 0 || cpu_bits <= memory->cpu_bytes * 8);
    assert_false(breaks_a_tie(model, places));
}

static int exceeds_a_limit(const struct golden_model *model, const int *places,
                           const struct policy_memory *memory)
{
    uint64_t device_bits[POLICY_DEVICES_MAX] = {0}, cpu_bits = 0;
    size_t i;

    for (i = 0; i < model->count; i++) {
        uint64_t bits = model->tree->nodes[model->tree->leaves[i]].bits;

        if (places[i] >= 0)
            device_bits[places[i]] += bits;
        else if (places[i] == POLICY_CPU)
            cpu_bits += bits;
    }
    for (i = 0; i < POLICY_DEVICES_MAX; i++) {
        if (device_bits[i] > memory->device_bytes[i] * 8)
            return 1;
    }
    return cpu_bits > memory->cpu_bytes * 8;
}

/* The largest module without modules that is on cpu (for_disk 0) or on disk, as a whole. */
static uint64_t largest_streaming(const struct golden_model *model, const int *places, int for_disk)
{
    const struct module_tree *tree = model->tree;
    uint32_t node, child;
    uint64_t largest = 0;

    for (node = MODULE_ROOT + 1; node < tree->count; node++) {
        int whole = tree->nodes[node].end > node + 1;

        MODULE_FOR_EACH_CHILD(tree, node, child)
        {
            int place = POLICY_NOWHERE;

            if (tree->nodes[child].end == child + 1)
                place = places[tree->nodes[child].tensor];
            whole = whole && (place == POLICY_DISK || (place == POLICY_CPU && !for_disk));
        }
        if (whole && tree->nodes[node].bits > largest)
            largest = tree->nodes[node].bits;
    }
    return largest;
}

/* Does the first GPU, or cpu, hold something where the largest module that streams has no room? */
static int keeps_no_room(const struct golden_model *model, const int *places,
                         const struct policy_memory *memory)
{
    uint64_t gpu_bits = 0, cpu_bits = 0;
    int first = 0;
    size_t i;

    while (first < POLICY_DEVICES_MAX && memory->device_bytes[first] == POLICY_UNSET)
        first++;
    for (i = 0; i < model->count; i++) {
        uint64_t bits = model->tree->nodes[model->tree->leaves[i]].bits;

        gpu_bits += places[i] == first ? bits : 0;
        cpu_bits += places[i] == POLICY_CPU ? bits : 0;
    }
    if (gpu_bits &&
        gpu_bits + largest_streaming(model, places, 0) > memory->device_bytes[first] * 8)
        return 1;
    return cpu_bits && cpu_bits + largest_streaming(model, places, 1) > memory->cpu_bytes * 8;
}

/* The same of ours, but for the buffers that accelerate forgot: ours have a place beside their
 * modules, in that room if need be. */
static int ours_keep_no_room(const struct golden_model *model, const int *ours, const int *theirs,
                             const struct policy_memory *memory)
{
    int *places = malloc((model->count + 1) * sizeof(*places)), no_room;
    size_t i;

    for (i = 0; i < model->count; i++)
        places[i] = theirs[i] == POLICY_NOWHERE ? POLICY_NOWHERE : ours[i];
    no_room = keeps_no_room(model, places, memory);
    free(places);
    return no_room;
}

static void compare(const struct golden_model *model, const int *ours, const int *theirs,
                    const struct policy_memory *memory, const char *name, int index,
                    struct score *score)
{
    uint64_t our_bits[2], their_bits[2];
    size_t i;

    score->runs++;
    for (i = 0; i < model->count; i++) {
        if (theirs[i] != POLICY_NOWHERE && ours[i] != theirs[i])
            break;
    }
    if (i == model->count) {
        score->same++;
        return;
    }
    sum_tiers(model, ours, ours, our_bits);
    sum_tiers(model, theirs, ours, their_bits);
    if ((our_bits[0] >= their_bits[0] && our_bits[1] >= their_bits[1]) ||
        exceeds_a_limit(model, theirs, memory) || breaks_a_tie(model, theirs) ||
        divides_a_module(model, theirs) ||
        (keeps_no_room(model, theirs, memory) && !ours_keep_no_room(model, ours, theirs, memory)))
        score->no_worse++;
    else
        print_message("%s run %d: %s is at %d, with accelerate at %d; bytes on GPUs %llu and "
                      "%llu, with cpu %llu and %llu\n",
                      name, index, model->tensors[i].name, ours[i], theirs[i],
                      (unsigned long long)our_bits[0] / 8, (unsigned long long)their_bits[0] / 8,
                      (unsigned long long)our_bits[1] / 8, (unsigned long long)their_bits[1] / 8);
}

static void compare_memory(const struct plan *plan, const cJSON *balanced, struct score *score)
{
    struct policy_memory want;

    golden_read_memory(balanced, &want);
    score->memory_runs++;
    score->memory_same += memcmp(&want, &plan->limit, sizeof(want)) == 0;
}

static int flag(const cJSON *args, const char *name, unsigned value)
{
    return cJSON_IsTrue(cJSON_GetObjectItem(args, name)) ? (int)value : 0;
}

static void run_one(const cJSON *golden, const cJSON *run, int index, struct score *score)
{
    const cJSON *args = cJSON_GetObjectItem(run, "args"), *dtype, *strategy, *map, *balanced;
    struct plan_options options = {.strategy = PLAN_SEQUENTIAL};
    struct golden_model model;
    struct policy_map ours = {0};
    struct input_error error;
    struct plan *plan;
    int *our_places, *their_places;

    args = args ? args : run;
    dtype = cJSON_GetObjectItem(args, "dtype");
    strategy = cJSON_GetObjectItem(run, "strategy");
    map = cJSON_GetObjectItem(run, "device_map");
    balanced = cJSON_GetObjectItem(run, "balanced_memory");
    model = golden_read(golden, dtype ? golden_dtype(dtype->valuestring) : DTYPE_COUNT);
    golden_read_memory(cJSON_GetObjectItem(args, "max_memory"), &options.max_memory);
    options.flags =
        (unsigned)(flag(args, "offload_buffers", PLAN_OFFLOAD_BUFFERS) |
                   flag(args, "fallback_allocation", PLAN_FALLBACK) |
                   (cJSON_IsFalse(cJSON_GetObjectItem(args, "clean_result")) ? (int)PLAN_ALL_ENTRIES
                                                                             : 0));
    if (strategy)
        assert_int_equal(plan_strategy_parse(strategy->valuestring, &options.strategy, &error), 0);
    assert_int_equal(plan_create(&model.plan, &options, &plan, &error), 0);
    assert_int_equal(plan_to_map(plan, model.tree, &ours), 0);
    our_places = resolve_all(&model, &ours);
    check_valid(&model, plan, our_places, &plan->limit);
    if (balanced)
        compare_memory(plan, balanced, score);
    if (map) {
        their_places = golden_places(&model, map);
        compare(&model, our_places, their_places, &options.max_memory,
                cJSON_GetObjectItem(golden, "case")->valuestring, index, score);
        free(their_places);
    } else {
        score->errors++;
    }
    free(our_places);
    free_map(&ours);
    plan_free(plan);
    golden_free(&model);
}

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    size_t bytes = 0, room = 1 << 20;
    char *text = malloc(room);

    if (!file)
        fail_msg("cannot open %s", path);
    for (;;) {
        size_t got = fread(text + bytes, 1, room - bytes - 1, file);

        bytes += got;
        if (got == 0)
            break;
        if (room - bytes < 2)
            text = realloc(text, room *= 2);
    }
    fclose(file);
    text[bytes] = '\0';
    return text;
}

static void run_file(char *text, struct score *score)
{
    char *line, *rest;

    for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        cJSON *golden = cJSON_Parse(line);
        const cJSON *run;
        int index = 0;

        assert_non_null(golden);
        cJSON_ArrayForEach(run, cJSON_GetObjectItem(golden, "runs"))
            run_one(golden, run, index++, score);
        cJSON_Delete(golden);
    }
    free(text);
}

static void maps_of_accelerate(void **state)
{
    struct score score = {0};
    size_t i;

    (void)state;
    if (g_file_count == 0) {
        run_file(data_read("maps.jsonl", NULL), &score);
        run_file(data_read("balanced.jsonl", NULL), &score);
        assert_int_equal(score.runs + score.errors, 1184);
    }
    for (i = 0; i < g_file_count; i++)
        run_file(read_file(g_files[i]), &score);
    print_message("maps: %u/%u same, %u/%u no worse; %u where accelerate has an exception\n",
                  score.same, score.runs, score.no_worse, score.runs, score.errors);
    print_message("balanced memory: %u/%u same\n", score.memory_same, score.memory_runs);
    assert_true(score.same * 100 >= score.runs * 95);
    assert_int_equal(score.same + score.no_worse, score.runs);
    assert_true(score.memory_same * 100 >= score.memory_runs * 95);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_of_accelerate),
    };

    g_files = (const char *const *)argv + 1;
    g_file_count = argc > 1 ? (size_t)argc - 1 : 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
