# Berth. `make help` lists the targets; V=1 shows every command.

BUILD  ?= build
CC     ?= cc
CLANG  ?= clang
PREFIX ?= /usr/local
PYTHON ?= python3

# make DEBUG=1 checks assertions; make SAN=address|undefined|address,undefined|thread instruments.
# Each variant builds into a folder of its own, so that switching costs nothing.
ifneq ($(SAN),)
    comma   := ,
    OUT     := $(BUILD)/san-$(subst $(comma),-,$(SAN))
    SANFLAGS := -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=undefined
    # ThreadSanitizer does not see fences; those of the statistics guard against other processes.
    SANFLAGS += $(if $(findstring thread,$(SAN)),-Wno-tsan)
    DEBUG   ?= 1
else ifeq ($(DEBUG),1)
    OUT     := $(BUILD)/debug
else
    OUT     := $(BUILD)
endif

OPT     := $(if $(filter 1,$(DEBUG)),-O1 -g -DBERTH_DEBUG=1,-O2 -g)
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror
CPPFLAGS += -D_GNU_SOURCE -DHASH_NONFATAL_OOM=1 -I. -Ishim -Ipolicy
CFLAGS  := -std=gnu11 $(OPT) -fPIC -fvisibility=hidden -pthread $(WARN) $(SANFLAGS) $(EXTRA_CFLAGS)
LDFLAGS += -pthread $(SANFLAGS)
DEPFLAGS = -MMD -MP

ifneq ($(V),1)
    Q := @
    say = @printf '  %-8s %s\n' $(1) $(2)
endif

obj = $(patsubst %,$(OUT)/obj/%.o,$(basename $(1)))

