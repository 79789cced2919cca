#include "zip.h"
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define END_BYTES     22u /* the record at the end, without its comment */
#define COMMENT_MAX   65535u
#define LOCATOR_BYTES 20u
#define END64_BYTES   56u
#define CENTRAL_BYTES 46u
#define LOCAL_BYTES   30u

#define END_SIGNATURE     0x06054b50u
#define LOCATOR_SIGNATURE 0x07064b50u
#define END64_SIGNATURE   0x06064b50u
#define CENTRAL_SIGNATURE 0x02014b50u
#define LOCAL_SIGNATURE   0x04034b50u

#define EXTRA_ZIP64     1u
#define FLAG_ENCRYPTED  0x1u
#define FLAG_DESCRIPTOR 0x8u /* sizes and CRC follow the bytes; the local header may have zeros */
#define IN_ZIP64        UINT32_MAX /* the field's value is in the ZIP64 extra field */

/* One archive on its way. */
struct reader {
    const struct byte_source *source;
    struct zip *zip;
    uint64_t directory;       /* where the central directory begins */
    uint64_t directory_bytes; /* inside the file */
    uint64_t count;           /* of members, as the end record has it */
    struct input_error *error;
};

static uint16_t get16(const void *at)
{
    uint16_t value;

    memcpy(&value, at, sizeof(value));
    return le16toh(value);
}

static uint32_t get32(const void *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return le32toh(value);
}

static uint64_t get64(const void *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof(value));
    return le64toh(value);
}

/* The end record ------------------------------------------------------------------------------- */

/* Find the end record: the last one whose comment reaches exactly to the end of the file.
 *
 * end      gets the record; at gets its offset
 */
static int find_end(const struct reader *r, unsigned char end[END_BYTES], uint64_t *at)
{
    uint64_t file_bytes = r->source->bytes, start;
    size_t bytes, i;
    unsigned char *tail;
    int res;

    bytes = file_bytes < END_BYTES + COMMENT_MAX ? (size_t)file_bytes : END_BYTES + COMMENT_MAX;
    start = file_bytes - bytes;
    tail = malloc(bytes + 1);
    if (!tail)
        return input_error_set(r->error, -ENOMEM, start, "memory for the archive's end", "none");
    res = byte_source_read(r->source, tail, bytes, start, r->error);
    if (res)
        goto err_free;
    for (i = bytes < END_BYTES ? 0 : bytes - END_BYTES + 1; i > 0; i--) {
        const unsigned char *record = tail + i - 1;

        if (get32(record) != END_SIGNATURE || get16(record + 20) != bytes - END_BYTES - (i - 1))
            continue;
        memcpy(end, record, END_BYTES);
        *at = start + i - 1;
        free(tail);
        return 0;
    }
    res = input_error_set(r->error, -EINVAL, file_bytes,
                          "the end of a zip archive, which lists its members",
                          "none: the file may be incomplete");
err_free:
    free(tail);
    return res;
}

/* Read the ZIP64 end record that stands before the other, where there is one.
 *
 * end      the other one, whose offset is *at
 * at       gets the offset of this one instead
 * record   gets this one
 * returns  1 where there is one; 0; -EINVAL
 */
static int find_end64(const struct reader *r, const unsigned char *end, uint64_t *at,
                      unsigned char record[END64_BYTES])
{
    unsigned char locator[LOCATOR_BYTES];
    uint64_t limit;
    int res;

    if (*at < LOCATOR_BYTES + END64_BYTES)
        return 0;
    limit = *at - LOCATOR_BYTES;
    res = byte_source_read(r->source, locator, sizeof(locator), limit, r->error);
    if (res || get32(locator) != LOCATOR_SIGNATURE)
        return res;
    if (get64(locator + 8) > limit - END64_BYTES)
        return input_error_set(r->error, -EINVAL, limit + 8,
                               "the offset of a ZIP64 end record before here", "%" PRIu64,
                               get64(locator + 8));
    *at = get64(locator + 8);
    res = byte_source_read(r->source, record, END64_BYTES, *at, r->error);
    if (res)
        return res;
    if (get32(record) != END64_SIGNATURE)
        return input_error_set(r->error, -EINVAL, *at, "a ZIP64 end record", "0x%08x",
                               get32(record));
    if ((get16(end + 10) != UINT16_MAX && get16(end + 10) != get64(record + 32)) ||
        (get32(end + 12) != IN_ZIP64 && get32(end + 12) != get64(record + 40)) ||
        (get32(end + 16) != IN_ZIP64 && get32(end + 16) != get64(record + 48)))
        return input_error_set(r->error, -EINVAL, *at, "both end records to say the same",
                               "another number of members, or another place");
    return 1;
}

