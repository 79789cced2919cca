/* program.h - the program that is to run: where it is, and whether a preloaded library reaches it.
 *
 * The loader ignores LD_PRELOAD silently in programs that it does not load or does not trust. Such
 * a program is refused here, for it would run without berth and nobody would know.
 */
#ifndef BERTH_TOOLS_PROGRAM_H
#define BERTH_TOOLS_PROGRAM_H

#include <stddef.h>

/* Find a program as execvp() does: a name without a slash is looked for in PATH.
 *
 * path     of bytes; set on success only
 * returns  0; -ENOENT; -EACCES where a file of that name may not be executed; of a path what else
 *          the file system said
 * source   POSIX, exec; execvp(3)
 */
int program_find(const char *name, char *path, size_t bytes);

/* Can berth get into it? Scripts are followed to their interpreter.
 *
 * reason   bytes long; on refusal what is wrong and what to do, "path: is ...; ..."
 * returns  0; -ENOTSUP and reason. What execve() will refuse anyway passes: it says it better
 */
int program_check(const char *path, char *reason, size_t bytes);

/* Is it for execve(), or a script without an interpreter line, which execvp() hands to /bin/sh? A
 * NUL in its first line says that it is no text, as shells see it.
 *
 * returns  1 for such a script
 */
int program_wants_shell(const char *path);

#endif
