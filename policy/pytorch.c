#include "pytorch.h"
#include "pytorch_globals.h"
#include "pytorch_state.h"
#include "zip.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER_BYTES_MAX 255u /* of the archive's <name>/, with the slash */

/* One archive on its way into a builder. */
struct archive {
    const struct byte_source *source;
    struct zip *zip;
    const char *folder; /* "<name>/", not terminated */
    size_t folder_bytes;
    uint32_t *storages; /* by member: the builder's number, 0 for what has none as yet */
    struct input_error *error;
};

/* What may follow <name>/ in the first member of an archive: PyTorch writes data.pkl first, but who
 * packs its files anew need not. */
static bool is_first_member(const char *name, size_t bytes)
{
    static const char *const names[] = {
        "data.pkl",           "data/", "byteorder", ".format_version", "version", ".data/",
        ".storage_alignment", "code/", "extra/",    "constants.pkl"};
    size_t i;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t known = strlen(names[i]);

        if (known <= bytes && memcmp(names[i], name, known) == 0 &&
            (known == bytes || names[i][known - 1] == '/'))
            return true;
    }
    return false;
}

bool pytorch_identify(const void *head, size_t head_bytes, uint64_t file_bytes)
{
    const unsigned char *at = head;
    const char *name = (const char *)head + 30, *slash;
    size_t name_bytes;

    if (head_bytes < 30 || file_bytes < head_bytes || memcmp(at, "PK\003\004", 4) != 0)
        return false;
    name_bytes = at[26] | (size_t)at[27] << 8;
    if (name_bytes > head_bytes - 30)
        return false;
    slash = memchr(name, '/', name_bytes);
    return slash && is_first_member(slash + 1, (size_t)(name + name_bytes - slash - 1));
}

/* Find a member of the archive's folder.
 *
 * name     without the folder; bytes of it, at most PYTORCH_KEY_BYTES_MAX + 5
 */
static size_t find_member(const struct archive *a, const char *name, size_t bytes)
{
    char path[FOLDER_BYTES_MAX + PYTORCH_KEY_BYTES_MAX + 5];

    memcpy(path, a->folder, a->folder_bytes);
    memcpy(path + a->folder_bytes, name, bytes);
    return zip_find(a->zip, path, a->folder_bytes + bytes);
}

/* Find the one folder with a data.pkl.
 *
 * pickle   gets that member
 */
static int find_folder(struct archive *a, const struct zip_member **pickle)
{
    static const char suffix[] = "/data.pkl";
    const size_t suffix_bytes = sizeof(suffix) - 1;
    size_t i;

    *pickle = NULL;
    for (i = 0; i < a->zip->member_count; i++) {
        const struct zip_member *m = &a->zip->members[i];
        size_t folder_bytes = m->name_bytes < suffix_bytes ? 0 : m->name_bytes - suffix_bytes;

        if (folder_bytes == 0 || folder_bytes >= FOLDER_BYTES_MAX ||
            memcmp(m->name + folder_bytes, suffix, suffix_bytes) != 0 ||
            memchr(m->name, '/', folder_bytes))
            continue;
        if (*pickle) {
            input_error_set_field(a->error, m->name, m->name_bytes);
            return input_error_set(a->error, -EINVAL, m->header, "one <name>/data.pkl",
                                   "a second one");
        }
        *pickle = m;
        a->folder = m->name;
        a->folder_bytes = folder_bytes + 1;
    }
    if (!*pickle)
        return input_error_set(a->error, -EINVAL, INPUT_ERROR_NO_OFFSET,
                               "a PyTorch archive with a member <name>/data.pkl",
                               "none among %zu members", a->zip->member_count);
    return 0;
}

/* Check that the file is of the kind that is read here: its byte order, no TorchScript. */
static int check_kind(const struct archive *a)
{
    size_t index = find_member(a, "constants.pkl", 13);
    const struct zip_member *m;
    char order[6];
    int res;

    if (index != ZIP_NONE)
        return input_error_set(a->error, -EINVAL, a->zip->members[index].header,
                               "a state dict, as torch.save() writes it",
                               "a TorchScript program, as torch.jit.save() writes it");
    index = find_member(a, "byteorder", 9);
    if (index == ZIP_NONE)
        return 0;
    m = &a->zip->members[index];
    res = zip_check_stored(m, a->error);
    if (res)
        return res;
    input_error_set_field(a->error, m->name, m->name_bytes);
    if (m->bytes != 3 && m->bytes != sizeof(order))
        return input_error_set(a->error, -EINVAL, m->offset, "the byte order \"little\"",
                               "%" PRIu64 " bytes", m->bytes);
    res = byte_source_read(a->source, order, m->bytes, m->offset, a->error);
    if (res)
        return res;
    if (m->bytes != sizeof(order) || memcmp(order, "little", sizeof(order)) != 0)
        return input_error_set(a->error, -EINVAL, m->offset, "the byte order \"little\"",
                               "\"%.*s\"", (int)m->bytes, order);
    a->error->field[0] = '\0';
    return 0;
}

