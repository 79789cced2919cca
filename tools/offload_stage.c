/* offload_stage.c - a folder or a file that is replaced as a whole, or not at all. */
#include "offload_stage.h"

#include "policy/json.h"
#include "policy/offload_index.h"
#include "policy/read_fully.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define BESIDE_FORMAT ".%s.berth-offload"
#define FOLDER_FLAGS  (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

static int refuse_busy(struct stage *stage)
{
    return copy_fail(stage->error, -EBUSY,
                     "%s: another berth offload is at work on it; wait for that one", stage->shown);
}

/* Where is it? Sets real, name, beside and parent. */
static int find_place(struct stage *stage, const char *path)
{
    char *copy = strdup(path), *parent = NULL;
    const char *last;
    struct stat status;
    int res = 0;

    stage->shown = strdup(path);
    stage->real = realpath(path, NULL);
    if (!copy || !stage->shown)
        res = copy_fail(stage->error, -ENOMEM, "out of memory; close programs");
    else if (!stage->real && (errno != ENOENT || lstat(path, &status) == 0))
        res = copy_fail_system(stage->error, errno, "%s: cannot be found", path);
    if (res == 0 && !stage->real) {
        /* Its last part does not exist yet, but the folder around it must. */
        parent = realpath(dirname(copy), NULL);
        if (!parent)
            res = copy_fail_system(stage->error, errno, "%s: there is no folder around it", path);
        strcpy(copy, path);
        if (res == 0 &&
            asprintf(&stage->real, "%s/%s", strcmp(parent, "/") ? parent : "", basename(copy)) < 0)
            res = copy_fail(stage->error, -ENOMEM, "out of memory; close programs");
    }
    free(parent);
    free(copy);
    if (res)
        return res;

    last = strrchr(stage->real, '/') + 1;
    if (snprintf(stage->name, sizeof(stage->name), "%s", last) > NAME_MAX ||
        snprintf(stage->beside, sizeof(stage->beside), BESIDE_FORMAT, last) > NAME_MAX)
        return copy_fail(stage->error, -ENAMETOOLONG, "%s: the name is too long; choose a shorter",
                         path);
    if (!stage->name[0])
        return copy_fail(stage->error, -EINVAL, "%s: cannot be replaced; name a folder in it",
                         path);
    copy = strndup(stage->real, (size_t)(last - stage->real));
    if (!copy)
        return copy_fail(stage->error, -ENOMEM, "out of memory; close programs");
    stage->parent = open(copy, FOLDER_FLAGS);
    if (stage->parent < 0)
        res = copy_fail_system(stage->error, errno, "%s: cannot be opened", copy);
    free(copy);
    return res;
}

static void begin(struct stage *stage, struct copy_error *error)
{
    memset(stage, 0, sizeof(*stage));
    stage->error = error;
    stage->parent = stage->made = stage->old = -1;
}

/* What lies in a folder
 * ---------------------------------------------------------------------------- */

