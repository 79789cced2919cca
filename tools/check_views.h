/* check_views.h - what `berth check` found, for people and for machines. */
#ifndef BERTH_TOOLS_CHECK_VIEWS_H
#define BERTH_TOOLS_CHECK_VIEWS_H

#include "policy/policy_check.h"
#include <stdio.h>

struct check_report {
    const char *path;                    /* of the policy */
    const struct policy *policy;         /* an empty one where it could not be read */
    const char *checkpoint_path;         /* NULL where nobody named one */
    const struct checkpoint *checkpoint; /* NULL where it could not be opened, too */
    const struct policy_check *check;
};

/* Print tables and findings. returns 0 or -ENOMEM */
int check_print_table(const struct check_report *report, FILE *out);

/* Print one JSON document. */
void check_print_json(const struct check_report *report, FILE *out);

#endif
