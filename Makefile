# mta - GNU make.  `make help` lists the targets.
#
# Every .c file below src/ is part of the program; nothing is listed by hand.
# Objects and generated files go to build/ (build/san for SAN=...), never into
# the sources.

VERSION  := 0.1.0
CC       ?= cc
PREFIX   ?= /usr/local
DESTDIR  ?=
SAN      ?=

BUILD    := build$(if $(SAN),/san)
PROGRAM  := $(if $(SAN),$(BUILD)/mta,mta)

PKGS     := libconfig
CPPFLAGS += -Iinclude -include include/base/banned.h -D_XOPEN_SOURCE=700 \
            -D_DEFAULT_SOURCE -DMTA_VERSION='"$(VERSION)"'
WARN     := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
            -Wconversion -Wformat=2 -Wvla
HARDEN   := $(if $(SAN),,-D_FORTIFY_SOURCE=2) -fstack-protector-strong -fPIE
CFLAGS   ?= -O2 -g
ALL_CFLAGS = -std=c99 -pedantic $(WARN) $(HARDEN) $(CFLAGS) \
            $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer) \
            $(shell pkg-config --cflags $(PKGS)) -pthread
LDFLAGS  += -pie -Wl,-z,relro,-z,now $(if $(SAN),-fsanitize=$(SAN))
LDLIBS   += $(shell pkg-config --libs $(PKGS)) -lresolv -pthread

SRCS     := $(sort $(shell find src -name '*.c'))
OBJS     := $(SRCS:%.c=$(BUILD)/%.o)
LIB      := $(BUILD)/libmta.a
UNIT     := $(sort $(wildcard tests/unit/*.c))
UNIT_OBJS:= $(UNIT:%.c=$(BUILD)/%.o)

all: $(PROGRAM)

$(PROGRAM): $(BUILD)/mta.o $(LIB)
	$(CC) $(LDFLAGS) -o $@ $(BUILD)/mta.o $(LIB) $(LDLIBS)

$(LIB): $(OBJS)
	@rm -f $@
	ar rcs $@ $(OBJS)

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# --- tests ----------------------------------------------------------------
# A suite a file: tests/unit/test_NAME.c defines Suite *NAME_suite(void).

UNIT_RUN  := $(BUILD)/unit
SUITES_H  := $(BUILD)/tests/unit/suites.h
UNIT_NAMES:= $(patsubst tests/unit/test_%.c,%,$(wildcard tests/unit/test_*.c))

$(SUITES_H): $(UNIT) Makefile
	@mkdir -p $(@D)
	@for s in $(UNIT_NAMES); do echo "SUITE($$s)"; done > $@

$(UNIT_OBJS): CPPFLAGS += -I$(BUILD)/tests/unit
$(BUILD)/tests/unit/main.o: $(SUITES_H)

$(UNIT_RUN): $(UNIT_OBJS) $(LIB)
	$(CC) $(LDFLAGS) -o $@ $(UNIT_OBJS) $(LIB) \
	    $(shell pkg-config --libs check) $(LDLIBS)

test_units: $(UNIT_RUN)
	$(UNIT_RUN)

test_memory: $(UNIT_RUN)
	CK_FORK=no CK_DEFAULT_TIMEOUT=300 valgrind -q --leak-check=full \
	    --errors-for-leak-kinds=definite,indirect,possible \
	    --error-exitcode=99 --track-fds=no $(UNIT_RUN)

clean:
	rm -rf build mta

-include $(OBJS:.o=.d) $(UNIT_OBJS:.o=.d) $(BUILD)/mta.d

.PHONY: all clean test_units test_memory