static int add_name(struct stage *stage, const char *name)
{
    char **larger = stage->old_names;

    if ((stage->old_count & (stage->old_count - 1)) == 0) /* room for the next power of two */
        larger = reallocarray(larger, stage->old_count ? 2 * stage->old_count : 1, sizeof(*larger));
    if (!larger)
        return -ENOMEM;
    stage->old_names = larger;
    larger[stage->old_count] = strdup(name);
    return larger[stage->old_count++] ? 0 : -ENOMEM;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* List a folder by another descriptor, so that this one is not moved.
 *
 * each     is called for every name but . and ..; ends the walk with what is not 0
 */
static int for_each(struct stage *stage, int folder, int (*each)(struct stage *, int, const char *))
{
    int again = openat(folder, ".", FOLDER_FLAGS), res = 0;
    DIR *list = again < 0 ? NULL : fdopendir(again);
    struct dirent *entry;

    if (!list) {
        res = copy_fail_system(stage->error, errno, "%s: cannot be listed", stage->shown);
        if (again >= 0)
            close(again);
        return res;
    }
    while (res == 0 && (errno = 0, entry = readdir(list))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            res = each(stage, folder, entry->d_name);
    }
    if (res == 0 && errno)
        res = copy_fail_system(stage->error, errno, "%s: cannot be listed", stage->shown);
    closedir(list);
    return res;
}

static int list_old(struct stage *stage, int folder, const char *name)
{
    struct stat status;

    if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return copy_fail_system(stage->error, errno, "%s/%s: cannot be looked at", stage->shown,
                                name);
    if (!S_ISREG(status.st_mode))
        return copy_fail(stage->error, -EEXIST,
                         "%s/%s: is no part of an offload folder; move it away, or name another "
                         "folder",
                         stage->shown, name);
    return add_name(stage, name) ? copy_fail(stage->error, -ENOMEM, "out of memory; close programs")
                                 : 0;
}

/* Read the index of the old folder.
 *
 * owner    the caller releases *index
 */
static int read_old_index(struct stage *stage, struct offload_index *index)
{
    struct input_error error;
    char line[INPUT_ERROR_TEXT_BYTES], path[PATH_MAX + NAME_MAX];
    struct stat status;
    char *text = NULL;
    int fd, res = -ENOENT;

    snprintf(path, sizeof(path), "%s/%s", stage->shown, OFFLOAD_INDEX_FILE);
    input_error_clear(&error);
    input_error_set_file(&error, path);
    fd = openat(stage->old, OFFLOAD_INDEX_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &status) < 0)
        read_refuse_system(&error, errno);
    else if (status.st_size <= JSON_BYTES_MAX && (text = malloc((size_t)status.st_size + 1))) {
        res = read_fully(fd, text, (size_t)status.st_size, 0, &error);
        if (res == 0)
            res = offload_index_parse(text, (size_t)status.st_size, index, &error);
    }
    free(text);
    if (fd >= 0)
        close(fd);
    if (res)
        return copy_fail(stage->error, -EEXIST,
                         "%s: is not replaced, for it is no offload folder: %s; name another",
                         stage->shown, input_error_format(&error, line, sizeof(line)));
    return 0;
}

/* Is every file of the old folder one that its index says is there? */
static int check_names(struct stage *stage, const struct offload_index *index)
{
    char **known = calloc(index->count + 1, sizeof(*known));
    size_t count = 0, i;
    int res = known ? 0 : copy_fail(stage->error, -ENOMEM, "out of memory; close programs");

    for (i = 0; i < index->count && res == 0; i++) {
        const struct offload_entry *entry = &index->entries[i];

        if (entry->safetensors_file)
            continue;
        if (asprintf(&known[count], "%s%s", entry->name, OFFLOAD_DATA_SUFFIX) < 0)
            res = copy_fail(stage->error, -ENOMEM, "out of memory; close programs");
        else
            count++;
    }
    if (count)
        qsort(known, count, sizeof(*known), compare_names);
    for (i = 0; i < stage->old_count && res == 0; i++) {
        const char *name = stage->old_names[i];

        if (strcmp(name, OFFLOAD_INDEX_FILE) != 0 && strcmp(name, STAGE_BESIDE) != 0 &&
            !(count && bsearch(&name, known, count, sizeof(*known), compare_names)))
            res = copy_fail(stage->error, -EEXIST,
                            "%s/%s: is not in the folder's index; move it away, or name another "
                            "folder",
                            stage->shown, name);
    }
    while (count)
        free(known[--count]);
    free(known);
    return res;
}