/* Learn from the end of the file where the directory is and what it holds. */
static int read_end(struct reader *r)
{
    unsigned char end[END_BYTES] = {0}, record[END64_BYTES] = {0};
    uint32_t disks;
    uint64_t at = 0;
    int res = find_end(r, end, &at);

    if (res)
        return res;
    res = find_end64(r, end, &at, record);
    if (res < 0)
        return res;
    disks = res ? get32(record + 16) | get32(record + 20) : get16(end + 4) | get16(end + 6);
    r->count = res ? get64(record + 32) : get16(end + 10);
    r->directory_bytes = res ? get64(record + 40) : get32(end + 12);
    r->directory = res ? get64(record + 48) : get32(end + 16);
    if (disks != 0)
        return input_error_set(r->error, -EINVAL, at, "an archive in one file",
                               "one that is split over several");
    if (r->directory > at || r->directory_bytes > at - r->directory)
        return input_error_set(r->error, -EINVAL, at, "a directory that ends before here",
                               "%" PRIu64 " bytes of it from byte %" PRIu64 " on",
                               r->directory_bytes, r->directory);
    if (r->directory_bytes > ZIP_DIRECTORY_BYTES_MAX)
        return input_error_set(r->error, -EINVAL, at, "a directory of at most 100000000 bytes",
                               "%" PRIu64, r->directory_bytes);
    if (r->count > r->directory_bytes / CENTRAL_BYTES)
        return input_error_set(r->error, -EINVAL, at, "as many members as the directory has room",
                               "%" PRIu64 " in %" PRIu64 " bytes", r->count, r->directory_bytes);
    return 0;
}

/* Headers -------------------------------------------------------------------------------------- */

/* Replace what stands in for numbers that need 64 bits, in the order in which they are given.
 *
 * extra    the extra fields of a header
 * returns  0; -EINVAL where the ZIP64 field is too short for what it should hold
 */
static int read_zip64(const unsigned char *extra, size_t extra_bytes, uint64_t *const *fields,
                      size_t count)
{
    size_t left, i;

    while (extra_bytes >= 4 && get16(extra + 2) <= extra_bytes - 4) {
        left = get16(extra + 2);
        extra += 4;
        if (get16(extra - 4) != EXTRA_ZIP64) {
            extra += left;
            extra_bytes -= 4 + left;
            continue;
        }
        for (i = 0; i < count; i++) {
            if (*fields[i] != IN_ZIP64)
                continue;
            if (left < 8)
                return -EINVAL;
            *fields[i] = get64(extra);
            extra += 8;
            left -= 8;
        }
        return 0;
    }
    return 0;
}

/* Read one entry of the directory.
 *
 * at       from the start of the directory
 * bytes    gets the entry's length
 */
static int read_central(const struct reader *r, uint64_t at, struct zip_member *m, uint64_t *bytes)
{
    const unsigned char *entry = (const unsigned char *)r->zip->directory + at;
    uint64_t left = r->directory_bytes - at, room;
    uint64_t *const fields[] = {&m->bytes, &m->file_bytes, &m->header};

    if (left < CENTRAL_BYTES || get32(entry) != CENTRAL_SIGNATURE)
        return input_error_set(r->error, -EINVAL, r->directory + at, "an entry of the directory",
                               left < CENTRAL_BYTES ? "its end" : "0x%08x",
                               left < CENTRAL_BYTES ? 0 : get32(entry));
    room = (uint64_t)get16(entry + 28) + get16(entry + 30) + get16(entry + 32);
    if (room > left - CENTRAL_BYTES)
        return input_error_set(
            r->error, -EINVAL, r->directory + at + 28, "an entry that ends inside the directory",
            "%" PRIu64 " bytes of names and fields of %" PRIu64, room, left - CENTRAL_BYTES);
    *bytes = CENTRAL_BYTES + room;
    m->name = (const char *)entry + CENTRAL_BYTES;
    m->name_bytes = get16(entry + 28);
    m->flags = get16(entry + 8);
    m->method = get16(entry + 10);
    m->crc = get32(entry + 16);
    m->file_bytes = get32(entry + 20);
    m->bytes = get32(entry + 24);
    m->header = get32(entry + 42);
    if (read_zip64(entry + CENTRAL_BYTES + m->name_bytes, get16(entry + 30), fields, 3)) {
        input_error_set_field(r->error, m->name, m->name_bytes);
        return input_error_set(r->error, -EINVAL, r->directory + at,
                               "a ZIP64 field with the numbers that are missing here",
                               "a shorter one");
    }
    return 0;
}

