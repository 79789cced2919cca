/* Strategy: reports are made by hand, each a program that somebody has seen or will see, and the
 * advice is held against words that must stand in it and words that must not: for every line there
 * is a report that calls for it and one a hair away that does not. Figures in the lines (budgets,
 * times, shares) are computed here by hand. Every combination of extremes is then judged once, for
 * there is always a line, it always ends, and no report is too odd.
 */
#include "tools/stats_advice.h"
#include "tools/stats_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

/* A program of 100 MiB in 32 MiB of a large card, whose step streams 64 MiB at 1 GiB/s: the link is
 * what it waits for. */
static struct stats_report busy_program(void)
{
    struct stats_report r = {
        .program = "busy",
        .driver = "libcuda.so.1 13000",
        .backend = "um",
        .device_count = 1,
        .weights_total_bytes = 96 * MIB,
        .weights_named_bytes = 96 * MIB,
        .transfers_h2d_bytes = 6400 * MIB,
        .launches_count = 10000,
        .launches_resident = 5000,
        .launches_waited = 5000,
        .launches_stall_ns = 5000000000,
        .steps_learned = 1,
        .steps_launches_per_step = 100,
        .steps_count = 100,
        .link_bytes_per_s = GIB,
        .link_share = STATS_SHARE_ONE / 100 * 90,
        .link_span_ns = 7000000000,
        .paging_step_bytes = 64 * MIB,
    };

    for (unsigned i = 0; i < STATS_DEVICES_MAX; i++) {
        r.budget_bytes[i] = r.asked_bytes[i] = STATS_NO_BUDGET;
        r.needed_bytes[i] = r.card_bytes[i] = STATS_NO_BUDGET;
    }
    r.budget_bytes[0] = r.asked_bytes[0] = 32 * MIB;
    r.needed_bytes[0] = 100 * MIB;
    r.card_bytes[0] = 4 * GIB;
    return r;
}

/* The same without a need to wait for anything. */
static struct stats_report easy_program(void)
{
    struct stats_report r = busy_program();

    r.link_share = STATS_SHARE_ONE / 10;
    r.paging_starved_ns = 1000;
    r.launches_stall_ns = 3499999999;
    return r;
}

static int says(const struct stats_report *r, const char *words)
{
    struct stats_advice advice;

    stats_advice_make(r, &advice);
    for (size_t i = 0; i < advice.count; i++) {
        if (strstr(advice.line[i], words))
            return 1;
    }
    return 0;
}

static void expect(const struct stats_report *r, size_t count, const char *words)
{
    struct stats_advice advice;

    stats_advice_make(r, &advice);
    if (advice.count != count || !says(r, words)) {
        for (size_t i = 0; i < advice.count; i++)
            print_error("advice: %s\n", advice.line[i]);
        fail_msg("wanted %zu lines, among them: %s", count, words);
    }
}

static void test_everything_fits(void **state)
{
    struct stats_report r = busy_program();

    (void)state;
    r.budget_bytes[0] = 100 * MIB;
    r.transfers_h2d_bytes = 0;
    expect(&r, 1, "Everything fits into the budget: nothing to change.");
    assert_true(stats_fits(&r));
    r.transfers_h2d_bytes = 1; /* it did not always */
    assert_false(stats_fits(&r));
    expect(&r, 1, "Nothing to change.");
    r.transfers_h2d_bytes = 0;
    r.budget_bytes[0]--;
    assert_false(stats_fits(&r));
    expect(&r, 1, "nothing had to be moved so far");
}

static void test_busy_link(void **state)
{
    struct stats_report r = busy_program();

    (void)state;
    expect(&r, 1,
           "busy 90% of the time: 64.0 MiB are loaded in each step, in 62.5 ms; "
           "--max-memory 0=101MiB holds everything and ends that; "
           "each 16.0 MiB more saves up to 15.6 ms of a step.");
    r.paging_step_bytes = 0; /* no figure for the step, no promise about it */
    expect(&r, 1, "busy 90% of the time: --max-memory 0=101MiB holds everything");
    assert_false(says(&r, "of a step"));
    r = busy_program();
    r.needed_bytes[0] = 36 * MIB; /* nearly there: no half measures */
    expect(&r, 1, "0=37MiB");
    assert_false(says(&r, "more saves"));
    r = busy_program();
    r.link_share = STATS_SHARE_ONE / 100 * 59;
    assert_false(says(&r, "The link to the GPU is busy"));
    r.link_share = STATS_SHARE_ONE / 100 * 60;
    assert_true(says(&r, "The link to the GPU is busy 60%"));
}

