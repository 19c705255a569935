# mta - GNU make.  `make help` lists the targets.
#
# Every .c file below src/ is part of the program; nothing is listed by hand.
# Objects and generated files go to build/ (build/san-... for SAN=...), never
# into the sources.

VERSION  := 0.1.0
CC       ?= cc
PREFIX   ?= /usr/local
DESTDIR  ?=
SAN      ?=

comma    := ,
BUILD    := build$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))
PROGRAM  := $(if $(SAN),$(BUILD)/mta,mta)

PKGS     := libconfig libidn2 libssl libcrypto
CPPFLAGS += -Iinclude -include include/base/banned.h -D_XOPEN_SOURCE=700 \
            -D_DEFAULT_SOURCE -DMTA_VERSION='"$(VERSION)"'
WARN     := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
            -Wconversion -Wformat=2 -Wvla
HARDEN   := $(if $(SAN),,-D_FORTIFY_SOURCE=2) -fstack-protector-strong -fPIE
# With sanitizers -O1 runs as fast and compiles in half the time; reports need
# lines only.
CFLAGS   ?= $(if $(SAN),-O1 -g1,-O2 -g)
ALL_CFLAGS = -std=c99 -pedantic $(WARN) $(HARDEN) $(CFLAGS) \
            $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer) \
            $(shell pkg-config --cflags $(PKGS)) -pthread
LDFLAGS  += -pie -Wl,-z,relro,-z,now $(if $(SAN),-fsanitize=$(SAN))
LDLIBS   += $(shell pkg-config --libs $(PKGS)) -lresolv -pthread

# One short line for each file that is made: `$(call short,CC,$<)command`.
# V=1 prints the commands, -s neither.
silent    = $(findstring s,$(firstword -$(MAKEFLAGS)))
short     = $(if $(V),,@$(if $(silent),,echo '$1 $2'; ))

