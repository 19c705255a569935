# fuzz.mk - libFuzzer targets.  Every tests/fuzz/fuzz_NAME.c is one: it defines
# LLVMFuzzerTestOneInput() and may call anything below src/.  Its seeds are in
# tests/fuzz/corpus/NAME/; what a run finds grows in build/fuzz/corpus/NAME/,
# and an input that breaks something is kept as build/fuzz/NAME-crash-*: once
# the fault is gone it goes into the seeds.

FUZZ_SECONDS       ?= 3600
FUZZ_SHORT_SECONDS ?= 2
FUZZ_CC            ?= clang
FUZZ_WERROR        ?=
FUZZ_OPTIMIZE      ?= -O1
FUZZ_BUILD         := build/fuzz
FUZZ_NAMES  := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_LIB    := $(FUZZ_BUILD)/libmta.a
FUZZ_OBJS   := $(SRCS:%.c=$(FUZZ_BUILD)/%.o)
FUZZ_RUN    := $(FUZZ_NAMES:%=$(FUZZ_BUILD)/%)
FUZZ_CFLAGS  = -std=c99 -pedantic $(WARN) $(FUZZ_WERROR) $(FUZZ_OPTIMIZE) -g1 \
               -fno-omit-frame-pointer -fno-sanitize-recover=undefined \
               $(shell pkg-config --cflags $(PKGS)) -pthread

$(FUZZ_BUILD)/src/%.o: src/%.c Makefile tests/fuzz/fuzz.mk
	@mkdir -p $(@D)
	$(call short,CC,$<)$(FUZZ_CC) $(CPPFLAGS) $(FUZZ_CFLAGS) -MMD -MP -c -o $@ $< \
	    -fsanitize=fuzzer-no-link,address,undefined

$(FUZZ_LIB): $(FUZZ_OBJS)
	@rm -f $@
	$(call short,AR,$@)ar rcs $@ $(FUZZ_OBJS)

$(FUZZ_RUN): $(FUZZ_BUILD)/%: tests/fuzz/fuzz_%.c $(FUZZ_LIB)
	$(call short,LD,$@)$(FUZZ_CC) $(CPPFLAGS) $(FUZZ_CFLAGS) -MMD -MP -MF $@.d -o $@ $< \
	    $(FUZZ_LIB) -fsanitize=fuzzer,address,undefined $(LDLIBS)

# The whole program by clang, from the same objects.
$(FUZZ_BUILD)/mta: mta.c $(FUZZ_LIB)
	$(call short,LD,$@)$(FUZZ_CC) $(CPPFLAGS) $(FUZZ_CFLAGS) -MMD -MP \
	    -MF $@.d -o $@ $< $(FUZZ_LIB) -fsanitize=address,undefined $(LDLIBS)

fuzz_build: $(FUZZ_RUN) $(FUZZ_BUILD)/mta

# No warning of clang in any file, and a program of it that runs.
clang_build: FUZZ_WERROR := -Werror
clang_build: fuzz_build
	$(FUZZ_BUILD)/mta version

fuzz:
	@tests/tools/packages.sh fuzz
	@$(MAKE) --no-print-directory fuzz_build
	tests/fuzz/run.sh $(FUZZ_SECONDS) $(FUZZ_BUILD) $(FUZZ_NAMES)

fuzz_short: $(FUZZ_RUN)
	tests/fuzz/run.sh $(FUZZ_SHORT_SECONDS) $(FUZZ_BUILD) $(FUZZ_NAMES)

# Seeds, and every input that once broke something, without libFuzzer: with
# any compiler, and as a part of the unit tests.
REPLAY := $(FUZZ_NAMES:%=$(BUILD)/replay/%)

$(REPLAY): $(BUILD)/replay/%: tests/fuzz/fuzz_%.c tests/fuzz/replay.c $(LIB)
	@mkdir -p $(@D)
	$(call short,LD,$@)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(LDFLAGS) -MMD -MP -MF $@.d -o $@ \
	    $< tests/fuzz/replay.c $(LIB) $(LDLIBS)

# All that the tests run, built and not run.
test_build: $(PROGRAM) $(UNIT_RUN) $(REPLAY) $(TOOLS) $(BENCH) $(FAULTS)

fuzz_replay: $(REPLAY)
	@for name in $(FUZZ_NAMES); do \
	    $(BUILD)/replay/$$name tests/fuzz/corpus/$$name || exit 1; \
	done

-include $(FUZZ_OBJS:.o=.d) $(FUZZ_RUN:%=%.d) $(REPLAY:%=%.d) $(FUZZ_BUILD)/mta.d

.PHONY: clang_build fuzz fuzz_build fuzz_replay fuzz_short test_build
