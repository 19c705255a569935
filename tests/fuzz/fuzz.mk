# fuzz.mk - libFuzzer targets.  Every tests/fuzz/fuzz_NAME.c is one: it defines
# LLVMFuzzerTestOneInput() and may call anything below src/.  Its seeds are in
# tests/fuzz/corpus/NAME/; what a run finds grows in build/fuzz/corpus/NAME/,
# and an input that breaks something is kept as build/fuzz/NAME-crash-*: once
# the fault is gone it goes into the seeds.

FUZZ_SECONDS       ?= 3600
FUZZ_SHORT_SECONDS ?= 4
FUZZ_CC            ?= clang
FUZZ_BUILD         := build/fuzz
FUZZ_NAMES  := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_LIB    := $(FUZZ_BUILD)/libmta.a
FUZZ_OBJS   := $(SRCS:%.c=$(FUZZ_BUILD)/%.o)
FUZZ_RUN    := $(FUZZ_NAMES:%=$(FUZZ_BUILD)/%)
FUZZ_CFLAGS  = -std=c99 $(WARN) -O1 -g -fno-omit-frame-pointer \
               -fno-sanitize-recover=undefined \
               $(shell pkg-config --cflags $(PKGS)) -pthread

$(FUZZ_BUILD)/src/%.o: src/%.c Makefile tests/fuzz/fuzz.mk
	@mkdir -p $(@D)
	$(call short,CC,$<)$(FUZZ_CC) $(CPPFLAGS) $(FUZZ_CFLAGS) -MMD -MP -c -o $@ $< \
	    -fsanitize=fuzzer-no-link,address,undefined

$(FUZZ_BUILD)/src/net/listen.o $(FUZZ_BUILD)/src/base/fs.o \
$(FUZZ_BUILD)/src/base/rundir.o: \
    CPPFLAGS += -D_GNU_SOURCE

$(FUZZ_LIB): $(FUZZ_OBJS)
	@rm -f $@
	$(call short,AR,$@)ar rcs $@ $(FUZZ_OBJS)

$(FUZZ_RUN): $(FUZZ_BUILD)/%: tests/fuzz/fuzz_%.c $(FUZZ_LIB)
	$(call short,LD,$@)$(FUZZ_CC) $(CPPFLAGS) $(FUZZ_CFLAGS) -MMD -MP -MF $@.d -o $@ $< \
	    $(FUZZ_LIB) -fsanitize=fuzzer,address,undefined $(LDLIBS)

# Every input found so far is tried again first.  A target is silent while
# all is well; the log of the one that fails is shown.
define FUZZ_ALL
@sum=0; for name in $(FUZZ_NAMES); do \
    corpus=$(FUZZ_BUILD)/corpus/$$name log=$(FUZZ_BUILD)/$$name.log; \
    seeds=tests/fuzz/corpus/$$name; [ -d $$seeds ] || seeds=; \
    mkdir -p $$corpus; \
    $(FUZZ_BUILD)/$$name -max_total_time=$(1) -timeout=10 -rss_limit_mb=2048 \
        -artifact_prefix=$(FUZZ_BUILD)/$$name- -print_final_stats=1 \
        $$corpus $$seeds > $$log 2>&1 || \
        { cat $$log; echo "fuzz: $$name failed"; exit 1; }; \
    n=$$(sed -n 's/^stat::number_of_executed_units: *//p' $$log); \
    sum=$$((sum + n)); \
    echo "fuzz: $$name: $$n inputs, no fault"; \
done; echo "fuzz: $(words $(FUZZ_NAMES)) targets, $$sum inputs, no fault"
endef

fuzz_build: $(FUZZ_RUN)

fuzz:
	@tests/tools/packages.sh fuzz
	@$(MAKE) --no-print-directory fuzz_build
	$(call FUZZ_ALL,$(FUZZ_SECONDS))

fuzz_short: $(FUZZ_RUN)
	$(call FUZZ_ALL,$(FUZZ_SHORT_SECONDS))

# Seeds, and every input that once broke something, without libFuzzer: with
# any compiler, and as a part of the unit tests.
REPLAY := $(FUZZ_NAMES:%=$(BUILD)/replay/%)

$(REPLAY): $(BUILD)/replay/%: tests/fuzz/fuzz_%.c tests/fuzz/replay.c $(LIB)
	@mkdir -p $(@D)
	$(call short,LD,$@)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(LDFLAGS) -MMD -MP -MF $@.d -o $@ \
	    $< tests/fuzz/replay.c $(LIB) $(LDLIBS)

fuzz_replay: $(REPLAY)
	@for name in $(FUZZ_NAMES); do \
	    $(BUILD)/replay/$$name tests/fuzz/corpus/$$name || exit 1; \
	done

-include $(FUZZ_OBJS:.o=.d) $(FUZZ_RUN:%=%.d) $(REPLAY:%=%.d)

.PHONY: fuzz fuzz_build fuzz_replay fuzz_short
