/* zip_file.h - zip archives for tests, member by member, with every header's place told.
 *
 * What is written is right; a test then breaks one field of it.
 */
#ifndef BERTH_TESTS_UNIT_ZIP_FILE_H
#define BERTH_TESTS_UNIT_ZIP_FILE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* How an archive is written, or'ed. */
#define ZIP_FILE_DESCRIPTORS 0x1u /* sizes and CRC behind the bytes, zeros in the local headers */
#define ZIP_FILE_ZIP64       0x2u /* sizes and offsets in ZIP64 fields, and a ZIP64 end record */
#define ZIP_FILE_COMMENT     0x4u /* 5 bytes of it at the end */

struct zip_file_member {
    const char *name;
    const void *data;
    size_t bytes;
};

struct zip_file {
    unsigned char *data; /* bytes long, with nothing behind */
    size_t bytes, room;
    size_t *local, *central; /* where each member's headers are */
    size_t directory, end64, locator, end;
};

static inline void zip_file_put(struct zip_file *z, const void *data, size_t bytes)
{
    while (z->room < z->bytes + bytes) {
        z->room = z->room ? 2 * z->room : 256;
        z->data = realloc(z->data, z->room);
        if (!z->data)
            abort();
    }
    if (bytes)
        memcpy(z->data + z->bytes, data, bytes);
    z->bytes += bytes;
}

static inline void zip_file_set(struct zip_file *z, size_t at, size_t width, uint64_t number)
{
    for (size_t i = 0; i < width; i++)
        z->data[at + i] = (unsigned char)(number >> 8 * i);
}

static inline void zip_file_put_number(struct zip_file *z, size_t width, uint64_t number)
{
    static const char zeros[8];

    zip_file_put(z, zeros, width);
    zip_file_set(z, z->bytes - width, width, number);
}

/* A CRC that nobody compares with the bytes, only the headers' with one another. */
static inline uint32_t zip_file_crc(const struct zip_file_member *m)
{
    return (uint32_t)(m->bytes * 31 + 7);
}

/* What both headers of a member have in common, from "version needed" to the CRC. */
static inline void zip_file_put_common(struct zip_file *z, const struct zip_file_member *m,
                                       unsigned form, uint32_t crc)
{
    (void)m;
    zip_file_put_number(z, 2, form & ZIP_FILE_ZIP64 ? 45 : 20);
    zip_file_put_number(z, 2, form & ZIP_FILE_DESCRIPTORS ? 8 : 0);
    zip_file_put_number(z, 2, 0); /* stored */
    zip_file_put_number(z, 4, 0); /* time and date */
    zip_file_put_number(z, 4, crc);
}

static inline void zip_file_put_local(struct zip_file *z, const struct zip_file_member *m,
                                      unsigned form)
{
    size_t name_bytes = strlen(m->name), shown = form & ZIP_FILE_DESCRIPTORS ? 0 : m->bytes;
    size_t width = form & ZIP_FILE_ZIP64 ? 8 : 4;

    zip_file_put_number(z, 4, 0x04034b50);
    zip_file_put_common(z, m, form, form & ZIP_FILE_DESCRIPTORS ? 0 : zip_file_crc(m));
    zip_file_put_number(z, 4, form & ZIP_FILE_ZIP64 ? UINT32_MAX : shown);
    zip_file_put_number(z, 4, form & ZIP_FILE_ZIP64 ? UINT32_MAX : shown);
    zip_file_put_number(z, 2, name_bytes);
    zip_file_put_number(z, 2, 7 + (form & ZIP_FILE_ZIP64 ? 20 : 0));
    zip_file_put(z, m->name, name_bytes);
    zip_file_put(z, "FB\3\0ZZZ", 7);
    if (form & ZIP_FILE_ZIP64) {
        zip_file_put_number(z, 4, 0x00100001);
        zip_file_put_number(z, 8, shown);
        zip_file_put_number(z, 8, shown);
    }
    zip_file_put(z, m->data, m->bytes);
    if (form & ZIP_FILE_DESCRIPTORS) {
        zip_file_put_number(z, 4, 0x08074b50);
        zip_file_put_number(z, 4, zip_file_crc(m));
        zip_file_put_number(z, width, m->bytes);
        zip_file_put_number(z, width, m->bytes);
    }
}