SRCS     := $(sort $(shell find src -name '*.c'))
OBJS     := $(SRCS:%.c=$(BUILD)/%.o)
LIB      := $(BUILD)/libmta.a
UNIT     := $(sort $(wildcard tests/unit/*.c tests/kit/*.c))
UNIT_OBJS:= $(UNIT:%.c=$(BUILD)/%.o)

all: $(PROGRAM)

$(PROGRAM): $(BUILD)/mta.o $(LIB)
	$(call short,LD,$@)$(CC) $(LDFLAGS) -o $@ $(BUILD)/mta.o $(LIB) $(LDLIBS)

$(LIB): $(OBJS)
	@rm -f $@
	$(call short,AR,$@)ar rcs $@ $(OBJS)

# In every build: accept4(), which POSIX has only since 2024, saves four calls
# a connection; struct ucred, the user of a client.
%/src/net/listen.o: CPPFLAGS += -D_GNU_SOURCE
# memfd_create() and seals: copies of files that nothing can change.
%/src/base/handdown.o: CPPFLAGS += -D_GNU_SOURCE
# struct ucred: the user of a peer.
%/src/control/server.o: CPPFLAGS += -D_GNU_SOURCE
# syncfs() and sync_file_range(): one commit of the journal for many files.
# statx(): when a file was born.
%/src/base/fs.o: CPPFLAGS += -D_GNU_SOURCE
# O_PATH: a directory that may be passed but not read.
%/src/cli/sendmail_connect.o: CPPFLAGS += -D_GNU_SOURCE
%/src/base/rundir.o: CPPFLAGS += -D_GNU_SOURCE
%/src/base/landlock.o: CPPFLAGS += -D_GNU_SOURCE

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call short,CC,$<)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# --- tests ----------------------------------------------------------------
# A suite a file: tests/unit/test_NAME.c defines Suite *NAME_suite(void).

UNIT_RUN  := $(BUILD)/unit
SUITES_H  := $(BUILD)/tests/unit/suites.h
UNIT_NAMES:= $(patsubst tests/unit/test_%.c,%,$(wildcard tests/unit/test_*.c))

$(SUITES_H): $(UNIT) Makefile
	@mkdir -p $(@D)
	@for s in $(UNIT_NAMES); do echo "SUITE($$s)"; done > $@

$(UNIT_OBJS): CPPFLAGS += -I$(BUILD)/tests/unit -Itests/kit
# Most is run for less time than it takes to optimize it.
$(BUILD)/tests/unit/%.o: CFLAGS = $(if $(SAN),-O0 -g1,-O1 -g)
$(BUILD)/tests/unit/main.o: $(SUITES_H)

$(UNIT_RUN): $(UNIT_OBJS) $(LIB)
	$(call short,LD,$@)$(CC) $(LDFLAGS) -o $@ $(UNIT_OBJS) $(LIB) \
	    $(shell pkg-config --libs check) $(LDLIBS)

test_units: $(UNIT_RUN) fuzz_replay
	tests/tools/suites.sh $(if $(SAN),sanitizers,plain) $(UNIT_RUN)

test_memory: $(UNIT_RUN)
	tests/tools/suites.sh valgrind $(UNIT_RUN)

# Against the built binary and real counterparts.  With sanitizers:
# make test_system SAN=address,undefined.  SYSTEM selects: files, -k, ...
PYTEST ?= /usr/bin/python3 -m pytest
JOBS   ?= 6
SYSTEM ?= tests/system
TOOLS  := $(patsubst tests/tools/%.c,$(BUILD)/tools/%,$(wildcard tests/tools/*.c)) \
          $(BUILD)/tools/timeshift.so

$(BUILD)/tools/%: tests/tools/%.c $(LIB)
	@mkdir -p $(@D)
	$(call short,CC,$<)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $< \
	    $(LIB) $(LDLIBS)

BENCH  := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(wildcard tests/bench/*.c))

$(BUILD)/bench/%: tests/bench/%.c tests/bench/secure.h
	@mkdir -p $(@D)
	$(call short,CC,$<)$(CC) -O2 -g -Wall -Wextra -o $@ $< \
	    -Wl,--as-needed -lssl -lcrypto

# To be preloaded; without the sanitizers, which the program brings.
$(BUILD)/tools/timeshift.so: tests/system/timeshift.c
	@mkdir -p $(@D)
	$(call short,CC,$<)$(CC) -O2 -g -Wall -Wextra -shared -fPIC -o $@ $< -ldl

# To be preloaded too: fails the calls that it is told to.
FAULTS := $(BUILD)/faults/shim.so

$(FAULTS): tests/faults/shim.c tests/faults/calls.h
	@mkdir -p $(@D)
	$(call short,CC,$<)$(CC) -O2 -g -Wall -Wextra -shared -fPIC -o $@ $<

RUN_SYSTEM = TOOLS=$(abspath $(BUILD)/tools) BENCH=$(abspath $(BUILD)/bench) \
	    FAULTS=$(abspath $(FAULTS)) $(PYTEST) -q -rfEs -p no:cacheprovider -n $(JOBS)

test_system: $(PROGRAM) $(TOOLS) $(BENCH) $(FAULTS)
	MTA=$(abspath $(PROGRAM)) $(RUN_SYSTEM) $(SYSTEM)

# The program under valgrind, in tests marked `memory`, which between them come
# through most of it: commands, bodies in memory and on disk, mailboxes, lanes,
# notices, a queue that is read again, reload and stop.
MEMORY := -m memory

test_system_memory: $(PROGRAM) $(TOOLS) $(BENCH) $(FAULTS)
	TEST_DEADLINE=120 VALGRIND_MTA=$(abspath $(PROGRAM)) \
	    MTA=$(abspath tests/tools/under_valgrind.sh) \
	    $(RUN_SYSTEM) $(MEMORY) tests/system

# All of them, but for noise at random.
memory: MEMORY := -k 'not at_random'
memory: test_system_memory

# All system tests with a program whose calls come late now and then, as on a
# machine that has other things to do.
NAPS ?= 4,100
naps: $(PROGRAM) $(TOOLS) $(BENCH) $(FAULTS)
	MTA=$(abspath tests/tools/with_naps.sh) NAPS=$(NAPS) \
	    NAPPING_MTA=$(abspath $(PROGRAM)) $(RUN_SYSTEM) $(SYSTEM)

# Smuggling at random for longer; HOSTILE_SEED repeats a run.
HOSTILE_CASES ?= 50000
hostile:
	HOSTILE_CASES=$(HOSTILE_CASES) $(MAKE) --no-print-directory test_system \
	    SYSTEM="-s -k at_random tests/system/test_smuggling.py" JOBS=0
	$(MAKE) --no-print-directory test_system \
	    SYSTEM="tests/system/test_hostile_*.py tests/system/test_clock.py"

# The sender, which alone has threads, with ThreadSanitizer.
test_threads:
	$(MAKE) --no-print-directory SAN=thread test_system \
	    SYSTEM="tests/system/test_send_*.py"

test_style: $(PROGRAM)
	tests/tools/style.py
	tests/tools/style_selftest.sh
	tests/tools/exports.py $(BUILD)/mta.o $(OBJS)
	clang-format --dry-run -Werror mta.c $(SRCS) \
	    $(shell find include -name '*.h') $(UNIT)
	tests/tools/check_generated.sh ./$(PROGRAM)
	mandoc -T lint -W warning docs/*.[158] docs/man/*
	tests/tools/check_events.py
	tests/tools/check_requirements.py
	tests/tools/check_faults.py
	tests/tools/check_docs.py
	docs/pictures/make.py --check

# All of it; the last line counts.  What is missing is installed first.
tests:
	@tests/tools/packages.sh test fuzz report
	@{ tests/tools/packages.sh peers && tests/bench/unpack.sh build/peers; } || \
	    echo "no Exim and OpenSMTPD, for the reason above: tests are skipped"
	@tests/tools/all.sh

# Hosts and name servers of bad habits beside healthy ones, for hours of the
# program's time.  LIVENESS_FLAGS='--seed N' repeats a run, also of the short
# form, which prints the seed that it took at random.
LEAP             := $(BUILD)/liveness/leap.so
LIVENESS_SECONDS ?= 600
LIVENESS_FLAGS   ?= --seconds $(LIVENESS_SECONDS)

# To be preloaded; as timeshift.so.
$(LEAP): tests/liveness/leap.c
	@mkdir -p $(@D)
	$(call short,CC,$<)$(CC) -O2 -g -Wall -Wextra -shared -fPIC -o $@ $< -ldl

liveness: $(PROGRAM) $(LEAP)
	MTA=$(abspath $(PROGRAM)) LEAP=$(abspath $(LEAP)) \
	    /usr/bin/python3 tests/liveness/liveness.py $(LIVENESS_FLAGS)

liveness_short: LIVENESS_FLAGS = --minutes 60 --seed 2 --random
liveness_short: liveness

# One cure less in a copy of the tree, each in turn: a run must see it.
liveness_mutants: $(PROGRAM) $(LEAP)
	LEAP=$(abspath $(LEAP)) /usr/bin/python3 tests/liveness/mutants.py \
	    $(MUTANTS)

# kill -9 anywhere, every message accounted for.  CRASH_SEED repeats a run.
CRASH_MESSAGES ?= 10000
CRASH_KILLS    ?= 300
crash: $(PROGRAM)
	MTA=$(abspath $(PROGRAM)) /usr/bin/python3 tests/crash/crash.py \
	    --messages $(CRASH_MESSAGES) --kills $(CRASH_KILLS)

crash_short: $(PROGRAM)
	MTA=$(abspath $(PROGRAM)) /usr/bin/python3 tests/crash/crash.py \
	    --messages 1000 --kills 30 --pause 0.3

# Real OpenSMTPD, Exim and Postfix, pauses and kills.  Needs root.
COUNTERPARTS_FLAGS ?=
counterparts: $(PROGRAM)
	@tests/tools/packages.sh build peers
	tests/bench/unpack.sh build/peers
	MTA=$(abspath $(PROGRAM)) /usr/bin/python3 \
	    tests/counterparts/counterparts.py $(COUNTERPARTS_FLAGS)

# Lives with power cuts in them, see tests/kit/power.h, handover_life.h and
# power_delivery.h.
POWERCUT_SECONDS ?= 600
POWERCUT_SEED    ?= $(shell date +%s)
powercut: $(UNIT_RUN)
	CK_FORK=no CK_RUN_SUITE=powercut POWERCUT_SECONDS=$(POWERCUT_SECONDS) \
	    POWERCUT_SEED=$(POWERCUT_SEED) $(UNIT_RUN)
	CK_FORK=no CK_RUN_SUITE=powercut_handover \
	    POWERCUT_SECONDS=$(POWERCUT_SECONDS) \
	    POWERCUT_SEED=$(POWERCUT_SEED) $(UNIT_RUN)
	CK_FORK=no CK_RUN_SUITE=powercut_delivery \
	    POWERCUT_SECONDS=$(POWERCUT_SECONDS) \
	    POWERCUT_SEED=$(POWERCUT_SEED) $(UNIT_RUN)
# Every call that can fail, failed in turn: over two hours.  FAULTS_FLAGS='--part
# sender' takes a part; SAN=address FAULTS_FLAGS='--seconds 60' a sample.
# The shim stands before the sanitizers' allocator, whose quarantine would look
# like a leak.
FAULTS_ENV := ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0:quarantine_size_mb=1

faults: $(PROGRAM) $(FAULTS)
	MTA=$(abspath $(PROGRAM)) $(FAULTS_ENV) /usr/bin/python3 \
	    tests/faults/faults.py --shim $(abspath $(FAULTS)) $(FAULTS_FLAGS)

faults_short: FAULTS_FLAGS = --seconds 3 --part worker sender collector \
    deliver mailbox worker-start sender-start master-start deliver-start \
    mailbox-start mailbox-names deliver-lists mailbox-boxes sender-reclaim \
    deliver-retry start-sender start-deliver worker-twice sender-twice \
    mailbox-twice worker-tls sender-tls signer-start token-lost
faults_short: faults

# --- measuring --------------------------------------------------------------

# Needs root.  BENCH_FLAGS='--only kept-20 --rounds 2' repeats a row in seconds.
BENCH_PY = /usr/bin/python3 tests/bench/bench.py

bench: $(PROGRAM) $(BENCH)
	@tests/tools/packages.sh bench
	tests/bench/unpack.sh $(BUILD)/peers
	$(BENCH_PY) $(or $(BENCH_FLAGS),--write)

bench-quick: $(PROGRAM) $(BENCH)
	@tests/tools/packages.sh bench
	$(BENCH_PY) --quick --peers mta,postfix $(BENCH_FLAGS)

# This build against another one, in turns: BASE is a revision or a binary.
bench-compare: $(if $(BASE),$(PROGRAM) $(BENCH))
	@[ -n "$(BASE)" ] || { echo "make bench-compare BASE=REVISION, or" \
	    "BASE=PATH of a binary: there is no default" >&2; exit 2; }
	@tests/tools/packages.sh bench
	@base=$$(MAKE='$(MAKE)' tests/bench/base.sh '$(BASE)') && \
	    $(BENCH_PY) --base "$$base" $(BENCH_FLAGS)

# Where the CPU time of a message goes; ROWS='kept-100 relay-one'.
ROWS ?= one-20 one-100 kept-20 kept-100
bench-profile: $(PROGRAM) $(BENCH)
	@tests/tools/packages.sh bench
	tests/bench/profile.py $(ROWS)

# --- living with it ---------------------------------------------------------

# A working system on unprivileged ports, all of it below local/.
run:
	@tests/tools/packages.sh build
	@$(MAKE) --no-print-directory all
	@conf/try.sh

BINDIR := $(DESTDIR)$(PREFIX)/sbin
MANDIR := $(DESTDIR)$(PREFIX)/share/man
LINKS  := mta-serve mta-deliver mta-send mta-log smtpd mailq sendmail newaliases

install: $(PROGRAM)
	install -d $(BINDIR) $(MANDIR)/man1 $(MANDIR)/man5 $(MANDIR)/man8 \
	    $(DESTDIR)/etc/mta
	install -m 755 $(PROGRAM) $(BINDIR)/mta
	for l in $(LINKS); do ln -sf mta $(BINDIR)/$$l; done
	install -m 644 docs/mta.1 docs/man/*.1 $(MANDIR)/man1
	install -m 644 docs/mta.conf.5 docs/mta-spool.5 $(MANDIR)/man5
	install -m 644 docs/sendmail.8 $(MANDIR)/man8
	ln -sf mta-queue.1 $(MANDIR)/man1/mailq.1
	ln -sf mta-serve.1 $(MANDIR)/man1/smtpd.1
	ln -sf sendmail.8 $(MANDIR)/man8/newaliases.8
	[ -e $(DESTDIR)/etc/mta/mta.conf ] || \
	    install -m 644 conf/mta.conf $(DESTDIR)/etc/mta/mta.conf

# Sessions of the program as SVG, for the README.
pictures: $(PROGRAM)
	@tests/tools/packages.sh test
	MTA=$(abspath $(PROGRAM)) docs/pictures/make.py

# The Debian package, in build/deb/, from a copy of the tree.
DEB := build/deb

deb:
	@tests/tools/packages.sh build deb
	@rm -rf $(DEB) && mkdir -p $(DEB)/mta
	tar --exclude=./build --exclude=./mta --exclude=./local \
	    --exclude=./.git -cf - . | tar -C $(DEB)/mta -xf -
	cd $(DEB)/mta && env -u MAKEFLAGS -u MAKELEVEL \
	    dpkg-buildpackage -us -uc -b
	@rm -rf $(DEB)/mta && ls $(DEB)/mta_*.deb

report:
	@tests/tools/packages.sh report
	@$(MAKE) --no-print-directory all
	docs/report/make.sh $(BUILD)/report

clean:
	rm -rf build mta

help:
	@echo "make              build ./mta"
	@echo "make run          install what is missing, build, start a system to try"
	@echo "make tests        install what is missing, run every test"
	@echo "make test_units test_memory test_system test_style   one part;"
	@echo "                  test_system_memory: under valgrind, test_threads: TSan"
	@echo "make clang_build  all objects by clang, whose warnings are errors"
	@echo "make memory       all system tests under valgrind (5 minutes)"
	@echo "make naps         all system tests with calls that come late (3 minutes)"
	@echo "make fuzz         fuzz every parser (FUZZ_SECONDS=3600 each)"
	@echo "make hostile      smuggling at random, peers that do not behave"
	@echo "make crash        kill -9 any process, hundreds of times"
	@echo "make counterparts 2000 messages to OpenSMTPD, Exim and Postfix, with kills"
	@echo "make powercut     cut the power in a model (POWERCUT_SECONDS=600)"
	@echo "make liveness     bad hosts beside healthy ones (LIVENESS_SECONDS=600)"
	@echo "make liveness_mutants  see that it sees each cure taken away"
	@echo "make faults       fail every call that can fail, one after the other"
	@echo "make bench        compare with Postfix, Exim and OpenSMTPD (40 minutes)"
	@echo "make bench-quick  compare with Postfix (3 minutes)"
	@echo "make bench-compare BASE=REVISION  compare with an earlier build (15 minutes)"
	@echo "make bench-profile  where the CPU time of a message goes, by system call"
	@echo "make report       the design as a PDF, in build/report/"
	@echo "make pictures     the pictures of terminals in README.md, made again"
	@echo "make install      PREFIX=/usr/local DESTDIR="
	@echo "make deb          the Debian package, in build/deb/"
	@echo "make clean        remove what was built"
	@echo "V=1 prints the commands of a build"
	@echo "SAN=address,undefined or SAN=thread builds into build/san-.../; CC=clang works"

-include $(OBJS:.o=.d) $(UNIT_OBJS:.o=.d) $(BUILD)/mta.d
-include tests/fuzz/fuzz.mk

.PHONY: all bench bench-compare bench-profile bench-quick clean counterparts \
        crash crash_short deb faults faults_short help hostile install liveness liveness_mutants \
        liveness_short memory naps pictures powercut report run test_memory test_style \
        test_system test_system_memory test_threads test_units tests
