/* cubin_image.h - code images for tests, made byte by byte.
 *
 * An image is as long as what was put into it, and lies wherever its owner copies it.
 */
#ifndef BERTH_TEST_CUBIN_IMAGE_H
#define BERTH_TEST_CUBIN_IMAGE_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define IMAGE_MAX 8192

struct image {
    unsigned char bytes[IMAGE_MAX];
    size_t used;
};

static inline void put(struct image *m, const void *bytes, size_t count)
{
    if (m->used + count > IMAGE_MAX)
        abort();
    memcpy(m->bytes + m->used, bytes, count);
    m->used += count;
}

static inline void put16(struct image *m, unsigned value)
{
    uint16_t v = (uint16_t)value;

    put(m, &v, 2);
}

static inline void put32(struct image *m, uint32_t value)
{
    put(m, &value, 4);
}

/* One record of .nv.info.<kernel> that describes a parameter. */
static inline void put_param(struct image *info, unsigned attribute, unsigned ordinal,
                             unsigned offset, unsigned bytes)
{
    put16(info, 0x04 | attribute << 8);
    put16(info, 12);
    put32(info, 0);
    put16(info, ordinal);
    put16(info, offset);
    put32(info, attribute == 0x17 ? bytes << 18 | 0x1f000 : bytes | 0x55000000);
}

struct section {
    const char *name;
    const struct image *data;
};

/* A cubin with these sections, and the two that every one has. */
static inline void make_elf(struct image *m, const struct section *sections, size_t count)
{
    Elf64_Ehdr header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                         .e_type = ET_EXEC,
                         .e_machine = 190, /* EM_CUDA */
                         .e_version = EV_CURRENT,
                         .e_ehsize = sizeof(header),
                         .e_shentsize = sizeof(Elf64_Shdr),
                         .e_shnum = (uint16_t)(count + 2),
                         .e_shstrndx = 1};
    Elf64_Shdr table[12] = {0};
    struct image names = {{0}, 1};

    m->used = 0;
    put(m, &header, sizeof(header));
    table[1] = (Elf64_Shdr){.sh_name = (uint32_t)names.used, .sh_type = SHT_STRTAB};
    put(&names, ".shstrtab", 10);
    for (size_t i = 0; i < count; i++) {
        table[i + 2] = (Elf64_Shdr){.sh_name = (uint32_t)names.used,
                                    .sh_type = SHT_PROGBITS,
                                    .sh_offset = m->used,
                                    .sh_size = sections[i].data->used};
        put(&names, sections[i].name, strlen(sections[i].name) + 1);
        put(m, sections[i].data->bytes, sections[i].data->used);
    }
    table[1].sh_offset = m->used;
    table[1].sh_size = names.used;
    put(m, names.bytes, names.used);
    while (m->used % 8)
        put(m, "", 1);
    header.e_shoff = m->used;
    memcpy(m->bytes, &header, sizeof(header));
    put(m, table, (count + 2) * sizeof(*table));
}

#endif
