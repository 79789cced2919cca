/* stats_exporter.h - who writes this process's JSON at its end: its launcher, itself, or nobody. */
#ifndef BERTH_STATS_EXPORTER_H
#define BERTH_STATS_EXPORTER_H

#include "stats_file.h"
#include <sys/types.h>

struct stats_exporter {
    pid_t launcher; /* the parent that reads the file after our end; 0 when none does */
    int is_self; /* the JSON is wanted in the header's export_path, by whoever is there to do it */
};

/* Ask the environment. The header tells the next berth, in case that neither lives to do it.
 *
 * export_path  as for stats_open()
 */
struct stats_exporter stats_exporter_choose(struct stats_header *header, const char *export_path);

#endif
