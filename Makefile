# Perilune. `make` builds the program and the module, `make demo` shows them, `make test` tests everything.
#
#   make SANITIZE=address,undefined ...   the same under sanitizers, in build/sanitize-address-undefined
#   make CC=clang BUILD=build/clang ...   another compiler, beside the first
#   make CC=aarch64-linux-gnu-gcc BUILD=build/aarch64 ...   for 64-bit ARM, on any machine; tests are emulated
#   make test-neon                        that, and tests of its kernels (tests/README.md)
#   make fuzz FUZZ_SECONDS=60 ...         random inputs for whatever reads files and texts (tests/README.md)
#   make install PREFIX=/usr/local DESTDIR=

CC       ?= cc
PREFIX   ?= /usr/local
DESTDIR  ?=
SANITIZE ?=
comma    := ,
BUILD    ?= build$(if $(SANITIZE),/sanitize-$(subst $(comma),-,$(SANITIZE)))
VERSION  := 0.1.0

# What $(CC) builds for; while it is not installed, what its name or this machine says.
HERE   := $(shell uname -m)
TARGET := $(or $(shell $(CC) -dumpmachine 2>/dev/null),$(CC) $(HERE))

PACKAGES := gcc pkg-config liblua5.4-dev lua5.4 libpcre2-dev libedit-dev libcmocka-dev
# From another machine to 64-bit ARM: the libraries are unpacked beside the build, not installed, because many of their
# packages cannot be beside this machine's own. They come with a C library, so that they can be run.
ifneq ($(findstring aarch64,$(TARGET)),)
ifeq ($(findstring aarch64,$(HERE)),)
PACKAGES := gcc gcc-aarch64-linux-gnu qemu-user pkg-config
SYSROOT  := $(abspath $(BUILD))/sysroot
SYSROOT_PACKAGES := libc6 libgcc-s1 liblua5.4-0 liblua5.4-dev libpcre2-8-0 libpcre2-dev libcmocka0 libcmocka-dev \
                    libedit2 libedit-dev libbsd0 libmd0 libtinfo6
SYSROOT_LIBS     := $(SYSROOT)/usr/lib/aarch64-linux-gnu
RUNNER           := qemu-aarch64 -L $(SYSROOT)
LDFLAGS          += -Wl,-rpath-link,$(SYSROOT_LIBS):$(SYSROOT)/lib/aarch64-linux-gnu
endif
endif
PKG_CONFIG := $(if $(SYSROOT),PKG_CONFIG_LIBDIR=$(SYSROOT_LIBS)/pkgconfig PKG_CONFIG_SYSROOT_DIR=$(SYSROOT)) pkg-config
FUZZ_PACKAGES := clang libclang-rt-dev
# What only tests need: a browser, in which they open the pages of traces.
TEST_PACKAGES := $(if $(RUNNER),,chromium)
LIBS     := lua5.4 libpcre2-8 libedit

# Evaluated when a recipe needs them, after `make deps` has run.
pkg_cflags = $(shell $(PKG_CONFIG) --cflags $(LIBS) 2>/dev/null) $(if $(SYSROOT),-I$(SYSROOT)/usr/include/aarch64-linux-gnu)
LUA_LIBS   = $(shell $(PKG_CONFIG) --libs lua5.4)
CORE_LIBS  = $(shell $(PKG_CONFIG) --libs libpcre2-8) -lm -ldl -lpthread
EDIT_LIBS  = $(shell $(PKG_CONFIG) --libs libedit)

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Werror
# A loop that clang does not unroll, under sanitizers, is slower and no more.
WARNINGS += $(if $(findstring clang,$(CC)),-Wno-pass-failed)
CFLAGS   ?= -O2 -g
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE $(CFLAGS) $(WARNINGS) -ffp-contract=off -fno-math-errno -fPIC -fvisibility=hidden \
             -pthread -Iruntime -DPL_VERSION='"$(VERSION)"' $(pkg_cflags) \
             $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer)
LDFLAGS  += $(if $(SANITIZE),-fsanitize=$(SANITIZE))

