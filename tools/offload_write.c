/* offload_write.c - what goes into an offload folder, and into a file that is made of one. */
#include "offload_write.h"

#include "policy/json_write.h"
#include "policy/offload_index.h"
#include "policy/safetensors_write.h"
#include "policy/utf8.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum place {
    PLACE_DATA,    /* <name>.dat */
    PLACE_BESIDE,  /* STAGE_BESIDE */
    PLACE_POINTER, /* where it is already */
};

struct writer {
    struct copy *copy;
    const struct stage *stage;
    unsigned char *places; /* enum place of each tensor */
    char **pointed;        /* of each file of the checkpoint: its path where it is pointed into */

    /* The tensors of STAGE_BESIDE, or of the file that is made. */
    const struct tensor **beside;
    size_t beside_count;
    struct safetensors_layout layout;
    int beside_file;
};

static int fail_memory(struct copy *copy)
{
    return copy_fail(copy->error, -ENOMEM, "out of memory; close programs");
}

/* Plans ------------------------------------------------------------------------------------------
 */

static int has_safetensors_type(const struct tensor *tensor)
{
    enum dtype ignored;

    return dtype_find(dtype_name((enum dtype)tensor->dtype), DTYPE_IN_SAFETENSORS, &ignored) == 0;
}

/* A path is written as JSON, and read back by others from wherever they stand. */
static int is_utf8(const char *text)
{
    size_t left = strlen(text);
    uint32_t code;

    while (left) {
        size_t taken = utf8_decode((const unsigned char *)text, left, &code);

        if (taken == 0)
            return 0;
        text += taken;
        left -= taken;
    }
    return 1;
}

/* Is a path inside a folder? Both are absolute, without links. */
static int is_inside(const char *path, const char *folder)
{
    size_t bytes = strlen(folder);

    return strncmp(path, folder, bytes) == 0 && path[bytes] == '/';
}

/* Find where a file is that is to be pointed into. */
static int point_into(struct writer *w, size_t file)
{
    const struct checkpoint *checkpoint = w->copy->checkpoint;
    const char *path = checkpoint->files[file].path;

    if (w->pointed[file])
        return 0;
    w->pointed[file] = realpath(path, NULL);
    if (!w->pointed[file])
        return copy_fail_system(w->copy->error, errno, "%s: cannot be found", path);
    if (!is_utf8(w->pointed[file]))
        return copy_fail(w->copy->error, -EINVAL,
                         "%s: the path is not UTF-8, so no index can name it; leave --pointers out",
                         path);
    if (is_inside(w->pointed[file], w->stage->real))
        return copy_fail(w->copy->error, -EINVAL,
                         "%s: lies in the folder that is to be replaced; name another folder",
                         path);
    return 0;
}

/* Can accelerate read a tensor from <name>.dat? It can what numpy has a type for, but for a uint64
 * without dimensions, which 1.15.0 fails to make a tensor of.
 */
static int fits_data(const struct tensor *tensor)
{
    return offload_dtype_name((enum dtype)tensor->dtype, OFFLOAD_IN_DATA) &&
           offload_name_is_plain(tensor->name) &&
           !(tensor->dtype == DTYPE_U64 && tensor->rank == 0);
}

static int plan_tensor(struct writer *w, size_t index, enum offload_means means)
{
    const struct tensor *tensor = &w->copy->checkpoint->tensors[index];
    enum place place = PLACE_BESIDE;

    if (means == OFFLOAD_POINTERS)
        place = PLACE_POINTER;
    else if (fits_data(tensor))
        place = PLACE_DATA;
    w->places[index] = (unsigned char)place;
    if (place == PLACE_POINTER)
        return point_into(w, tensor->file);
    if (place == PLACE_BESIDE) {
        if (!has_safetensors_type(tensor))
            return copy_fail(w->copy->error, -EINVAL,
                             "%s: has type %s, which no offload folder can hold; keep the "
                             "checkpoint as it is",
                             tensor->name, dtype_name((enum dtype)tensor->dtype));
        w->beside[w->beside_count++] = tensor;
    }
    return 0;
}

/* Say for every tensor where it goes, and lay out the safetensors file. */
static int plan(struct writer *w, enum offload_means means, struct offload_result *result)
{
    const struct checkpoint *checkpoint = w->copy->checkpoint;
    int res = 0;

    if (means == OFFLOAD_POINTERS && checkpoint->format != CHECKPOINT_SAFETENSORS)
        return copy_fail(w->copy->error, -EINVAL,
                         "--pointers is for safetensors checkpoints, and this is %s; leave it out",
                         checkpoint_format_name(checkpoint->format));
    for (size_t i = 0; i < checkpoint->tensor_count && res == 0; i++) {
        uint64_t bytes = tensor_dense_bytes(&checkpoint->tensors[i]);

        res = plan_tensor(w, i, means);
        result->bytes += bytes;
        *(w->places[i] == PLACE_POINTER ? &result->pointed_bytes : &result->copied_bytes) += bytes;
    }
    w->copy->total_bytes = result->copied_bytes;
    if (res == 0 && w->beside_count)
        res = safetensors_layout_make(w->beside, w->beside_count, &w->layout)
                  ? copy_fail(w->copy->error, -EFBIG, "%s: the header would be too long",
                              w->stage->shown)
                  : 0;
    return res;
}