POLICY_SRC  := $(sort $(wildcard policy/*.c))
SHIM_SRC    := $(sort $(wildcard shim/*.c shim/*.S))
TOOLS_SRC   := $(sort $(wildcard tools/*.c))
SIM_SRC     := $(sort $(wildcard tests/simcuda/*.c tests/simcuda/*.S))
CONF_SRC    := $(sort $(wildcard tests/conformance/*.c))
MINILM_SRC  := $(sort $(wildcard tests/apps/minilm/*.c))
UNIT_SRC    := $(sort $(wildcard tests/unit/test_*.c))
PRELOAD_SRC := $(sort $(wildcard tests/preload/*.c))
PRELOAD_LIB := $(filter tests/preload/common.c,$(PRELOAD_SRC))
PRELOAD_APP := $(filter-out $(PRELOAD_LIB),$(PRELOAD_SRC))
GPU_SRC     := $(sort $(wildcard tests/gpu/*.c))
STRESS_SRC  := $(sort $(wildcard tests/preload/stress/*.c))
FUZZ_SRC    := $(sort $(wildcard tests/fuzz/fuzz_*.c))
KERNELS     := $(sort $(wildcard tests/apps/kernels/*.cu))

# The shim without the names that it exports, for unit tests; the stub and the library itself apart.
SHIM_STUB   := shim/stub.c
SHIM_LIB    := $(filter-out $(SHIM_STUB),$(SHIM_SRC))
# What the command shares with the shim: the driver's path, the layout of the statistics file.
SHARED_SRC  := $(wildcard shim/driver_path.c shim/stats_file.c shim/stats_report.c)

LIBBERTH := $(OUT)/libberth.so
STUB     := $(OUT)/berth-stub/libcuda.so
SIMCUDA  := $(OUT)/simcuda/libcuda.so.1
BERTH    := $(OUT)/berth
MINILM   := $(OUT)/apps/minilm
CONFORM  := $(OUT)/conformance
BENCH    := $(addprefix $(OUT)/bench/,launch workload growth)
NAMING   := $(OUT)/bench/content-cost
READING  := $(OUT)/bench/readers-cost
PLANNING := $(OUT)/bench/planner-cost
PROBE    := $(OUT)/gpu/probe
UNIT     := $(patsubst tests/unit/%.c,$(OUT)/unit/%,$(UNIT_SRC))
PRELOAD  := $(patsubst tests/preload/%.c,$(OUT)/preload/%,$(PRELOAD_APP))
FUZZERS  := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(FUZZ_SRC))
PTX      := $(patsubst tests/apps/kernels/%.cu,$(OUT)/ptx/%.ptx,$(KERNELS))

.PHONY: all tests check fuzz fuzz-programs soak demo bench mutate install uninstall clean help deps format
.DELETE_ON_ERROR:
.SECONDARY:

all: $(LIBBERTH) $(STUB) $(BERTH)

tests: all $(SIMCUDA) $(UNIT) $(PRELOAD) $(CONFORM) $(MINILM) $(PROBE) $(OUT)/bench/workload

help:
	@sed -n 's/^#: //p' $(firstword $(MAKEFILE_LIST))

#: make              the library, the command
#: make check        every test that this machine can run; closes with a count
#: make fuzz         any bytes for each parser, with sanitizers: SECONDS=60 of processor time each; FUZZ="json ..."
#: make soak         random work under random budgets, every byte checked; SEEDS=100 FIRST=1
#: make demo         a real model in a third of the memory it needs, bits compared
#: make bench        speed, memory and growth against their targets; results into bench/results/
#: make mutate       break lines of the shim, count what the tests catch; MUTATE="--seed 2 ..."
#: make deps         install what is missing to build (apt-get); DEPS=skip makes it a no-op
#: make install      DESTDIR= PREFIX=/usr/local
#: make uninstall    the same DESTDIR= PREFIX=
#: make clean        remove build/
#: make format       run clang-format over the sources
#: V=1               show every command
#: DEBUG=1           assertions on, into build/debug
#: SAN=LIST          address, undefined, thread (comma-separated), into build/san-LIST

deps:
	$(Q)DEPS=$(DEPS) tests/deps

# Objects -----------------------------------------------------------------------------------------

$(OUT)/obj/%.o: %.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(DEPFLAGS) -c $< -o $@

$(OUT)/obj/%.o: %.S
	$(call say,AS,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(DEPFLAGS) -c $< -o $@

$(OUT)/libpolicy.a: $(call obj,$(POLICY_SRC))
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

# The shim ----------------------------------------------------------------------------------------

$(LIBBERTH): $(call obj,$(SHIM_LIB)) $(OUT)/libpolicy.a shim/exports.map
	$(call say,LD,$@)
	$(Q)$(CC) -shared -o $@ $(call obj,$(SHIM_LIB)) $(OUT)/libpolicy.a $(LDFLAGS) \
	    -Wl,-soname,libcuda.so.1 -Wl,--version-script=shim/exports.map -Wl,-z,defs -Wl,-Bsymbolic \
	    -lelf -lzstd -llz4 -lcjson -lm -ldl

# A second name: programs that dlopen libcuda.so reach libberth.so through this one.
$(STUB): $(call obj,$(SHIM_STUB)) $(LIBBERTH)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -shared -o $@ $(call obj,$(SHIM_STUB)) $(LDFLAGS) -Wl,-soname,libcuda.so \
	    -Wl,--no-as-needed $(LIBBERTH) -Wl,-rpath,'$$ORIGIN/..'

# The command -------------------------------------------------------------------------------------

$(BERTH): $(call obj,$(TOOLS_SRC) $(SHARED_SRC)) $(OUT)/libpolicy.a
	$(call say,LD,$@)
	$(Q)$(CC) -o $@ $(call obj,$(TOOLS_SRC) $(SHARED_SRC)) $(OUT)/libpolicy.a $(LDFLAGS) \
	    -lcjson -lm -ldl

# The test bench ----------------------------------------------------------------------------------

$(SIMCUDA): $(call obj,$(SIM_SRC)) tests/simcuda/exports.map
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -shared -o $@ $(call obj,$(SIM_SRC)) $(LDFLAGS) -Wl,-soname,libcuda.so.1 \
	    -Wl,--version-script=tests/simcuda/exports.map -Wl,-z,defs -Wl,-Bsymbolic \
	    -Wl,-z,nodelete -lzstd -llz4 -lm -ldl

# Kernels are CUDA C, compiled to PTX by clang without a toolkit and embedded with .incbin.
$(OUT)/ptx/%.ptx: tests/apps/kernels/%.cu $(wildcard tests/apps/kernels/*.h)
	$(call say,PTX,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) -x cuda --cuda-device-only --cuda-gpu-arch=sm_70 -nocudainc -nocudalib -O2 \
	    -ffp-contract=off -Wno-unknown-cuda-version -S $< -o $@

$(OUT)/obj/ptx/%.o: $(OUT)/ptx/%.ptx tests/apps/kernels/embed.S
	$(call say,AS,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -DPTX_NAME=ptx_$* -DPTX_FILE='"$<"' -c tests/apps/kernels/embed.S -o $@

PTX_OBJ := $(patsubst %,$(OUT)/obj/ptx/%.o,$(notdir $(basename $(KERNELS))))
WITH_SIM = -L$(dir $(SIMCUDA)) -l:libcuda.so.1

$(OUT)/preload/%: $(OUT)/obj/tests/preload/%.o $(call obj,$(PRELOAD_LIB)) $(PTX_OBJ) $(SIMCUDA)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -o $@ $(filter %.o,$^) $(LDFLAGS) $(WITH_SIM) -lm -ldl

# A program too large for one file.
$(OUT)/preload/stress: $(call obj,$(STRESS_SRC))

$(CONFORM): $(call obj,$(CONF_SRC)) $(PTX_OBJ) $(SIMCUDA)
	$(call say,LD,$@)
	$(Q)$(CC) -o $@ $(filter %.o,$^) $(LDFLAGS) $(WITH_SIM) -lm -ldl

$(PROBE): $(call obj,$(GPU_SRC)) $(PTX_OBJ) $(SIMCUDA)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -o $@ $(filter %.o,$^) $(LDFLAGS) $(WITH_SIM) -lm -ldl

$(OUT)/bench/launch: $(call obj,bench/launch.c)
$(OUT)/bench/growth: $(call obj,bench/growth.c)
$(OUT)/bench/workload: $(call obj,bench/workload.c bench/placement.c bench/shapes.c)
$(BENCH): $(PTX_OBJ) $(SIMCUDA)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -o $@ $(filter %.o,$^) $(LDFLAGS) $(WITH_SIM) -lm -ldl

# This one times the shim's own station, without the programs' entry to it.
$(NAMING): $(OUT)/obj/bench/content_cost.o $(OUT)/libshim.a $(OUT)/libpolicy.a $(SIMCUDA)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -o $@ $(filter %.o,$^) $(LDFLAGS) -Wl,--wrap=content_find -Wl,--start-group $(filter %.a,$^) -Wl,--end-group \
	    $(WITH_SIM) -lelf -lzstd -llz4 -lcjson -lm -ldl

# And these time policy's readers and its planner alone.
$(READING): $(OUT)/obj/bench/readers_cost.o
$(PLANNING): $(OUT)/obj/bench/planner_cost.o
$(READING) $(PLANNING): $(OUT)/libpolicy.a
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LDFLAGS) -lcjson -lm -ldl

$(MINILM): $(call obj,$(MINILM_SRC)) $(PTX_OBJ) $(SIMCUDA)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -o $@ $(filter %.o,$^) $(LDFLAGS) $(WITH_SIM) -lcjson -lm -ldl

# A unit test links whatever it needs of the shim, the policy library and the simulator's translator.
$(OUT)/libshim.a: $(call obj,$(filter-out shim/entry%.c shim/entry%.S,$(SHIM_LIB)))
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(OUT)/libsimcuda.a: $(call obj,$(SIM_SRC))
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(OUT)/unit/%: $(OUT)/obj/tests/unit/%.o $(OUT)/libshim.a $(OUT)/libpolicy.a $(OUT)/libsimcuda.a
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -o $@ $(filter %.o,$^) $(LDFLAGS) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group \
	    -lcmocka -lelf -lzstd -llz4 -lcjson -lm -ldl

# What the command judges by, and nothing of the rest of it.
$(OUT)/unit/test_stats_advice: $(call obj,tools/stats_advice.c tools/stats_text.c)

# It acts while the planner is at work.
$(OUT)/unit/test_residency_plan: LDFLAGS += -Wl,--wrap=schedule_plan_create

# These open the simulated driver as a program would.
$(addprefix $(OUT)/unit/test_simcuda_,free gate memory_calls pace_run strict): | $(SIMCUDA)

# Fuzzers: instrumented objects of their own, whatever SAN and DEBUG say. What there is to build is known
# only when it is asked for, since the answer takes a run of the compiler.
FUZZFLAGS := -std=gnu11 -O1 -g -fno-omit-frame-pointer -pthread -DBERTH_DEBUG=1 $(WARN) \
    -fsanitize=address,undefined -fno-sanitize-recover=undefined

ifneq ($(filter fuzz-programs,$(MAKECMDGOALS)),)
    FUZZ_MISSING := $(shell echo 'int LLVMFuzzerTestOneInput(void); int LLVMFuzzerTestOneInput(void) \
        { return 0; }' | $(CLANG) -x c - -fsanitize=fuzzer,address -o /dev/null >/dev/null 2>&1 || \
        echo "$(CLANG) cannot link a fuzzer: it is not there, or its libFuzzer is not installed")
endif

fuzz-programs: $(if $(FUZZ_MISSING),,$(FUZZERS))
	$(Q)mkdir -p $(BUILD)/fuzz
	$(Q)$(if $(FUZZ_MISSING),echo '$(FUZZ_MISSING)' >$(BUILD)/fuzz/skip,rm -f $(BUILD)/fuzz/skip)

$(BUILD)/fuzz/obj/%.o: %.c
	$(call say,FUZZCC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(CPPFLAGS) $(FUZZFLAGS) -fsanitize=fuzzer-no-link $(DEPFLAGS) -c $< -o $@

$(BUILD)/fuzz/libpolicy.a: $(patsubst %.c,$(BUILD)/fuzz/obj/%.o,$(POLICY_SRC))
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(FUZZERS): $(BUILD)/fuzz/%: $(BUILD)/fuzz/obj/tests/fuzz/%.o $(BUILD)/fuzz/libpolicy.a
	$(call say,FUZZLD,$@)
	$(Q)$(CLANG) $(FUZZFLAGS) -fsanitize=fuzzer $^ -lcjson -lm -o $@

# Running -----------------------------------------------------------------------------------------

check: deps
	$(Q)$(MAKE) --no-print-directory tests
	$(Q)$(if $(SAN),,$(MAKE) --no-print-directory fuzz-programs)
	$(Q)OUT=$(OUT) SAN=$(SAN) FUZZ_OUT=$(BUILD)/fuzz tests/check

SECONDS ?= 60

fuzz: deps
	$(Q)$(MAKE) --no-print-directory fuzz-programs
	$(Q)FUZZ_OUT=$(BUILD)/fuzz tests/fuzz/run --seconds $(SECONDS) $(FUZZ)

SEEDS ?= 100
FIRST ?= 1

soak: deps
	$(Q)$(MAKE) --no-print-directory all $(SIMCUDA) $(OUT)/preload/stress
	$(Q)OUT=$(OUT) SAN=$(SAN) tests/soak --seeds $(SEEDS) --first $(FIRST)

demo: deps
	$(Q)$(MAKE) --no-print-directory all $(SIMCUDA) $(MINILM)
	$(Q)OUT=$(OUT) tests/demo

bench: deps
	$(Q)$(MAKE) --no-print-directory all $(SIMCUDA) $(MINILM) $(BENCH) $(NAMING) $(READING) $(PLANNING)
	$(Q)OUT=$(OUT) bench/run
	$(Q)OUT=$(OUT) bench/content
	$(Q)OUT=$(OUT) bench/readers
	$(Q)OUT=$(OUT) bench/planner

mutate: deps
	$(Q)tests/mutate $(MUTATE)

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/berth/berth-stub
	install -m 755 $(BERTH) $(DESTDIR)$(PREFIX)/bin/berth
	install -m 644 $(LIBBERTH) $(DESTDIR)$(PREFIX)/lib/berth/libberth.so
	install -m 644 $(STUB) $(DESTDIR)$(PREFIX)/lib/berth/berth-stub/libcuda.so
	install -d $(DESTDIR)$(PREFIX)/share/berth
	install -m 644 policy/policy.schema.json $(DESTDIR)$(PREFIX)/share/berth/policy.schema.json

uninstall:
	rm -rf $(DESTDIR)$(PREFIX)/bin/berth $(DESTDIR)$(PREFIX)/lib/berth $(DESTDIR)$(PREFIX)/share/berth

clean:
	rm -rf $(BUILD)

format:
	$(Q)clang-format -i $$(git ls-files '*.c' '*.h')

-include $(shell find $(OUT)/obj $(BUILD)/fuzz/obj -name '*.d' 2>/dev/null)