/* What the card has not is not advised. */
static void test_small_card(void **state)
{
    struct stats_report r = busy_program();

    (void)state;
    r.card_bytes[0] = 100 * MIB; /* enough, but for the margin */
    assert_false(says(&r, "holds everything"));
    expect(&r, 1, "all of it takes 101MiB, more than the card has, but --max-memory 0=93MiB is");
    r.budget_bytes[0] = 88 * MIB;
    expect(&r, 1, "smaller weights");
    assert_false(says(&r, "--max-memory"));
    r.card_bytes[0] = 101 * MIB;
    expect(&r, 1, "--max-memory 0=101MiB holds everything");
    r.card_bytes[0] = STATS_NO_BUDGET;
    expect(&r, 1, "--max-memory 0=101MiB holds everything");
}

static void test_starved(void **state)
{
    struct stats_report r = easy_program();

    (void)state;
    expect(&r, 1,
           "Paging costs little: the link is busy 10% of the time, and the GPU waits for "
           "weights under 1% of it. Nothing to change.");
    r.paging_starved_ns = 699999999;
    expect(&r, 1, "Paging costs little");
    /* Waiting for room is no loss while the GPU has work, if that does not wait itself. */
    r.launches_stall_ns = 3500000001;
    expect(&r, 1,
           "Only a run with --max-memory 0=101MiB, which holds everything, tells what paging costs "
           "here: launches waited 50% of the time, which is no loss where the GPU computed "
           "meanwhile. The link was busy 10% of the time, and the GPU without work 10%.");
    assert_false(says(&r, "Nothing to change"));
    assert_false(says(&r, "cost little")); /* which would be taken back */
    r.paging_sparse_launches = 2500;
    expect(&r, 1, "work 10%. 25% of the launches read a little of a large weight over the link");
    r.paging_sparse_launches = 0;
    r.card_bytes[0] = 64 * MIB;
    expect(&r, 1, "Only a run with a larger budget tells what paging costs here: launches waited");
    r.card_bytes[0] = 4 * GIB;
    r.paging_starved_ns = 700000001;
    expect(&r, 1, "For 10% of the time the GPU had nothing to do");
    assert_true(says(&r, "busy only 10%: loads begin too late"));
    assert_true(says(&r, "0=101MiB"));
    r.steps_learned = 0;
    expect(&r, 1, "the launches do not repeat (or not yet)");
    assert_false(says(&r, "loads begin too late"));
}

static void test_nothing_learned(void **state)
{
    struct stats_report r = busy_program();

    (void)state;
    r.steps_learned = 0;
    expect(&r, 2, "No repeating sequence of launches was found");
    r.launches_count = 199; /* too early to tell */
    expect(&r, 1, "The link to the GPU is busy");
    r = easy_program();
    r.steps_learned = 0; /* and no matter */
    expect(&r, 1, "Paging costs little");
}

/* Launches that read little of a large weight in place are a remark, no reason to change anything.
 */
static void test_sparse_launches(void **state)
{
    struct stats_report r = easy_program();

    (void)state;
    r.paging_sparse_launches = 199;
    expect(&r, 1, "of it. Nothing to change.");
    r.paging_sparse_launches = 2500;
    expect(&r, 1, "25% of the launches read a little of a large weight over the link, which is");
    assert_true(says(&r, "to load all of it. Nothing to change."));
    r.transfers_h2d_bytes = 0;
    expect(&r, 1, "had to be moved so far. 25% of the launches read a little of a large weight");
    r = busy_program();
    r.paging_sparse_launches = 2500;
    expect(&r, 1, "busy 90% of the time");
}