static int begin(struct writer *w, struct copy *copy, const struct stage *stage)
{
    const struct checkpoint *checkpoint = copy->checkpoint;

    memset(w, 0, sizeof(*w));
    w->copy = copy;
    w->stage = stage;
    w->beside_file = -1;
    w->places = calloc(checkpoint->tensor_count + 1, sizeof(*w->places));
    w->pointed = calloc(checkpoint->file_count + 1, sizeof(*w->pointed));
    w->beside = calloc(checkpoint->tensor_count + 1, sizeof(*w->beside));
    return w->places && w->pointed && w->beside ? 0 : fail_memory(copy);
}

static void end(struct writer *w)
{
    for (size_t i = 0; w->pointed && i < w->copy->checkpoint->file_count; i++)
        free(w->pointed[i]);
    if (w->beside_file >= 0)
        close(w->beside_file);
    safetensors_layout_release(&w->layout);
    free(w->places);
    free(w->pointed);
    free(w->beside);
}

/* Bytes ------------------------------------------------------------------------------------------
 */

static int create(struct writer *w, const char *name)
{
    int file = openat(w->stage->made, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

    if (file < 0)
        copy_fail_system(w->copy->error, errno, "%s: %s cannot be made", w->stage->shown, name);
    return file;
}

/* Write <name>.dat. That of a tensor without elements gets one byte, for an empty file cannot be
 * mapped by who reads it: accelerate writes the same.
 */
static int write_data(struct writer *w, const struct tensor *tensor)
{
    char name[NAME_MAX + 1];
    int file, res;

    snprintf(name, sizeof(name), "%s%s", tensor->name, OFFLOAD_DATA_SUFFIX);
    file = create(w, name);
    if (file < 0)
        return -EIO;
    res = copy_reserve(w->copy, file, tensor_dense_bytes(tensor), name);
    if (res == 0)
        res = tensor->bytes ? copy_tensor(w->copy, tensor, file, 0, name)
                            : copy_write(w->copy, file, 0, "", 1, name);
    if (res == 0)
        copy_finish_file(w->copy, file);
    else
        close(file);
    return res;
}

static int write_beside(struct writer *w, const struct tensor *tensor)
{
    size_t i = 0;

    /* They were listed in the order of the tensors, which are in one array. */
    for (size_t first = 0, last = w->beside_count; first < last;) {
        i = first + (last - first) / 2;
        if (w->beside[i] == tensor)
            break;
        if (w->beside[i] < tensor)
            first = i + 1;
        else
            last = i;
    }
    return copy_tensor(w->copy, tensor, w->beside_file, w->layout.offsets[i], STAGE_BESIDE);
}

static int write_tensor(struct writer *w, size_t index)
{
    const struct tensor *tensor = &w->copy->checkpoint->tensors[index];

    switch ((enum place)w->places[index]) {
    case PLACE_DATA:
        return write_data(w, tensor);
    case PLACE_BESIDE:
        return tensor->bytes ? write_beside(w, tensor) : 0;
    case PLACE_POINTER:
        break;
    }
    return 0;
}

/* Write all bytes, each source from its start to its end. */
static int write_tensors(struct writer *w)
{
    const struct checkpoint *checkpoint = w->copy->checkpoint;
    size_t index, rank;
    int res = 0;

    if (w->beside_file >= 0)
        res = copy_reserve(w->copy, w->beside_file, w->layout.file_bytes, STAGE_BESIDE);
    if (w->beside_file >= 0 && res == 0)
        res = copy_write(w->copy, w->beside_file, 0, w->layout.header, w->layout.header_bytes,
                         STAGE_BESIDE);
    for (rank = 0; res == 0; rank++) {
        index = checkpoint_by_location(checkpoint, rank);
        if (index == CHECKPOINT_NONE)
            break;
        res = write_tensor(w, index);
    }
    for (index = 0; index < checkpoint->tensor_count && res == 0; index++) {
        if (checkpoint->tensors[index].bytes == 0)
            res = write_tensor(w, index);
    }
    return res;
}

/* The index --------------------------------------------------------------------------------------
 */

static void write_pointer(const char *path, const struct tensor *tensor, FILE *out)
{
    const char *dtype = offload_dtype_name((enum dtype)tensor->dtype, OFFLOAD_IN_SAFETENSORS);

    fputs("{\"safetensors_file\": ", out);
    json_write_string(out, path, strlen(path));
    fputs(", \"weight_name\": ", out);
    json_write_string(out, tensor->name, tensor->name_bytes);
    if (dtype)
        fprintf(out, ", \"dtype\": \"%s\"", dtype);
    fputc('}', out);
}

static void write_entry(const struct writer *w, size_t index, const char *beside, FILE *out)
{
    const struct tensor *tensor = &w->copy->checkpoint->tensors[index];

    json_write_string(out, tensor->name, tensor->name_bytes);
    fputs(": ", out);
    switch ((enum place)w->places[index]) {
    case PLACE_DATA:
        fprintf(out, "{\"dtype\": \"%s\", \"shape\": ",
                offload_dtype_name((enum dtype)tensor->dtype, OFFLOAD_IN_DATA));
        json_write_shape(out, tensor->shape, tensor->rank);
        fputc('}', out);
        break;
    case PLACE_BESIDE:
        write_pointer(beside, tensor, out);
        break;
    case PLACE_POINTER:
        write_pointer(w->pointed[tensor->file], tensor, out);
        break;
    }
}

/* Make the text of the index.
 *
 * owner    the caller frees *text
 */
static int make_index(const struct writer *w, char **text, size_t *bytes)
{
    char *beside = NULL;
    FILE *out = NULL;
    int failed = asprintf(&beside, "%s/%s", w->stage->real, STAGE_BESIDE) < 0;

    if (!failed)
        out = open_memstream(text, bytes);
    failed |= !out;
    if (!failed) {
        fputc('{', out);
        for (size_t i = 0; i < w->copy->checkpoint->tensor_count; i++) {
            fputs(i ? ",\n " : "", out);
            write_entry(w, i, beside, out);
        }
        fputs("}\n", out);
        failed = ferror(out);
        failed |= fclose(out) != 0;
    }
    free(beside);
    return failed ? fail_memory(w->copy) : 0;
}

static int write_index(struct writer *w)
{
    char *text = NULL;
    size_t bytes;
    int file, res = make_index(w, &text, &bytes);

    file = res ? -1 : create(w, OFFLOAD_INDEX_FILE);
    if (res == 0 && file < 0)
        res = -EIO;
    if (res == 0)
        res = copy_write(w->copy, file, 0, text, bytes, OFFLOAD_INDEX_FILE);
    free(text);
    if (res == 0)
        copy_finish_file(w->copy, file);
    else if (file >= 0)
        close(file);
    return res;
}

int offload_write_folder(struct copy *copy, const struct stage *stage, enum offload_means means,
                         struct offload_result *result)
{
    struct writer w;
    int res = begin(&w, copy, stage);

    memset(result, 0, sizeof(*result));
    if (res == 0)
        res = plan(&w, means, result);
    if (res == 0 && w.beside_count && !is_utf8(stage->real))
        res = copy_fail(copy->error, -EINVAL, "%s: the path is not UTF-8, so no index can name it",
                        stage->shown);
    if (res == 0 && w.beside_count) {
        w.beside_file = create(&w, STAGE_BESIDE);
        res = w.beside_file < 0 ? -EIO : 0;
    }
    if (res == 0)
        res = write_tensors(&w);
    if (res == 0 && w.beside_file >= 0) {
        copy_finish_file(copy, w.beside_file);
        w.beside_file = -1;
    }
    if (res == 0)
        res = write_index(&w);
    if (res == 0)
        res = copy_flush(copy, stage->made);
    end(&w);
    return res;
}

int offload_write_file(struct copy *copy, const struct stage *stage, struct offload_result *result)
{
    const struct checkpoint *checkpoint = copy->checkpoint;
    struct writer w;
    int res = begin(&w, copy, stage);

    memset(result, 0, sizeof(*result));
    for (size_t i = 0; i < checkpoint->tensor_count && res == 0; i++) {
        w.places[i] = PLACE_BESIDE;
        w.beside[w.beside_count++] = &checkpoint->tensors[i];
        result->bytes += tensor_dense_bytes(&checkpoint->tensors[i]);
    }
    copy->total_bytes = result->copied_bytes = result->bytes;
    if (res == 0 && safetensors_layout_make(w.beside, w.beside_count, &w.layout))
        res = copy_fail(copy->error, -EFBIG, "%s: the header would be too long", stage->shown);
    if (res == 0) {
        w.beside_file = dup(stage->made);
        res = w.beside_file < 0 ? copy_fail_system(copy->error, errno, "%s", stage->shown)
                                : write_tensors(&w);
    }
    if (res == 0)
        res = copy_flush(copy, stage->made);
    end(&w);
    return res;
}
