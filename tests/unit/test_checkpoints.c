/* Strategy: the user names a folder, in which an index that is a link names two shards that are
 * links as well, as in a cache; after a look around both shards are known by their real paths,
 * although this process has neither open. */
#include "checkpoints.h"
#include "data.h"
#include "tests/unit/checkpoint_file.h"
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char g_folder[] = "/tmp/berth-checkpoints-XXXXXX";

static const struct known_file *find(const char *name)
{
    const struct known_file *file = NULL;
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", g_folder, name);
    while ((file = checkpoints_next(file)))
        if (!strcmp(file->path, path))
            break;
    return file;
}

static void a_folder_that_was_named(void **state)
{
    const struct known_file *one, *two;

    (void)state;
    assert_int_equal(checkpoints_count(), 0);
    checkpoints_scan();
    assert_int_equal(checkpoints_count(), 2);
    one = find("blobs/1");
    two = find("blobs/2");
    assert_non_null(one);
    assert_non_null(two);
    assert_int_equal(one->checkpoint->tensor_count, 2);
    assert_int_equal(two->checkpoint->tensor_count, 1);
    assert_true(one->fd >= 0 && two->fd >= 0);
    checkpoints_scan();
    assert_int_equal(checkpoints_count(), 2);
}

static void put_model(void)
{
    static const char index[] = "{\"weight_map\": {\"t0\": \"m-1.safetensors\", \"t1\": "
                                "\"m-1.safetensors\", \"u0\": \"m-2.safetensors\"}}";
    static const uint64_t bytes[] = {100, 200};
    FILE *file;

    mkdir("blobs", 0700);
    mkdir("model", 0700);
    checkpoint_file_write("blobs/1", bytes, 2, NULL);
    checkpoint_file_write_named("blobs/2", 'u', bytes, 1, NULL);
    file = fopen("blobs/3", "w");
    if (!file || fputs(index, file) < 0 || fclose(file) ||
        symlink("../blobs/1", "model/m-1.safetensors") ||
        symlink("../blobs/2", "model/m-2.safetensors") ||
        symlink("../blobs/3", "model/m.safetensors.index.json"))
        abort();
}

static void remove_model(void)
{
    static const char *const paths[] = {"model/m-1.safetensors",
                                        "model/m-2.safetensors",
                                        "model/m.safetensors.index.json",
                                        "blobs/1",
                                        "blobs/2",
                                        "blobs/3",
                                        "blobs",
                                        "model",
                                        g_folder};

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        if (remove(paths[i]))
            abort();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_folder_that_was_named)};
    char path[PATH_MAX];
    int failed;

    if (!mkdtemp(g_folder) || chdir(g_folder))
        abort();
    put_model();
    snprintf(path, sizeof(path), "%s/model", g_folder);
    setenv("BERTH_CHECKPOINT", path, 1);
    failed = cmocka_run_group_tests_name("checkpoints", tests, NULL, NULL);
    remove_model();
    return failed;
}