static inline void zip_file_put_central(struct zip_file *z, const struct zip_file_member *m,
                                        unsigned form, size_t local)
{
    size_t name_bytes = strlen(m->name);
    int zip64 = (form & ZIP_FILE_ZIP64) != 0;

    zip_file_put_number(z, 4, 0x02014b50);
    zip_file_put_number(z, 2, 45);
    zip_file_put_common(z, m, form, zip_file_crc(m));
    zip_file_put_number(z, 4, zip64 ? UINT32_MAX : m->bytes);
    zip_file_put_number(z, 4, zip64 ? UINT32_MAX : m->bytes);
    zip_file_put_number(z, 2, name_bytes);
    zip_file_put_number(z, 2, zip64 ? 28 : 0);
    zip_file_put_number(z, 2, 3); /* a comment */
    zip_file_put_number(z, 8, 0); /* disk, attributes */
    zip_file_put_number(z, 4, zip64 ? UINT32_MAX : local);
    zip_file_put(z, m->name, name_bytes);
    if (zip64) {
        zip_file_put_number(z, 4, 0x00180001);
        zip_file_put_number(z, 8, m->bytes);
        zip_file_put_number(z, 8, m->bytes);
        zip_file_put_number(z, 8, local);
    }
    zip_file_put(z, "c c", 3);
}

static inline void zip_file_put_end(struct zip_file *z, size_t count, unsigned form)
{
    size_t directory_bytes = z->bytes - z->directory;
    int zip64 = (form & ZIP_FILE_ZIP64) != 0;

    z->end64 = z->bytes;
    if (zip64) {
        zip_file_put_number(z, 4, 0x06064b50);
        zip_file_put_number(z, 8, 44);
        zip_file_put_number(z, 4, 0x002d002d);
        zip_file_put_number(z, 8, 0);
        zip_file_put_number(z, 8, count);
        zip_file_put_number(z, 8, count);
        zip_file_put_number(z, 8, directory_bytes);
        zip_file_put_number(z, 8, z->directory);
        z->locator = z->bytes;
        zip_file_put_number(z, 4, 0x07064b50);
        zip_file_put_number(z, 4, 0);
        zip_file_put_number(z, 8, z->end64);
        zip_file_put_number(z, 4, 1);
    }
    z->end = z->bytes;
    zip_file_put_number(z, 4, 0x06054b50);
    zip_file_put_number(z, 4, 0);
    zip_file_put_number(z, 2, zip64 ? UINT16_MAX : count);
    zip_file_put_number(z, 2, zip64 ? UINT16_MAX : count);
    zip_file_put_number(z, 4, zip64 ? UINT32_MAX : directory_bytes);
    zip_file_put_number(z, 4, zip64 ? UINT32_MAX : z->directory);
    zip_file_put_number(z, 2, form & ZIP_FILE_COMMENT ? 5 : 0);
    zip_file_put(z, "hello", form & ZIP_FILE_COMMENT ? 5 : 0);
}

/* Write an archive. The caller ends it with zip_file_free(). */
static inline void zip_file_make(struct zip_file *z, const struct zip_file_member *members,
                                 size_t count, unsigned form)
{
    size_t i;

    memset(z, 0, sizeof(*z));
    z->local = calloc(2 * count + 1, sizeof(*z->local));
    z->central = z->local + count;
    if (!z->local)
        abort();
    for (i = 0; i < count; i++) {
        z->local[i] = z->bytes;
        zip_file_put_local(z, &members[i], form);
    }
    z->directory = z->bytes;
    for (i = 0; i < count; i++) {
        z->central[i] = z->bytes;
        zip_file_put_central(z, &members[i], form, z->local[i]);
    }
    zip_file_put_end(z, count, form);
    z->data = realloc(z->data, z->bytes);
    z->room = z->bytes;
}

static inline void zip_file_free(struct zip_file *z)
{
    free(z->data);
    free(z->local);
}

#endif