static void test_launches(void **state)
{
    struct stats_report r = easy_program();

    (void)state;
    r.paging_captured_launches = 199;
    r.paging_unknown_launches = 199;
    expect(&r, 1, "Paging costs little");
    r.paging_captured_launches = 2500;
    expect(&r, 1, "25% of the launches went into CUDA graphs");
    r.paging_captured_launches = 0;
    r.paging_oversized_launches = 199;
    expect(&r, 1, "Paging costs little");
    r.paging_oversized_launches = 200;
    expect(&r, 1,
           "2% of the launches read weights over the link that are larger than all the room");
    assert_true(says(&r, "--max-memory 0=101MiB holds everything"));
    r.paging_oversized_launches = 0;
    r.paging_unknown_launches = 5000;
    r.transfers_h2d_bytes = 0; /* all of it is read in place */
    expect(&r, 1, "For 50% of the launches the driver does not tell which weights they read");
    r.transfers_h2d_bytes = 1;
    expect(&r, 1, "For 50% of the launches the driver does not tell which weights they read");
    strcpy(r.driver, "libcuda.so.1 12030");
    expect(&r, 1, "A driver for CUDA 12.4 or newer tells.");
    strcpy(r.driver, "libcuda.so.1 12040");
    assert_false(says(&r, "CUDA 12.4"));
    strcpy(r.driver, "odd");
    expect(&r, 1, "CUDA 12.4");
    r.budget_bytes[0] = 100 * MIB; /* read over the link where all is in VRAM? */
    r.transfers_h2d_bytes = 0;
    expect(&r, 1, "Everything fits");
}

static void test_trouble(void **state)
{
    struct stats_report r = busy_program();

    (void)state;
    r.paging_ended = 1;
    expect(&r, 2, "A driver call failed and paging ended");
    r.errors_refused = 1;
    expect(&r, 3, "1 allocation could not be paged and stays in VRAM");
    r.errors_refused = 2;
    expect(&r, 3, "2 allocations could not be paged and stay in VRAM");
    r.weights_named_bytes = 0; /* one too many: names matter least */
    assert_false(says(&r, "have no name"));
    assert_true(says(&r, "The link to the GPU is busy"));
}

static void test_budget_beyond_card(void **state)
{
    struct stats_report r = easy_program();

    (void)state;
    r.asked_bytes[0] = 24 * GIB;
    r.card_bytes[0] = 16 * GIB;
    r.budget_bytes[0] = 15 * GIB;
    r.needed_bytes[0] = 14 * GIB;
    r.transfers_h2d_bytes = 0;
    expect(&r, 1,
           "The budget for GPU 0, 24.0 GiB, is more than was free there (16.0 GiB), so berth keeps "
           "to 15.0 GiB");
    r.asked_bytes[0] = 15 * GIB;
    expect(&r, 1, "Everything fits");
    r.asked_bytes[0] = STATS_NO_BUDGET; /* nobody asked */
    expect(&r, 1, "Everything fits");
}

static void test_names(void **state)
{
    struct stats_report r = easy_program();

    (void)state;
    r.weights_named_bytes = 92 * MIB; /* less than one in twenty is not named */
    expect(&r, 1, "Paging costs little");
    r.weights_named_bytes = 90 * MIB;
    expect(&r, 2, "6.0 MiB of the 96.0 MiB of weights have no name here");
    r.weights_ambiguous_bytes = 4 * MIB; /* of those, a checkpoint names none */
    expect(&r, 1, "Paging costs little");
    r.weights_ambiguous_bytes = 0;
    r.weights_named_bytes = 97 * MIB;
    expect(&r, 1, "Paging costs little");
    r.weights_named_bytes = 0;
    expect(&r, 2, "All of the 96.0 MiB of weights have no name here");
    r.budget_bytes[0] = 100 * MIB; /* nobody asks for names where nothing is to be done */
    r.transfers_h2d_bytes = 0;
    expect(&r, 1, "Everything fits");
    r = easy_program();
    r.weights_total_bytes = r.weights_named_bytes = 0;
    expect(&r, 1, "Paging costs little");
}

static void test_off(void **state)
{
    struct stats_report r = busy_program();

    (void)state;
    strcpy(r.backend, "off");
    expect(&r, 1, "Berth is off for this program");
    *r.driver = '\0'; /* nobody has asked for one */
    expect(&r, 1, "The program itself never used the GPU, or found none.");
    assert_false(says(&r, "off"));
    r = busy_program();
    r.budget_bytes[0] = STATS_NO_BUDGET;
    expect(&r, 1, "Nothing is paged");
    r.launches_count = 0;
    expect(&r, 1, "has not used GPU memory yet");
    r.device_count = 0;
    expect(&r, 1, "has not used GPU memory yet");
    r.device_count = 2; /* the first is not paged, the second is */
    r.budget_bytes[1] = 10 * GIB;
    r.needed_bytes[1] = 20 * GIB;
    expect(&r, 1, "--max-memory 1=20.1GiB holds everything");
}

