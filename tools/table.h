/* table.h - output for people: columns that fit the terminal, colour where it is wanted.
 *
 * On a terminal a table is cut to its width, first in what can be spared and then in its longest
 * column; in a pipe nothing is cut and nothing is coloured. Text that comes from files and programs
 * is cleaned here: no control character reaches a terminal.
 */
#ifndef BERTH_TOOLS_TABLE_H
#define BERTH_TOOLS_TABLE_H

#include <stddef.h>
#include <stdio.h>

#define TABLE_COLUMNS_MAX 12

enum table_align {
    TABLE_LEFT,
    TABLE_RIGHT,
    TABLE_SHRINKS, /* left, and cut in the middle where the terminal is too narrow; one a table */
};

/* spare  0: the column is always shown; else where the terminal is too narrow the column with the
 *        highest goes first
 */
struct table_column {
    const char *title;
    enum table_align align;
    unsigned spare;
};

struct table {
    const struct table_column *columns;
    size_t column_count;
    char **cells; /* rows of column_count, row after row; owned */
    size_t row_count;
    size_t row_room;
    int failed; /* out of memory: table_print() says so */
};

/* Begin an empty table.
 *
 * columns  borrowed until table_free()
 * owner    the caller ends it with table_free()
 */
void table_begin(struct table *table, const struct table_column *columns, size_t column_count);

/* Add a row.
 *
 * cells    column_count strings; copied and cleaned
 */
void table_add(struct table *table, const char *const *cells);

/* Print the titles and the rows. returns 0 or -ENOMEM */
int table_print(const struct table *table, FILE *out);
void table_free(struct table *table);

/* How many columns a stream's terminal has.
 *
 * returns  0 where it is none
 */
size_t terminal_width(FILE *out);

/* The escape sequences for titles and for what needs attention; "" where colour is not wanted: no
 * terminal, TERM=dumb, or NO_COLOR set (https://no-color.org). */
struct terminal_style {
    const char *title;
    const char *dim;
    const char *alarm;
    const char *end;
};
const struct terminal_style *terminal_style(FILE *out);

/* Print text from elsewhere, cleaned. */
void terminal_print_clean(FILE *out, const char *text);

/* Print text and a newline, cleaned; on a terminal, words that do not fit go on the next line.
 *
 * indent   columns that stand before the text, and before each further line of it
 */
void terminal_print_wrapped(FILE *out, size_t indent, const char *text);

#endif
