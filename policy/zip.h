/* zip.h - the members of a zip archive: names and places, so that they can be mapped where they
 * are.
 *
 *     local header | bytes | ... | central directory | [ZIP64 end | its locator] | end
 *
 * The central directory is believed after it was checked against the local headers and the file:
 * every member lies before the directory, no two share a byte or a name, and both headers say the
 * same. Nothing is ever decompressed, and the members' bytes are not read, so that their CRCs
 * are not compared either.
 */
#ifndef BERTH_POLICY_ZIP_H
#define BERTH_POLICY_ZIP_H

#include "byte_source.h"
#include <stdbool.h>

#define ZIP_DIRECTORY_BYTES_MAX 100000000u /* of a central directory: about a million members */
#define ZIP_NONE                SIZE_MAX

struct zip_member {
    const char *name;    /* in the archive's memory; not terminated, anything may be in it */
    uint64_t offset;     /* of its bytes, from the start of the file */
    uint64_t bytes;      /* once decompressed */
    uint64_t file_bytes; /* as it lies in the file: equal to bytes where it is stored */
    uint64_t header;     /* where its local header begins */
    uint32_t crc;        /* of its bytes, as both headers have it */
    uint16_t name_bytes;
    uint16_t method; /* 0 is stored */
    uint16_t flags;  /* bit 0: encrypted */
};

struct zip {
    struct zip_member *members; /* in the order of their names, compared as bytes */
    size_t member_count;
    char *directory; /* the central directory; the names are in it */
};

/* Read an archive's directory.
 *
 * out      set on success only
 * error    filled on failure, but for the file's name
 * returns  0; -EINVAL where the content is refused; -ENOMEM; else what the file system said
 * owner    the caller frees *out with zip_close()
 * source   PKWARE's APPNOTE.TXT 6.3.10, sections 4.3 to 4.5
 */
int zip_open(const struct byte_source *source, struct zip **out, struct input_error *error);

/* Free an archive. NULL is allowed. */
void zip_close(struct zip *zip);

/* Find a member by its whole name; name_bytes of it, which need not be terminated.
 *
 * returns  its index, or ZIP_NONE; takes O(log n)
 */
size_t zip_find(const struct zip *zip, const char *name, size_t name_bytes);

/* Check that a member's bytes can be used as they lie in the file.
 *
 * returns  0; -EINVAL and error filled where it is compressed or encrypted
 */
int zip_check_stored(const struct zip_member *member, struct input_error *error);

#endif
