#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOG_LEVEL_UNREAD (-1)

#define X(symbol, text) text,
static const char *const g_level_names[LOG_LEVEL_COUNT] = {LOG_LEVELS(X)};
#undef X

static atomic_int g_level = LOG_LEVEL_UNREAD;

/* Set while this thread writes a line: a line that a signal handler or an interposed write(2) wants
 * to write meanwhile is dropped. */
static __thread int g_writing;

enum log_level log_parse_level(const char *text)
{
    for (int level = 0; text && level < LOG_LEVEL_COUNT; level++)
        if (strcmp(text, g_level_names[level]) == 0)
            return (enum log_level)level;
    return LOG_WARN;
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&g_level, level, memory_order_relaxed);
}

int log_wants(enum log_level level)
{
    int current = atomic_load_explicit(&g_level, memory_order_relaxed);

    if (current == LOG_LEVEL_UNREAD) {
        /* Two threads may both read it here: they read the same. */
        current = (int)log_parse_level(getenv("BERTH_LOG"));
        log_set_level((enum log_level)current);
    }
    return level != LOG_OFF && (int)level <= current;
}

size_t log_format(char *out, size_t bytes, enum log_level level, const char *module,
                  const char *format, va_list args)
{
    int head = snprintf(out, bytes, "berth: %s %s: ", g_level_names[level], module);
    size_t length = head < 0 ? 0 : (size_t)head;
    int tail;

    if (length < bytes) {
        tail = vsnprintf(out + length, bytes - length, format, args);
        length += tail < 0 ? 0 : (size_t)tail;
    }
    /* The newline takes the place of the terminating zero. */
    if (length > bytes - 1) {
        length = bytes - 1;
        memcpy(out + length - 3, "...", 3);
    }
    for (size_t i = 0; i < length; i++)
        if (out[i] == '\n')
            out[i] = ' ';
    out[length] = '\n';
    return length + 1;
}

/* One line that reaches standard error only in part is not worth a second try. */
static void write_line(const char *line, size_t bytes)
{
    ssize_t done;

    do
        done = write(STDERR_FILENO, line, bytes);
    while (done < 0 && errno == EINTR);
}

void log_write(struct log_site *site, enum log_level level, const char *module, const char *format,
               ...)
{
    unsigned int count = atomic_fetch_add_explicit(&site->count, 1, memory_order_relaxed) + 1;
    int saved_errno = errno;
    char line[LOG_LINE_BYTES];
    size_t bytes;
    va_list args;

    if (count > LOG_REPEATS) {
        /* The count must not come round to where it would be written again. */
        atomic_store_explicit(&site->count, LOG_REPEATS, memory_order_relaxed);
        return;
    }
    if (g_writing)
        return;

    g_writing = 1;
    va_start(args, format);
    bytes = log_format(line, sizeof(line), level, module, format, args);
    va_end(args);
    if (count == LOG_REPEATS) {
        static const char last[] = " (not repeated any more)\n";

        if (bytes - 1 + sizeof(last) - 1 > sizeof(line))
            bytes = sizeof(line) - (sizeof(last) - 1) + 1;
        memcpy(line + bytes - 1, last, sizeof(last) - 1);
        bytes += sizeof(last) - 2;
    }
    write_line(line, bytes);
    g_writing = 0;
    errno = saved_errno;
}