static int read_directory(const struct reader *r)
{
    struct zip *zip = r->zip;
    uint64_t at = 0, bytes = 0;
    int res;

    zip->directory = malloc(r->directory_bytes + 1);
    zip->members = calloc(r->count + 1, sizeof(*zip->members));
    if (!zip->directory || !zip->members)
        return input_error_set(r->error, -ENOMEM, r->directory, "memory for the directory", "none");
    res = byte_source_read(r->source, zip->directory, r->directory_bytes, r->directory, r->error);
    if (res)
        return res;
    for (; zip->member_count < r->count; zip->member_count++, at += bytes) {
        res = read_central(r, at, &zip->members[zip->member_count], &bytes);
        if (res)
            return res;
    }
    if (at != r->directory_bytes)
        return input_error_set(r->error, -EINVAL, r->directory + at,
                               "the end of the directory after its last entry",
                               "%" PRIu64 " bytes more", r->directory_bytes - at);
    return 0;
}

/* Is a size in a local header that of the directory? A descriptor behind the bytes may have it. */
static bool same_size(uint64_t local, uint64_t central, bool descriptor)
{
    return local == central || (descriptor && local == 0);
}

/* Compare a local header with the directory.
 *
 * local    the header, with the member's name behind it
 * extra    its extra fields
 */
static int compare_local(const struct reader *r, const struct zip_member *m,
                         const unsigned char *local, const unsigned char *extra)
{
    bool descriptor = get16(local + 6) & FLAG_DESCRIPTOR;
    uint64_t file_bytes = get32(local + 18), bytes = get32(local + 22);
    uint64_t *const fields[] = {&bytes, &file_bytes};
    const char *differs = NULL;

    if (read_zip64(extra, get16(local + 28), fields, 2))
        differs = "a ZIP64 field that is too short";
    else if (memcmp(local + LOCAL_BYTES, m->name, m->name_bytes) != 0)
        differs = "another name";
    else if (get16(local + 8) != m->method)
        differs = "another method of compression";
    else if ((get16(local + 6) ^ m->flags) & FLAG_ENCRYPTED)
        differs = "only one says that it is encrypted";
    else if (!same_size(bytes, m->bytes, descriptor) ||
             !same_size(file_bytes, m->file_bytes, descriptor))
        differs = "another size";
    else if (!same_size(get32(local + 14), m->crc, descriptor))
        differs = "another CRC";
    if (differs)
        return input_error_set(r->error, -EINVAL, m->header,
                               "a local header that agrees with the directory", "%s", differs);
    return 0;
}

/* Read a member's local header, which says where its bytes begin.
 *
 * limit    where the next member or the directory begins
 * room     LOCAL_BYTES + 2 * 65535 bytes
 */
static int read_local(const struct reader *r, struct zip_member *m, uint64_t limit,
                      unsigned char *room)
{
    size_t head_bytes = LOCAL_BYTES + m->name_bytes, extra_bytes;
    int res;

    input_error_set_field(r->error, m->name, m->name_bytes);
    if (m->header > limit || head_bytes > limit - m->header)
        return input_error_set(r->error, -EINVAL, m->header,
                               "a member before the next one and the directory",
                               "one that reaches past byte %" PRIu64, limit);
    res = byte_source_read(r->source, room, head_bytes, m->header, r->error);
    if (res)
        return res;
    if (get32(room) != LOCAL_SIGNATURE || get16(room + 26) != m->name_bytes)
        return input_error_set(r->error, -EINVAL, m->header, "the local header of this member",
                               get32(room) == LOCAL_SIGNATURE ? "that of another" : "0x%08x",
                               get32(room));
    extra_bytes = get16(room + 28);
    m->offset = m->header + head_bytes + extra_bytes;
    if (m->offset > limit || m->file_bytes > limit - m->offset)
        return input_error_set(r->error, -EINVAL, m->offset,
                               "a member before the next one and the directory",
                               "%" PRIu64 " bytes where %" PRIu64 " have room", m->file_bytes,
                               m->offset > limit ? 0 : limit - m->offset);
    if (get32(room + 18) == IN_ZIP64 || get32(room + 22) == IN_ZIP64)
        res = byte_source_read(r->source, room + head_bytes, extra_bytes, m->header + head_bytes,
                               r->error);
    if (res == 0)
        res = compare_local(r, m, room, room + head_bytes);
    return res;
}

