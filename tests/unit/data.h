/* data.h - the files under tests/data, for unit tests.
 *
 * Tests run from the root of the repository; BERTH_TEST_DATA names the folder where they do not. A
 * file that is missing fails the test: nothing is skipped for lack of data.
 */
#ifndef BERTH_TESTS_UNIT_DATA_H
#define BERTH_TESTS_UNIT_DATA_H

/* cmocka.h wants these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

/* The path of a file under tests/data; valid until the next call. */
static inline const char *data_path(const char *name)
{
    static char path[4096];
    const char *folder = getenv("BERTH_TEST_DATA");

    snprintf(path, sizeof(path), "%s/%s", folder ? folder : "tests/data", name);
    return path;
}

/* The whole of a file, terminated with a NUL that does not count.
 *
 * bytes    may be NULL
 * owner    the caller frees it
 */
static inline char *data_read(const char *name, size_t *bytes)
{
    FILE *file = fopen(data_path(name), "rb");
    char *text;
    long size;

    if (!file)
        fail_msg("cannot open %s: run the tests from the root of the repository", data_path(name));
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    size = ftell(file);
    assert_true(size >= 0);
    rewind(file);
    text = malloc((size_t)size + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)size, file), (size_t)size);
    fclose(file);
    text[size] = '\0';
    if (bytes)
        *bytes = (size_t)size;
    return text;
}

#endif