# Kernels are chosen at run time: each instruction set is compiled in its own file with its own flags. On another
# architecture those files are empty.
ifneq ($(findstring aarch64,$(TARGET)),)
# Without gcc's scheduling before registers are given out, which makes a product's tile need more than there are.
ISA_neon   := -march=armv8.2-a+dotprod -O3 $(if $(findstring clang,$(CC)),,-fno-schedule-insns) $(if $(SANITIZE),-g1)
else ifneq ($(findstring x86_64,$(TARGET)),)
ISA_avx2   := -mavx2 -mfma -mf16c -O3 $(if $(SANITIZE),-g1)
ISA_avxvnni := $(ISA_avx2) -mavxvnni
ISA_avx512 := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mfma -mf16c -mprefer-vector-width=512 -O3 $(if $(SANITIZE),-g1)
ISA_amx    := $(ISA_avx512) -mamx-tile -mamx-int8
endif

CORE  := $(sort $(wildcard runtime/base/*.c runtime/gguf/*.c runtime/text/*.c runtime/math/*.c \
         runtime/cache/*.c runtime/model/*.c runtime/decode/*.c runtime/host/*.c))
BIND  := $(sort $(wildcard runtime/bind/*.c))
obj    = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
TESTS := $(sort $(wildcard tests/c/test_*.c))
TEST_SUPPORT := $(sort $(filter-out $(TESTS),$(wildcard tests/c/*.c)))
FUZZ_TARGETS := $(patsubst tests/fuzz/fuzz_%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
FUZZ_SUPPORT := tests/fuzz/fuzz.c tests/fuzz/words.c
TEST_PROGRAMS := $(patsubst tests/c/%.c,$(BUILD)/tests/%,$(TESTS)) $(FUZZ_TARGETS:%=$(BUILD)/tests/fuzz_%)

.PHONY: all deps demo test test-deps test-neon neon-tests bench fuzz fuzz-build fuzz-corpus fuzz-deps fuzz-targets install clean
all: $(BUILD)/perilune $(BUILD)/lib/perilune/core.so $(BUILD)/lib/libperilune.a $(BUILD)/lib/libperilune.so $(BUILD)/host

$(BUILD)/obj/%.o: %.c | $(BUILD)/.deps
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(ALL_CFLAGS) $(ISA_$(basename $(notdir $<))) $(if $(ISA_$(basename $(notdir $<))),$(KERNEL_CFLAGS)) -MMD -MP -c $< -o $@

$(BUILD)/libperilune.a: $(call obj,$(CORE) $(BIND))
	@rm -f $@
	@$(AR) rcs $@ $^

# The libraries for hosts: only pl_* and luaopen_perilune_core can be seen. (The archive above is for the tests: it shows all.)
SOVERSION := 0
$(BUILD)/lib/libperilune.a: $(call obj,$(CORE) $(BIND))
	@mkdir -p $(@D)
	@echo "  AR    $@"
	@$(CC) -r -nostdlib $^ -o $(BUILD)/lib/perilune.o
	@$(shell $(CC) -print-prog-name=objcopy) --localize-hidden $(BUILD)/lib/perilune.o
	@rm -f $@
	@$(AR) rcs $@ $(BUILD)/lib/perilune.o
	@rm -f $(BUILD)/lib/perilune.o
$(BUILD)/lib/libperilune.so: $(call obj,$(CORE) $(BIND))
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) -shared -Wl,-soname,libperilune.so.$(SOVERSION) -Wl,-z,nodelete -Wl,--no-undefined $(LDFLAGS) $^ -o $@ $(LUA_LIBS) $(CORE_LIBS)
	@ln -sf libperilune.so $@.$(SOVERSION)

# What hosts include.
PUBLIC_HEADERS := runtime/perilune.h runtime/bind/perilune_lua.h
$(BUILD)/include/.made: $(PUBLIC_HEADERS)
	@mkdir -p $(@D)
	@cp $^ $(@D)
	@touch $@

# The example of a host, against the public headers and library alone.
$(BUILD)/host: scripts/host.c $(BUILD)/lib/libperilune.a $(BUILD)/include/.made | $(BUILD)/.deps
	@echo "  LINK  $@"
	@$(CC) -std=c11 -D_GNU_SOURCE $(CFLAGS) $(WARNINGS) $(if $(SANITIZE),-fsanitize=$(SANITIZE)) -I$(BUILD)/include $< $(LDFLAGS) \
	    $(BUILD)/lib/libperilune.a -o $@ $(LUA_LIBS) $(CORE_LIBS)

# Worker threads may outlive a lua_close: the module is never unloaded.
$(BUILD)/lib/perilune/core.so: $(call obj,$(CORE) $(BIND))
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) -shared -Wl,-z,nodelete -Wl,--no-undefined $(LDFLAGS) $^ -o $@ $(LUA_LIBS) $(CORE_LIBS)

$(BUILD)/perilune: $(call obj,runtime/main.c) $(BUILD)/libperilune.a
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) $^ -o $@ $(LUA_LIBS) $(CORE_LIBS) $(EDIT_LIBS)

$(BUILD)/tests/%: $(BUILD)/obj/tests/c/%.o $(call obj,$(TEST_SUPPORT)) $(BUILD)/libperilune.a
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) $^ -o $@ -lcmocka $(LUA_LIBS) $(CORE_LIBS)

# A fuzz target with the inputs that are kept of it, as a test.
$(BUILD)/tests/fuzz_%: $(call obj,tests/fuzz/fuzz_%.c tests/fuzz/replay.c tests/c/support.c $(FUZZ_SUPPORT)) \
                       $(BUILD)/libperilune.a
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) $^ -o $@ -lcmocka $(LUA_LIBS) $(CORE_LIBS)

# The packages that are missing, installed as root or through sudo; nobody else is surprised. $(1): the packages.
define install_packages
	@mkdir -p $(@D)
	@command -v dpkg-query >/dev/null || { touch $@; echo "Not Debian: Perilune needs the counterparts of $(1)"; exit 0; }; \
	missing=""; for p in $(1); do \
	    dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	    if [ "$$(id -u)" = 0 ]; then run=""; \
	    elif sudo -n true 2>/dev/null; then run="sudo"; \
	    else echo "Perilune needs some packages. Run:"; \
	        echo "    sudo apt-get install -y$$missing"; exit 1; fi; \
	    $$run apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$run apt-get install -y -qq $$missing; \
	fi
	@touch $@
endef
deps: $(BUILD)/.deps
$(BUILD)/.deps: Makefile $(if $(SYSROOT),$(BUILD)/.sysroot)
	$(call install_packages,$(PACKAGES))
# Packages of another architecture, by lists of its own, so that this machine's apt does not come to know that one.
FOREIGN_APT = apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=root \
              -o Dir::State::Lists=$(SYSROOT)/apt/lists -o Dir::Cache=$(SYSROOT)/apt/cache
$(BUILD)/.sysroot: Makefile
	@mkdir -p $(SYSROOT)/apt/lists/partial $(SYSROOT)/apt/cache/archives/partial
	@cd $(SYSROOT)/apt && $(FOREIGN_APT) update && $(FOREIGN_APT) download $(SYSROOT_PACKAGES)
	@for deb in $(SYSROOT)/apt/*.deb; do dpkg -x $$deb $(SYSROOT) || exit 1; done
	@rm -rf $(SYSROOT)/apt
	@touch $@
fuzz-deps: $(BUILD)/.fuzz-deps
$(BUILD)/.fuzz-deps: Makefile
	$(call install_packages,$(FUZZ_PACKAGES))

demo: all
	@$(BUILD)/perilune scripts/tour.lua

test-deps: $(BUILD)/.test-deps
$(BUILD)/.test-deps: Makefile
	$(call install_packages,$(TEST_PACKAGES))
test: all $(TEST_PROGRAMS) $(BUILD)/.test-deps
	@BUILD=$(BUILD) SANITIZE=$(SANITIZE) RUNNER="$(RUNNER)" sh tests/run.sh $(TEST_PROGRAMS)

# The kernels on 64-bit ARM, emulated where this machine is another, and what runs fast enough beside them: the other
# programs compute so much that an emulator needs hours.
NEON_BUILD := build/aarch64
NEON_TESTS := math recurrence parity states arch base cache convert decode formats gguf store
test-neon:
	@$(MAKE) --no-print-directory CC=aarch64-linux-gnu-gcc BUILD=$(NEON_BUILD) neon-tests
neon-tests: $(NEON_TESTS:%=$(BUILD)/tests/test_%)
	@BUILD=$(BUILD) RUNNER="$(RUNNER)" LUA_TESTS= sh tests/run.sh $^

# Fuzzing, with clang and libFuzzer in a build of its own (the kernels, which no input reaches, without instruments): one target after the other, so many seconds each. What they
# discover is input of the next run, in build/fuzz/corpus; `make fuzz-corpus` keeps a small set that reaches the same code.
FUZZ_SECONDS ?= 600
FUZZ_BUILD   := build/fuzz
fuzz: fuzz-build
	@sh tests/fuzz/run.sh $(FUZZ_BUILD) $(FUZZ_SECONDS) $(FUZZ_TARGETS)
fuzz-corpus: fuzz-build
	@sh tests/fuzz/run.sh $(FUZZ_BUILD) merge $(FUZZ_TARGETS)
fuzz-build:
	@$(MAKE) --no-print-directory BUILD=$(FUZZ_BUILD) fuzz-deps
	@$(MAKE) --no-print-directory CC=clang BUILD=$(FUZZ_BUILD) SANITIZE=address,undefined \
	    CFLAGS="-O1 -g -fsanitize=fuzzer-no-link" KERNEL_CFLAGS="-fno-sanitize=all -O1" fuzz-targets
fuzz-targets: $(FUZZ_TARGETS:%=$(BUILD)/%) $(BUILD)/seeds
$(FUZZ_TARGETS:%=$(BUILD)/%): $(BUILD)/%: $(call obj,tests/fuzz/fuzz_%.c $(FUZZ_SUPPORT)) $(BUILD)/libperilune.a
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) -fsanitize=fuzzer $^ -o $@ $(LUA_LIBS) $(CORE_LIBS)
$(BUILD)/seeds: $(call obj,tests/fuzz/seeds.c tests/c/support.c tests/c/tiny.c) $(BUILD)/libperilune.a
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) $^ -o $@ -lcmocka $(LUA_LIBS) $(CORE_LIBS)

BENCH_SUPPORT := $(patsubst %,tests/bench/%.c,synthetic limits run)
BENCHES := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(filter-out $(BENCH_SUPPORT),$(wildcard tests/bench/*.c)))
$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(call obj,$(BENCH_SUPPORT)) $(BUILD)/libperilune.a
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) $^ -o $@ $(LUA_LIBS) $(CORE_LIBS)
bench: all $(BENCHES)
	@for b in $(BENCHES); do $$b || exit 1; done

SHARE = $(DESTDIR)$(PREFIX)/share
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/lua/5.4/perilune $(SHARE)/perilune \
	    $(SHARE)/lua/5.4/perilune/strategies $(SHARE)/lua/5.4/perilune/trace
	install -m 755 $(BUILD)/perilune $(DESTDIR)$(PREFIX)/bin/perilune
	install -m 755 $(BUILD)/lib/perilune/core.so $(DESTDIR)$(PREFIX)/lib/lua/5.4/perilune/core.so
	install -m 644 lua/perilune/*.lua $(SHARE)/lua/5.4/perilune/
	install -m 644 lua/perilune/strategies/*.lua $(SHARE)/lua/5.4/perilune/strategies/
	install -m 644 lua/perilune/trace/* $(SHARE)/lua/5.4/perilune/trace/
	install -m 644 scripts/demo/demo.gguf $(SHARE)/perilune/demo.gguf
	install -d $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/lib/pkgconfig
	install -m 644 $(PUBLIC_HEADERS) $(DESTDIR)$(PREFIX)/include/
	install -m 644 $(BUILD)/lib/libperilune.a $(DESTDIR)$(PREFIX)/lib/libperilune.a
	install -m 755 $(BUILD)/lib/libperilune.so $(DESTDIR)$(PREFIX)/lib/libperilune.so.$(SOVERSION)
	ln -sf libperilune.so.$(SOVERSION) $(DESTDIR)$(PREFIX)/lib/libperilune.so
	printf '%s\n' 'prefix=$(PREFIX)' 'Name: perilune' 'Description: a runtime for language models, scripted in Lua' \
	    'Version: $(VERSION)' 'Requires: lua5.4' 'Requires.private: libpcre2-8' 'Libs: -L$${prefix}/lib -lperilune' \
	    'Libs.private: -lm -ldl -lpthread' 'Cflags: -I$${prefix}/include' > $(DESTDIR)$(PREFIX)/lib/pkgconfig/perilune.pc

clean:
	rm -rf build

.SECONDARY:
-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
