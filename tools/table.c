/* table.c - output for people. */
#include "table.h"

#include "policy/utf8.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define GAP_COLUMNS     2
#define WANTED_COLUMNS  32 /* rather than cut text shorter than this, spare columns are left out */
#define SHRUNK_COLUMNS  16 /* nothing is cut shorter than this */
#define TEXT_COLUMNS    24 /* at least, of wrapped text: else it is not indented */
#define ELLIPSIS        ".."
#define ELLIPSIS_LENGTH 2

/* Text ----------------------------------------------------------------------------------------- */

/* Copy text; control characters and what is no UTF-8 become '?'. */
static char *clean(const char *text)
{
    size_t bytes = strlen(text);
    char *copy = malloc(bytes + 1);
    size_t length = 0;

    if (!copy)
        return NULL;
    for (size_t i = 0; i < bytes;) {
        uint32_t code;
        size_t step = utf8_decode((const unsigned char *)text + i, bytes - i, &code);

        if (step == 0 || code < 0x20 || (code >= 0x7f && code < 0xa0)) {
            copy[length++] = '?';
            i += step ? step : 1;
            continue;
        }
        memcpy(copy + length, text + i, step);
        length += step;
        i += step;
    }
    copy[length] = '\0';
    return copy;
}

/* How many columns a clean text takes, one for each character. */
static size_t columns_of(const char *text)
{
    size_t columns = 0;

    for (; *text; text++)
        columns += ((unsigned char)*text & 0xc0) != 0x80;
    return columns;
}

/* The byte at which a column of a clean text begins. */
static size_t byte_of_column(const char *text, size_t column)
{
    size_t byte = 0;

    while (text[byte]) {
        if (((unsigned char)text[byte] & 0xc0) != 0x80 && column-- == 0)
            break;
        byte++;
    }
    return byte;
}

void terminal_print_clean(FILE *out, const char *text)
{
    char *copy = clean(text);

    fputs(copy ? copy : "?", out);
    free(copy);
}

/* The terminal --------------------------------------------------------------------------------- */

size_t terminal_width(FILE *out)
{
    const char *columns = getenv("COLUMNS");
    struct winsize size;

    if (!isatty(fileno(out)))
        return 0;
    if (ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col)
        return size.ws_col;
    return columns && atoi(columns) > 0 ? (size_t)atoi(columns) : 80;
}

void terminal_print_wrapped(FILE *out, size_t indent, const char *text)
{
    char *copy = clean(text);
    size_t width = terminal_width(out), at = indent;

    if (!copy)
        fputs("?", out);
    if (indent + TEXT_COLUMNS > width)
        indent = 0;
    for (char *word = copy; word && *word;) {
        size_t bytes = strcspn(word, " ");
        int last = !word[bytes];
        size_t columns;

        word[bytes] = '\0';
        columns = columns_of(word);
        if (word != copy && width && at + 1 + columns > width) {
            fprintf(out, "\n%*s", (int)indent, "");
            at = indent;
        } else if (word != copy) {
            fputc(' ', out);
            at++;
        }
        fputs(word, out);
        at += columns;
        word += bytes + !last;
    }
    fputc('\n', out);
    free(copy);
}

const struct terminal_style *terminal_style(FILE *out)
{
    static const struct terminal_style plain = {"", "", "", ""};
    static const struct terminal_style colour = {"\033[1m", "\033[2m", "\033[31m", "\033[0m"};
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");

    if (!isatty(fileno(out)) || (no_color && *no_color) || !term || strcmp(term, "dumb") == 0)
        return &plain;
    return &colour;
}

/* Tables --------------------------------------------------------------------------------------- */

void table_begin(struct table *table, const struct table_column *columns, size_t column_count)
{
    memset(table, 0, sizeof(*table));
    table->columns = columns;
    table->column_count = column_count;
}

void table_add(struct table *table, const char *const *cells)
{
    size_t count = table->column_count;

    if (table->failed)
        return;
    if (table->row_count == table->row_room) {
        size_t room = table->row_room ? 2 * table->row_room : 64;
        char **grown = reallocarray(table->cells, room, count * sizeof(*grown));

        if (!grown) {
            table->failed = 1;
            return;
        }
        table->cells = grown;
        table->row_room = room;
    }
    for (size_t i = 0; i < count; i++) {
        char *copy = clean(cells[i]);

        table->failed |= !copy;
        table->cells[table->row_count * count + i] = copy;
    }
    table->row_count++;
}