/* Look at what is there: nothing, or an offload folder. */
static int check_old_folder(struct stage *stage)
{
    struct offload_index index;
    int res;

    stage->old = openat(stage->parent, stage->name, FOLDER_FLAGS);
    if (stage->old < 0 && errno == ENOENT)
        return 0;
    if (stage->old < 0 && errno == ENOTDIR)
        return copy_fail(stage->error, -ENOTDIR, "%s: is a file; name a folder", stage->shown);
    if (stage->old < 0)
        return copy_fail_system(stage->error, errno, "%s: cannot be opened", stage->shown);
    if (flock(stage->old, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK
                   ? refuse_busy(stage)
                   : copy_fail_system(stage->error, errno, "%s: cannot be locked", stage->shown);
    res = for_each(stage, stage->old, list_old);
    if (res || stage->old_count == 0)
        return res;
    res = read_old_index(stage, &index);
    if (res)
        return res;
    res = check_names(stage, &index);
    offload_index_release(&index);
    return res;
}

/* What is made
 * ------------------------------------------------------------------------------------- */

/* Lock what is open under the name beside.
 *
 * returns  0; 1 where it has been put elsewhere meanwhile: it is another's; -errno
 */
static int lock_made(struct stage *stage)
{
    struct stat open, named;

    if (flock(stage->made, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK
                   ? refuse_busy(stage)
                   : copy_fail_system(stage->error, errno, "%s: cannot be locked", stage->beside);
    if (fstat(stage->made, &open) < 0)
        return copy_fail_system(stage->error, errno, "%s: cannot be looked at", stage->beside);
    return fstatat(stage->parent, stage->beside, &named, AT_SYMLINK_NOFOLLOW) < 0 ||
           named.st_dev != open.st_dev || named.st_ino != open.st_ino;
}

/* Make and lock the folder or the file beside; what a killed run left there is used again. */
static int make(struct stage *stage, int folder)
{
    int res;

    do {
        if (folder && mkdirat(stage->parent, stage->beside, 0777) < 0 && errno != EEXIST)
            return copy_fail_system(stage->error, errno, "%s: no folder can be made beside it",
                                    stage->shown);
        if (stage->made >= 0)
            close(stage->made);
        stage->made =
            openat(stage->parent, stage->beside,
                   folder ? FOLDER_FLAGS : O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (stage->made < 0 && errno != ENOENT)
            return copy_fail_system(stage->error, errno, "%s: cannot be made", stage->beside);
        res = stage->made < 0 ? 1 : lock_made(stage);
    } while (res == 1);
    return res;
}

/* Remove a file that a killed run left: new ones, or those of a folder that it replaced. */
static int remove_left(struct stage *stage, int folder, const char *name)
{
    const char *dot = strrchr(name, '.');

    if (strcmp(name, OFFLOAD_INDEX_FILE) != 0 && strcmp(name, STAGE_BESIDE) != 0 &&
        !(dot && strcmp(dot, OFFLOAD_DATA_SUFFIX) == 0))
        return copy_fail(stage->error, -EEXIST,
                         "%s/%s: was put there by nobody of us; move it away", stage->beside, name);
    if (unlinkat(folder, name, 0) < 0)
        return copy_fail_system(stage->error, errno, "%s/%s: is left and cannot be removed",
                                stage->beside, name);
    return 0;
}

int stage_begin_folder(struct stage *stage, const char *path, struct copy_error *error)
{
    int res;

    begin(stage, error);
    res = find_place(stage, path);
    if (res == 0)
        res = check_old_folder(stage);
    if (res == 0)
        res = make(stage, 1);
    if (res == 0)
        res = for_each(stage, stage->made, remove_left);
    stage->owned = res == 0;
    return res;
}

static int check_old_file(struct stage *stage)
{
    char head[CHECKPOINT_HEAD_BYTES];
    struct stat status;
    ssize_t bytes;

    stage->old = openat(stage->parent, stage->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (stage->old < 0 && errno == ENOENT)
        return 0;
    if (stage->old < 0 || fstat(stage->old, &status) < 0)
        return copy_fail_system(stage->error, errno, "%s: cannot be looked at", stage->shown);
    bytes = S_ISREG(status.st_mode) ? pread(stage->old, head, sizeof(head), 0) : -1;
    if (bytes == 0 ||
        (bytes > 0 && checkpoint_identify(head, (size_t)bytes, (uint64_t)status.st_size) ==
                          CHECKPOINT_SAFETENSORS))
        return 0;
    return copy_fail(stage->error, -EEXIST,
                     "%s: is not replaced, for it is no safetensors file; name another",
                     stage->shown);
}

int stage_begin_file(struct stage *stage, const char *path, struct copy_error *error)
{
    int res;

    begin(stage, error);
    res = find_place(stage, path);
    if (res == 0)
        res = check_old_file(stage);
    if (res == 0)
        res = make(stage, 0);
    stage->owned = res == 0;
    if (res == 0 && ftruncate(stage->made, 0) < 0)
        res = copy_fail_system(error, errno, "%s: cannot be emptied", stage->beside);
    return res;
}

/* The change
 * --------------------------------------------------------------------------------------- */

/* Flush what was made, with the mode of what it replaces. */
static int complete(struct stage *stage)
{
    struct stat status;

    if (stage->old >= 0 &&
        (fstat(stage->old, &status) < 0 || fchmod(stage->made, status.st_mode & 07777) < 0))
        return copy_fail_system(stage->error, errno, "%s: cannot get the mode of the old one",
                                stage->beside);
    if (fsync(stage->made) < 0)
        return copy_fail_system(stage->error, errno, "%s: cannot be flushed", stage->beside);
    return 0;
}

static int flush_parent(struct stage *stage)
{
    if (fsync(stage->parent) < 0)
        return copy_fail_system(stage->error, errno,
                                "%s: is new, but may be the old one again after a power failure",
                                stage->shown);
    return 0;
}

/* Remove the old folder, which has the name beside now. What somebody put into it since it was
 * looked at stays, and so does the folder.
 */
static int remove_old(struct stage *stage)
{
    size_t i;
    int left = 0;

    for (i = 0; i < stage->old_count; i++)
        left |= unlinkat(stage->old, stage->old_names[i], 0) < 0;
    left |= unlinkat(stage->parent, stage->beside, AT_REMOVEDIR) < 0;
    return left;
}

int stage_commit_folder(struct stage *stage, int *left)
{
    int exchange = stage->old_count > 0, res = complete(stage);

    if (res)
        return res;
    if (renameat2(stage->parent, stage->beside, stage->parent, stage->name,
                  exchange ? RENAME_EXCHANGE : 0) < 0) {
        if (exchange && (errno == EINVAL || errno == ENOSYS))
            return copy_fail(stage->error, -errno,
                             "%s: its file system cannot exchange two folders, so a folder that "
                             "is there cannot be replaced safely; remove it first",
                             stage->shown);
        return copy_fail_system(stage->error, errno, "%s: cannot be put in its place",
                                stage->shown);
    }
    stage->owned = 0;
    res = flush_parent(stage);
    *left = res == 0 && exchange && remove_old(stage);
    return res;
}

int stage_commit_file(struct stage *stage)
{
    int res = complete(stage);

    if (res)
        return res;
    if (renameat(stage->parent, stage->beside, stage->parent, stage->name) < 0)
        return copy_fail_system(stage->error, errno, "%s: cannot be put in its place",
                                stage->shown);
    stage->owned = 0;
    return flush_parent(stage);
}

/* Remove what is in the new folder, all of which is ours. */
static int remove_made(struct stage *stage, int folder, const char *name)
{
    (void)stage;
    unlinkat(folder, name, 0);
    return 0;
}

static void abandon(struct stage *stage)
{
    struct copy_error ignored, *error = stage->error;
    struct stat status;

    stage->error = &ignored;
    if (fstat(stage->made, &status) == 0 && S_ISDIR(status.st_mode)) {
        for_each(stage, stage->made, remove_made);
        unlinkat(stage->parent, stage->beside, AT_REMOVEDIR);
    } else {
        unlinkat(stage->parent, stage->beside, 0);
    }
    stage->error = error;
}

void stage_end(struct stage *stage)
{
    if (stage->owned)
        abandon(stage);
    if (stage->made >= 0)
        close(stage->made);
    if (stage->old >= 0)
        close(stage->old);
    if (stage->parent >= 0)
        close(stage->parent);
    while (stage->old_count)
        free(stage->old_names[--stage->old_count]);
    free(stage->old_names);
    free(stage->real);
    free(stage->shown);
}