static int find_storage(struct pytorch_state *state, const struct pytorch_storage_id *id,
                        uint64_t at, struct pytorch_place *place)
{
    struct archive *a = state->storages;
    char name[5 + PYTORCH_KEY_BYTES_MAX] = "data/";
    const struct zip_member *m;
    size_t index;
    int res;

    memcpy(name + 5, id->key, id->key_bytes);
    index = find_member(a, name, 5 + id->key_bytes);
    if (index == ZIP_NONE)
        return input_error_set(a->error, -EINVAL, at, "a storage that is a member of the archive",
                               "no member \"%.*s%.*s\"", (int)a->folder_bytes, a->folder,
                               (int)(5 + id->key_bytes), name);
    m = &a->zip->members[index];
    res = zip_check_stored(m, a->error);
    if (res)
        return res;
    if (id->bytes > m->bytes)
        return input_error_set(a->error, -EINVAL, at, "a storage inside its member",
                               "%" PRIu64 " bytes in a member of %" PRIu64, id->bytes, m->bytes);
    if (a->storages[index] == 0)
        a->storages[index] = checkpoint_builder_add_storage(state->builder);
    place->offset = m->offset;
    place->bytes = m->bytes;
    place->storage = a->storages[index];
    return 0;
}

/* Read the pickle, which is in memory, and add what it says. */
static int read_state(struct archive *a, const char *text, const struct zip_member *member,
                      struct checkpoint_builder *builder, size_t file)
{
    struct pytorch_state state = {.pickle_offset = member->offset,
                                  .builder = builder,
                                  .file = file,
                                  .error = a->error,
                                  .find = find_storage,
                                  .storages = a};
    struct pickle *pickle = NULL;
    int res = pickle_read(text, member->bytes, member->offset, g_pytorch_globals,
                          g_pytorch_global_count, &pickle, a->error);

    if (res)
        return res == -ENODATA ? -EINVAL : res;
    state.pickle = pickle;
    res = pytorch_add_tensors(&state);
    pickle_free(pickle);
    return res;
}

static int read_archive(struct archive *a, struct checkpoint_builder *builder, size_t file)
{
    const struct zip_member *member = NULL;
    char *text;
    int res = find_folder(a, &member);

    if (res == 0)
        res = check_kind(a);
    if (res == 0)
        res = zip_check_stored(member, a->error);
    if (res)
        return res;
    if (member->bytes > PICKLE_BYTES_MAX)
        return input_error_set(a->error, -EINVAL, member->header,
                               "a data.pkl of at most 67108864 bytes", "%" PRIu64, member->bytes);
    text = malloc(member->bytes + 1);
    a->storages = calloc(a->zip->member_count, sizeof(*a->storages));
    if (!text || !a->storages)
        res = input_error_set(a->error, -ENOMEM, member->header, "memory for the pickle", "none");
    if (res == 0)
        res = byte_source_read(a->source, text, member->bytes, member->offset, a->error);
    if (res == 0)
        res = read_state(a, text, member, builder, file);
    free(text);
    free(a->storages);
    return res;
}

int pytorch_read_source(const struct byte_source *source, struct checkpoint_builder *builder,
                        size_t file, struct input_error *error)
{
    struct archive a = {.source = source, .error = error};
    int res = zip_open(source, &a.zip, error);

    if (res)
        return res;
    res = read_archive(&a, builder, file);
    zip_close(a.zip);
    return res;
}

int pytorch_read(int fd, uint64_t file_bytes, struct checkpoint_builder *builder, size_t file,
                 struct input_error *error)
{
    const struct byte_source source = {.fd = fd, .bytes = file_bytes};

    return pytorch_read_source(&source, builder, file, error);
}
