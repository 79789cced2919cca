/* fuzz.h - what the fuzzers share: promises that end the program where they are broken.
 *
 * A fuzzer is one file, fuzz_<parser>.c, and is built and run because it is there. A line `Seeds:
 * PATH...` in the first comment names the files and folders that the fuzzer begins with, from the
 * root of the repository; `Options: ...` what libFuzzer is told.
 */
#ifndef BERTH_TESTS_FUZZ_FUZZ_H
#define BERTH_TESTS_FUZZ_FUZZ_H

#include "error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* End here unless it is true: libFuzzer keeps the input and shows the stack. */
static inline void fuzz_require(bool truth)
{
    if (!truth)
        abort();
}

/* What was refused must say why, in one line. */
static inline void fuzz_check_refusal(const struct input_error *error)
{
    char line[INPUT_ERROR_TEXT_BYTES];

    input_error_format(error, line, sizeof(line));
    fuzz_require(error->expected[0] && error->found[0] && !strchr(line, '\n'));
}

#endif
