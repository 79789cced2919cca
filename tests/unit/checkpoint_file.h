/* checkpoint_file.h - safetensors files for tests, with as many tensors as one asks for.
 *
 * Tensor i is called "t<i>", or by another letter, and has the type U8; the bytes of all of them
 * are told by their place in the file.
 */
#ifndef BERTH_TEST_CHECKPOINT_FILE_H
#define BERTH_TEST_CHECKPOINT_FILE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Write a file.
 *
 * letter   before the number in the tensors' names
 * bytes    of each of the count tensors
 * offsets  set to where each begins in the file; may be NULL
 * returns  the length of the file
 */
static inline uint64_t checkpoint_file_write_named(const char *path, char letter,
                                                   const uint64_t *bytes, size_t count,
                                                   uint64_t *offsets)
{
    char *header = calloc(1, 128 * (count + 1));
    uint64_t total = 0, header_bytes;
    FILE *file = fopen(path, "wb");

    strcpy(header, "{");
    for (size_t i = 0; i < count; i++) {
        sprintf(header + strlen(header),
                "%s\"%c%zu\":{\"dtype\":\"U8\",\"shape\":[%llu],\"data_offsets\":[%llu,%llu]}",
                i ? "," : "", letter, i, (unsigned long long)bytes[i], (unsigned long long)total,
                (unsigned long long)(total + bytes[i]));
        total += bytes[i];
    }
    strcat(header, "}");
    while (strlen(header) % 8)
        strcat(header, " ");
    header_bytes = strlen(header);
    if (!file || fwrite(&header_bytes, 8, 1, file) != 1 ||
        fwrite(header, header_bytes, 1, file) != 1)
        abort();
    for (uint64_t i = 0; i < total; i++)
        fputc((int)((8 + header_bytes + i) * 31 % 251), file);
    for (size_t i = 0, at = 0; offsets && i < count; at += bytes[i++])
        offsets[i] = 8 + header_bytes + at;
    free(header);
    if (fclose(file))
        abort();
    return 8 + header_bytes + total;
}

static inline uint64_t checkpoint_file_write(const char *path, const uint64_t *bytes, size_t count,
                                             uint64_t *offsets)
{
    return checkpoint_file_write_named(path, 't', bytes, count, offsets);
}

#endif