/* The column that can be spared most of those that are shown; TABLE_COLUMNS_MAX for none. */
static size_t find_spare(const struct table *table, const size_t *widths)
{
    size_t found = TABLE_COLUMNS_MAX;

    for (size_t i = 0; i < table->column_count; i++) {
        unsigned spare = widths[i] ? table->columns[i].spare : 0;

        if (spare && (found == TABLE_COLUMNS_MAX || spare > table->columns[found].spare))
            found = i;
    }
    return found;
}

/* Make the columns fit: leave out what can be spared until the column that shrinks has the room
 * that it must have, then cut that one. */
static void fit(const struct table *table, size_t *widths, size_t shrinks, size_t total,
                size_t terminal)
{
    size_t wanted = widths[shrinks] < WANTED_COLUMNS ? widths[shrinks] : WANTED_COLUMNS;
    size_t least = wanted < SHRUNK_COLUMNS ? wanted : SHRUNK_COLUMNS;
    size_t spare;

    total -= widths[shrinks];
    while (total + wanted > terminal && (spare = find_spare(table, widths)) != TABLE_COLUMNS_MAX) {
        total -= widths[spare] + GAP_COLUMNS;
        widths[spare] = 0;
    }
    if (total + widths[shrinks] > terminal)
        widths[shrinks] = total + least < terminal ? terminal - total : least;
}

/* The width of each column, 0 where it is left out. */
static void measure(const struct table *table, size_t widths[TABLE_COLUMNS_MAX], size_t terminal)
{
    size_t total = 0, shrinks = TABLE_COLUMNS_MAX;

    for (size_t i = 0; i < table->column_count; i++) {
        widths[i] = columns_of(table->columns[i].title);
        for (size_t row = 0; row < table->row_count; row++) {
            size_t columns = columns_of(table->cells[row * table->column_count + i]);

            widths[i] = columns > widths[i] ? columns : widths[i];
        }
        total += widths[i] + (i ? GAP_COLUMNS : 0);
        if (table->columns[i].align == TABLE_SHRINKS)
            shrinks = i;
    }
    if (terminal && total > terminal && shrinks != TABLE_COLUMNS_MAX)
        fit(table, widths, shrinks, total, terminal);
}

/* A cut text keeps both its ends: layers have their number there and parameters their kind. */
static void print_cell(FILE *out, const char *text, size_t width, int right, int last)
{
    size_t columns = columns_of(text);
    size_t head, tail;

    if (columns > width) {
        head = (width - ELLIPSIS_LENGTH) / 2;
        tail = width - ELLIPSIS_LENGTH - head;
        fprintf(out, "%.*s" ELLIPSIS "%s", (int)byte_of_column(text, head), text,
                text + byte_of_column(text, columns - tail));
        return;
    }
    if (right)
        fprintf(out, "%*s", (int)(width - columns), "");
    fputs(text, out);
    if (!right && !last)
        fprintf(out, "%*s", (int)(width - columns), "");
}

static void print_row(const struct table *table, FILE *out, const size_t *widths,
                      const char *const *cells)
{
    size_t last = table->column_count - 1;

    while (last > 0 && !widths[last])
        last--;
    for (size_t i = 0; i <= last; i++) {
        if (!widths[i])
            continue;
        if (i)
            fprintf(out, "%*s", GAP_COLUMNS, "");
        print_cell(out, cells[i], widths[i], table->columns[i].align == TABLE_RIGHT, i == last);
    }
}

int table_print(const struct table *table, FILE *out)
{
    const struct terminal_style *style = terminal_style(out);
    const char *titles[TABLE_COLUMNS_MAX];
    size_t widths[TABLE_COLUMNS_MAX];

    if (table->failed)
        return -ENOMEM;
    measure(table, widths, terminal_width(out));
    for (size_t i = 0; i < table->column_count; i++)
        titles[i] = table->columns[i].title;
    fputs(style->title, out);
    print_row(table, out, widths, titles);
    fprintf(out, "%s\n", style->end);
    for (size_t row = 0; row < table->row_count; row++) {
        print_row(table, out, widths,
                  (const char *const *)&table->cells[row * table->column_count]);
        fputc('\n', out);
    }
    return 0;
}

void table_free(struct table *table)
{
    for (size_t i = 0; i < table->row_count * table->column_count; i++)
        free(table->cells[i]);
    free(table->cells);
    memset(table, 0, sizeof(*table));
}
