/* log.h - one line for people, on standard error.
 *
 * A line is built on the stack and leaves in one write(2), so that it may be written from any hook,
 * any thread and any lock, in somebody else's process: nothing here allocates, locks, or changes
 * errno. A line reads
 *     berth: warn residency: GPU 0 is not paged, all is as without berth: it has no ...
 * Warnings and errors by default; BERTH_LOG=off|error|warn|info|debug says otherwise. One place in
 * the code writes LOG_REPEATS lines at most, the last of which says so.
 */
#ifndef BERTH_LOG_H
#define BERTH_LOG_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#define LOG_LINE_BYTES 512 /* a longer line is cut, and ends in "..." */
#define LOG_REPEATS    20

/* X(symbol, text) */
#define LOG_LEVELS(X)                                                                              \
    X(OFF, "off")                                                                                  \
    X(ERROR, "error")                                                                              \
    X(WARN, "warn")                                                                                \
    X(INFO, "info")                                                                                \
    X(DEBUG, "debug")

#define X(symbol, text) LOG_##symbol,
enum log_level { LOG_LEVELS(X) LOG_LEVEL_COUNT };
#undef X

/* How often one place in the code has been reached. */
struct log_site {
    atomic_uint count;
};

#define log_error(module, ...) LOG_AT(LOG_ERROR, module, __VA_ARGS__)
#define log_warn(module, ...)  LOG_AT(LOG_WARN, module, __VA_ARGS__)
#define log_info(module, ...)  LOG_AT(LOG_INFO, module, __VA_ARGS__)
#define log_debug(module, ...) LOG_AT(LOG_DEBUG, module, __VA_ARGS__)

/* The level is asked for first: a line that is not wanted costs one load and one compare. */
#define LOG_AT(level, module, ...)                                                                 \
    do {                                                                                           \
        static struct log_site log_site_here;                                                      \
                                                                                                   \
        if (log_wants(level))                                                                      \
            log_write(&log_site_here, level, module, __VA_ARGS__);                                 \
    } while (0)

/* Is a line of this level written?  locks: none */
int log_wants(enum log_level level);

/* Write one line, unless this place has written enough of them or a line is already being written
 * further up this thread's stack.
 *
 * site     counts the repeats of one place in the code
 * module   the file's noun, as it stands in the line
 * format   as printf(); no newline
 * locks    none taken, any may be held
 */
__attribute__((format(printf, 4, 5))) void log_write(struct log_site *site, enum log_level level,
                                                     const char *module, const char *format, ...);

/* Build a line into out, newline included: what log_write() writes.
 *
 * bytes    size of out, at least 8
 * returns  the length
 */
size_t log_format(char *out, size_t bytes, enum log_level level, const char *module,
                  const char *format, va_list args);

/* The level that a text names.
 *
 * text     as in BERTH_LOG; NULL for unset
 * returns  LOG_WARN where the text is NULL, empty or not a level
 */
enum log_level log_parse_level(const char *text);

/* Set the level for the rest of the process, whatever BERTH_LOG said. */
void log_set_level(enum log_level level);

#endif