/* A document that an earlier berth wrote says neither what is needed nor what the link did. */
static void test_early_document(void **state)
{
    struct stats_report r = busy_program();

    (void)state;
    r.needed_bytes[0] = r.asked_bytes[0] = r.card_bytes[0] = STATS_NO_BUDGET;
    r.link_bytes_per_s = r.link_share = r.link_span_ns = r.paging_step_bytes = 0;
    assert_false(stats_fits(&r));
    assert_false(says(&r, "Everything fits"));
    r.transfers_h2d_bytes = 0;
    r.budget_bytes[0] = 96 * MIB;
    expect(&r, 1, "Everything fits");
}

static void test_two_gpus(void **state)
{
    struct stats_report r = busy_program();

    (void)state;
    r.device_count = 2;
    r.budget_bytes[1] = 64 * MIB;
    r.needed_bytes[1] = 64 * MIB;
    expect(&r, 1, "0=101MiB");
    assert_true(says(&r, "in each step"));
    r.needed_bytes[1]++; /* whose step is meant is not known */
    expect(&r, 1, "0=101MiB");
    assert_false(says(&r, "in each step"));
}

static void test_extremes(void **state)
{
    static const uint64_t odd[] = {0, 1, UINT64_MAX - 1};
    struct stats_report zero = {0};
    size_t combinations = 0;

    (void)state;
    expect(&zero, 1, "has not used GPU memory yet");
    for (size_t c = 0; c < 3 * 3 * 3 * 3 * 3 * 3; c++) {
        struct stats_report r = busy_program();
        struct stats_advice advice;

        r.budget_bytes[0] = odd[c % 3];
        r.needed_bytes[0] = odd[c / 3 % 3];
        r.card_bytes[0] = odd[c / 9 % 3];
        r.link_bytes_per_s = r.link_span_ns = odd[c / 27 % 3];
        r.paging_step_bytes = r.paging_starved_ns = odd[c / 81 % 3];
        r.launches_count = r.paging_unknown_launches = r.weights_total_bytes = odd[c / 243 % 3];
        stats_advice_make(&r, &advice);
        assert_in_range(advice.count, 1, STATS_ADVICE_MAX);
        for (size_t i = 0; i < advice.count; i++) {
            assert_true(strlen(advice.line[i]) < STATS_ADVICE_BYTES - 1);
            assert_int_equal(advice.line[i][strlen(advice.line[i]) - 1], '.');
            combinations++;
        }
    }
    assert_true(combinations >= 729);
}

static void test_texts(void **state)
{
    char text[STATS_TEXT_BYTES];

    (void)state;
    assert_string_equal(stats_time_text(0, text), "0 s");
    assert_string_equal(stats_time_text(999, text), "999 ns");
    assert_string_equal(stats_time_text(1000, text), "1.0 us");
    assert_string_equal(stats_time_text(999949, text), "999.9 us");
    assert_string_equal(stats_time_text(999960, text), "1.0 ms");
    assert_string_equal(stats_time_text(2500000000, text), "2.5 s");
    assert_string_equal(stats_budget_text(0, text), "0MiB");
    assert_string_equal(stats_budget_text(MIB, text), "1MiB");
    assert_string_equal(stats_budget_text(MIB + 1, text), "2MiB");
    assert_string_equal(stats_budget_text(10 * GIB - 1, text), "10240MiB");
    assert_string_equal(stats_budget_text(10 * GIB, text), "10.0GiB");
    assert_string_equal(stats_budget_text(10 * GIB + 1, text), "10.1GiB");
    assert_string_equal(stats_budget_text(11 * GIB - 1, text), "11.0GiB");
    assert_string_equal(stats_share_text(0, text), "0%");
    assert_string_equal(stats_share_text(0.0001, text), "under 1%");
    assert_string_equal(stats_share_text(0.01, text), "1%");
    assert_string_equal(stats_share_text(1, text), "100%");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_fits),
        cmocka_unit_test(test_busy_link),
        cmocka_unit_test(test_small_card),
        cmocka_unit_test(test_starved),
        cmocka_unit_test(test_nothing_learned),
        cmocka_unit_test(test_launches),
        cmocka_unit_test(test_sparse_launches),
        cmocka_unit_test(test_trouble),
        cmocka_unit_test(test_budget_beyond_card),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_off),
        cmocka_unit_test(test_early_document),
        cmocka_unit_test(test_two_gpus),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