static int compare_headers(const void *a, const void *b)
{
    const struct zip_member *l = a, *r = b;

    return (l->header > r->header) - (l->header < r->header);
}

/* Find the members' bytes. As they are met in the order of the file, none can overlap another. */
static int read_locals(const struct reader *r)
{
    struct zip *zip = r->zip;
    unsigned char *room = malloc(LOCAL_BYTES + 2 * 65535);
    size_t i;
    int res = 0;

    if (!room)
        return input_error_set(r->error, -ENOMEM, r->directory, "memory for a header", "none");
    qsort(zip->members, zip->member_count, sizeof(*zip->members), compare_headers);
    for (i = 0; i < zip->member_count && res == 0; i++) {
        uint64_t next = i + 1 < zip->member_count ? zip->members[i + 1].header : r->directory;

        res = read_local(r, &zip->members[i], next < r->directory ? next : r->directory, room);
    }
    free(room);
    if (res == 0)
        r->error->field[0] = '\0';
    return res;
}

/* Names ---------------------------------------------------------------------------------------- */

static int compare_name(const struct zip_member *m, const char *name, size_t name_bytes)
{
    size_t common = m->name_bytes < name_bytes ? m->name_bytes : name_bytes;
    int order = memcmp(m->name, name, common);

    return order ? order : (m->name_bytes > name_bytes) - (m->name_bytes < name_bytes);
}

static int compare_names(const void *a, const void *b)
{
    const struct zip_member *r = b;

    return compare_name(a, r->name, r->name_bytes);
}

static int index_names(const struct reader *r)
{
    struct zip *zip = r->zip;
    size_t i;

    qsort(zip->members, zip->member_count, sizeof(*zip->members), compare_names);
    for (i = 1; i < zip->member_count; i++) {
        const struct zip_member *m = &zip->members[i];

        if (compare_names(m - 1, m) == 0) {
            input_error_set_field(r->error, m->name, m->name_bytes);
            return input_error_set(r->error, -EINVAL, m->header, "every member once", "it twice");
        }
    }
    return 0;
}

int zip_open(const struct byte_source *source, struct zip **out, struct input_error *error)
{
    struct reader r = {.source = source, .error = error};
    int res = read_end(&r);

    if (res)
        return res;
    r.zip = calloc(1, sizeof(*r.zip));
    if (!r.zip)
        return input_error_set(error, -ENOMEM, r.directory, "memory for the directory", "none");
    res = read_directory(&r);
    if (res == 0)
        res = read_locals(&r);
    if (res == 0)
        res = index_names(&r);
    if (res) {
        zip_close(r.zip);
        return res;
    }
    *out = r.zip;
    return 0;
}

void zip_close(struct zip *zip)
{
    if (!zip)
        return;
    free(zip->members);
    free(zip->directory);
    free(zip);
}

size_t zip_find(const struct zip *zip, const char *name, size_t name_bytes)
{
    size_t first = 0, end = zip->member_count;

    while (first < end) {
        size_t middle = first + (end - first) / 2;
        int order = compare_name(&zip->members[middle], name, name_bytes);

        if (order == 0)
            return middle;
        if (order < 0)
            first = middle + 1;
        else
            end = middle;
    }
    return ZIP_NONE;
}

int zip_check_stored(const struct zip_member *member, struct input_error *error)
{
    if (member->flags & FLAG_ENCRYPTED) {
        input_error_set_field(error, member->name, member->name_bytes);
        return input_error_set(error, -EINVAL, member->header, "a member that is not encrypted",
                               "an encrypted one");
    }
    if (member->method == 0 && member->bytes == member->file_bytes)
        return 0;
    input_error_set_field(error, member->name, member->name_bytes);
    if (member->method == 0)
        return input_error_set(error, -EINVAL, member->header, "a stored member of one size",
                               "%" PRIu64 " bytes and %" PRIu64, member->file_bytes, member->bytes);
    return input_error_set(error, -EINVAL, member->header,
                           "a stored member, whose bytes can be mapped in place; save it anew with "
                           "torch.save()",
                           "a compressed one (method %u)", member->method);
}
