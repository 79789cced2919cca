/* stats_views.h - the ways in which `berth stats` shows a report, and the one in which it reads
 * one.
 *
 * All of them take the report as it is; which values there are is said in shim/stats_report.h.
 */
#ifndef BERTH_TOOLS_STATS_VIEWS_H
#define BERTH_TOOLS_STATS_VIEWS_H

#include "shim/stats_report.h"

#define STATS_TABLE_ROWS 20 /* how many parameters are shown where not all are asked for */

enum stats_table_rows {
    STATS_TABLE_TOP,
    STATS_TABLE_ALL,
};

/* Print a table for people, with advice at its end; parameters by the time that launches waited for
 * them, then by the bytes that were moved for them, most first.
 *
 * returns  0 or -ENOMEM
 */
int stats_table_print(const struct stats_report *report, enum stats_table_rows rows, FILE *out);

/* Print metrics in Prometheus' text format.
 *
 * returns  0 or -ENOMEM
 * source   https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4
 */
int stats_metrics_print(const struct stats_report *report, FILE *out);

/* Read a document that stats_report_write() wrote.
 *
 * text     bytes of it
 * reason   reason_bytes long; filled on failure: one line, without the file's name
 * returns  0; -EINVAL where it is no such document; -ENOMEM
 * owner    the caller frees the report with stats_report_release()
 */
int stats_document_parse(const char *text, size_t bytes, struct stats_report *report, char *reason,
                         size_t reason_bytes);

/* Read such a document from a file.
 *
 * is_wrong set to 1 where it was read and is no such document
 * returns  also what the file system said
 */
int stats_document_read(const char *path, struct stats_report *report, int *is_wrong, char *reason,
                        size_t reason_bytes);

#endif
