// memory.cpp - the memory of the devices, and the judge of accesses. Every byte has marks (is it part of an allocation,
// was it written, is a copy filling it) and stamps (who wrote it last, who read it, and when on his clock); an access that
// no meeting orders after another one is a race.
#include "runtime.h"
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <sys/mman.h>

namespace emulator {
namespace {
enum Mark : unsigned char { CLAIMED = 1, WRITTEN = 2, BY_ATOMIC = 4, COPYING = 8, OWNER = 0x70 };   // OWNER: the device
constexpr int OWNER_SHIFT = 4;
// Block (32 bits), thread (10), clock (22); 0 is nobody.
using Stamp = unsigned long long;
struct Stamps { Stamp write, read[2]; };
Stamp stamp(unsigned block, unsigned thread, unsigned clock) { return Stamp(block) << 32 | Stamp(thread) << 22 | (clock & 0x3fffff); }
unsigned block_of(Stamp s) { return unsigned(s >> 32); }
unsigned thread_of(Stamp s) { return unsigned(s >> 22) & 1023; }
unsigned time_of(Stamp s) { return unsigned(s) & 0x3fffff; }

// Addresses are never given out twice, so that what was freed stays forbidden.
constexpr size_t ARENA = size_t(64) << 30, ALIGNMENT = 256;
constexpr unsigned char UNTOUCHED = 0xA5, POISON = 0xFF;     // poison is NaN in every float
struct Allocation { size_t bytes, span; int device; bool reported; };
unsigned char *arena, *marks; Stamps* stamps; size_t top = 0;
std::map<unsigned char*, Allocation> living;
std::map<unsigned char*, size_t> freed;
std::map<int, size_t> used;

unsigned char *shared, *shared_end; size_t shared_dirty;
unsigned char shared_marks[MOST_SHARED + 2 * PAGE]; Stamps shared_stamps[MOST_SHARED + 2 * PAGE];

size_t body(size_t bytes) { return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }
std::map<unsigned char*, Allocation>::iterator find(const void* at) {
    auto next = living.upper_bound(static_cast<unsigned char*>(const_cast<void*>(at)));
    if (next == living.begin()) return living.end();
    --next;
    return static_cast<const unsigned char*>(at) < next->first + body(next->second.bytes) ? next : living.end();
}
bool end_is_untouched(unsigned char* at, const Allocation& a) {
    for (size_t i = a.bytes; i < body(a.bytes); i++) if (at[i] != UNTOUCHED) return false;
    return true;
}
// File and line of a place in a kernel.
std::string where(const void* caller);
} // namespace
const bool judging = [] { const char* kind = getenv("EMULATOR"); return !kind || strcmp(kind, "fast"); }();
std::string place_of_caller(const void* caller) { return where(caller); }
namespace {
std::string where(const void* caller) {
    Dl_info library;
    if (!caller || !dladdr(caller, &library)) return "";
    char command[1024];
    snprintf(command, sizeof command, "addr2line -i -s -e '%s' 0x%zx 2>/dev/null", library.dli_fname, size_t(caller) - size_t(library.dli_fbase) - 1);
    std::string text;
    if (FILE* pipe = popen(command, "r")) {
        char line[256];
        while (fgets(line, sizeof line, pipe)) {
            std::string one(line, strcspn(line, "\n"));
            one = one.substr(0, one.find(" (disc"));
            if (one.find('?') == std::string::npos && one.find("cuda.h") == std::string::npos) text += (text.empty() ? "\n  at " : ", from ") + one;
        }
        pclose(pipe);
    }
    return text;
}
const char* verb(Kind kind) { return kind == READ ? "read" : kind == WRITE ? "write" : kind == ATOMIC ? "atomic operation" : "copy in the background"; }
[[noreturn]] void outside(const unsigned char* at, unsigned bytes, Kind kind, const void* caller, bool in_shared) {
    if (in_shared) fail(ILLEGAL_ADDRESS, "out of bounds: a %s of %u bytes in shared memory, outside of every array of the block%s", verb(kind), bytes, where(caller).c_str());
    fail(ILLEGAL_ADDRESS, "out of bounds: a %s of %u bytes, %s%s", verb(kind), bytes, what_is_at(at).c_str(), where(caller).c_str());
}
[[noreturn]] void race(Kind kind, unsigned bytes, Stamp other, const char* did, const char* memory, const void* caller) {
    auto who = [](unsigned thread) { return is_unit(thread) ? std::string("the unit that copies boxes") : "thread " + std::to_string(thread); };
    fail(ILLEGAL_STATE, "a data race in %s memory: a %s of %u bytes by %s, and %s%s %s there with no barrier between%s", memory, verb(kind), bytes, who(current->linear).c_str(),
         who(thread_of(other)).c_str(), block_of(other) == block_number() ? "" : " of another block", did, where(caller).c_str());
}
} // namespace

void install_memory() {
    if (arena) return;
    auto map = [](size_t bytes, int protection) { return mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0); };
    void* memory = map(ARENA, PROT_NONE);
    void* side = map(ARENA, PROT_READ | PROT_WRITE);
    void* times = map(ARENA * sizeof(Stamps), PROT_READ | PROT_WRITE);
    if (memory == MAP_FAILED || side == MAP_FAILED || times == MAP_FAILED) { fprintf(stderr, "the stand-in driver cannot reserve addresses\n"); abort(); }
    marks = static_cast<unsigned char*>(side); stamps = static_cast<Stamps*>(times); arena = static_cast<unsigned char*>(memory);
}
size_t total_bytes() {
    static const size_t bytes = getenv("EMULATOR_MEMORY") ? strtoull(getenv("EMULATOR_MEMORY"), nullptr, 10) : size_t(4) << 30;
    return bytes;
}
size_t free_bytes(int device) { return total_bytes() - used[device]; }

void* allocate(size_t bytes, int device) {
    install_memory();
    size_t whole = body(bytes), span = (whole + PAGE - 1) / PAGE * PAGE;
    if (whole > free_bytes(device) || top + span + 2 * PAGE > ARENA) return nullptr;
    unsigned char* base = arena + top + PAGE;
    if (mprotect(base, span, PROT_READ | PROT_WRITE)) return nullptr;
    unsigned char* at = base + span - whole;                 // its end touches a page that faults
    memset(at, POISON, bytes); memset(at + bytes, UNTOUCHED, whole - bytes);
    memset(marks + (at - arena), CLAIMED | device << OWNER_SHIFT, bytes);
    living[at] = {bytes, span, device, false};
    used[device] += whole; top += span + PAGE;
    return at;
}
int release(void* pointer) {
    auto found = living.find(static_cast<unsigned char*>(pointer));
    if (found == living.end()) return refuse(1, "this address was not allocated, or was freed before");
    unsigned char* at = found->first; Allocation a = found->second;
    bool whole = a.reported || end_is_untouched(at, a);
    unsigned char* base = at + body(a.bytes) - a.span;
    memset(marks + (at - arena), 0, a.bytes);
    madvise(base, a.span, MADV_DONTNEED); mprotect(base, a.span, PROT_NONE);
    char* low = reinterpret_cast<char*>((uintptr_t(stamps + (base - arena)) + PAGE - 1) / PAGE * PAGE);
    madvise(low, a.span * sizeof(Stamps) - PAGE, MADV_DONTNEED);
    used[a.device] -= body(a.bytes); freed[at] = a.bytes; living.erase(found);
    return whole ? 0 : refuse(ILLEGAL_ADDRESS, "bytes just behind an allocation were overwritten");
}
bool holds(const void* at, size_t bytes) {
    auto a = find(at);
    return a != living.end() && static_cast<const unsigned char*>(at) + bytes <= a->first + a->second.bytes;
}
int device_of(const void* at) { auto a = find(at); return a == living.end() ? -1 : a->second.device; }
bool readable(const void* at, size_t bytes) {
    size_t first = static_cast<const unsigned char*>(at) - arena;
    for (size_t i = 0; i < bytes; i++) if (!(marks[first + i] & WRITTEN)) return false;
    return true;
}
void mark_written(void* at, size_t bytes) {
    size_t first = static_cast<unsigned char*>(at) - arena;
    if (bytes) memset(marks + first, CLAIMED | WRITTEN | (marks[first] & OWNER), bytes);
}
void copy_marks(void* to, const void* from, size_t bytes) {
    size_t a = static_cast<unsigned char*>(to) - arena, b = static_cast<const unsigned char*>(from) - arena;
    for (size_t i = 0; i < bytes; i++) marks[a + i] = (unsigned char)((marks[a + i] & OWNER) | CLAIMED | (marks[b + i] & WRITTEN));
}
int check_ends() {
    for (auto& [at, a] : living) if (!a.reported && !end_is_untouched(at, a)) {
        a.reported = true;
        return refuse(ILLEGAL_ADDRESS, "bytes just behind an allocation of %zu bytes were overwritten", a.bytes);
    }
    return 0;
}
std::string what_is_at(const void* fault) {
    auto at = static_cast<unsigned char*>(const_cast<void*>(fault)); char text[160];
    if (at >= shared && at < shared_end) return "in the shared memory of the block";
    if (!arena || at < arena || at >= arena + ARENA) { snprintf(text, sizeof text, "at address %p, where no device memory is", fault); return text; }
    auto next = living.upper_bound(at); auto gone = freed.upper_bound(at);
    if (gone != freed.begin() && (--gone, at < gone->first + gone->second)) { snprintf(text, sizeof text, "at byte %td of %zu that were freed", at - gone->first, gone->second); return text; }
    if (next == living.begin()) {
        if (next == living.end()) return "where nothing is allocated";
        snprintf(text, sizeof text, "%td bytes before an allocation of %zu", next->first - at, next->second.bytes); return text;
    }
    auto before = std::prev(next);
    snprintf(text, sizeof text, "at byte %td of an allocation of %zu", at - before->first, before->second.bytes);
    return text;
}

void shared_begins(unsigned char* memory, size_t bytes) {
    shared = memory; shared_end = memory + bytes;
    memset(shared_marks, 0, shared_dirty); shared_dirty = 0;
}
void shared_claimed(void* at, size_t bytes) {
    size_t first = static_cast<unsigned char*>(at) - shared;
    memset(at, POISON, bytes); memset(shared_marks + first, CLAIMED, bytes); memset(static_cast<void*>(shared_stamps + first), 0, bytes * sizeof(Stamps));
    if (first + bytes > shared_dirty) shared_dirty = first + bytes;
}

bool written_for_units(const void* pointer, size_t bytes) {
    const Stamps* times = shared_stamps + (static_cast<const unsigned char*>(pointer) - shared);
    for (size_t i = 0; i < bytes; i++) {
        Stamp s = times[i].write;
        if (block_of(s) == block_number() && !is_unit(thread_of(s)) && time_of(s) > fenced_until(thread_of(s))) return false;
    }
    return true;
}

void access(const void* pointer, unsigned bytes, Kind kind, const void* caller) {
    if (!running() || !current) return;
    auto at = static_cast<const unsigned char*>(pointer);
    unsigned char* mark; Stamps* times; bool in_shared = false;
    if (at >= arena && at < arena + ARENA) { mark = marks + (at - arena); times = stamps + (at - arena); }
    else if (at >= shared && at < shared_end) { mark = shared_marks + (at - shared); times = shared_stamps + (at - shared); in_shared = true; }
    else return touch(at, bytes, kind, caller);              // a thread's own: its stack, its arguments, constants
    const char* memory = in_shared ? "shared" : "global";
    if (!judging) {                                          // what compiled kernels wrote has no marks: bounds alone are known
        for (unsigned i = 0; i < bytes; i++) if (!(mark[i] & CLAIMED)) outside(at + i, bytes, kind, caller, in_shared);
        return;
    }
    unsigned block = block_number(), me = current->linear, first = first_block_of_launch();
    Stamp now = stamp(block, me, clock_of(me));
    unsigned char owner = in_shared ? 0 : (unsigned char)(running_device() << OWNER_SHIFT);
    auto before = [&](Stamp other) {
        unsigned whose = block_of(other);
        if (whose < first) return true;                      // nobody, or an earlier launch
        if (whose != block) return in_shared;
        return thread_of(other) == me || knows(thread_of(other), time_of(other));
    };
    // Neighbours that were treated alike so far are judged as one.
    for (unsigned i = 0, alike; i < bytes; i += alike, mark += alike, times += alike) {
        for (alike = 1; i + alike < bytes && mark[alike] == *mark && !memcmp(&times[alike], times, sizeof *times);) alike++;
        if (!(*mark & CLAIMED)) outside(at + i, bytes, kind, caller, in_shared);
        if ((*mark & OWNER) != owner) fail(ILLEGAL_ADDRESS, "a %s of memory of another device%s", verb(kind), where(caller).c_str());
        if (kind == READ || kind == ATOMIC) {
            if (*mark & COPYING) fail(ILLEGAL_STATE, "a %s of %s memory that an unfinished copy is filling%s", verb(kind), memory, where(caller).c_str());
            if (!(*mark & WRITTEN)) fail(ILLEGAL_ADDRESS, "a %s of uninitialised %s memory%s", verb(kind), memory, where(caller).c_str());
        }
        Stamps next = *times;
        if (!before(next.write) && !(kind == ATOMIC && *mark & BY_ATOMIC))
            race(kind, bytes, next.write, *mark & BY_ATOMIC ? "did an atomic operation" : "wrote", memory, caller);
        unsigned char marked = *mark;
        if (kind == READ) {
            if (next.read[0] == now) continue;
            next.read[before(next.read[0]) ? 0 : 1] = now;
        } else {
            for (Stamp other : next.read) if (!before(other)) race(kind, bytes, other, "read", memory, caller);
            next.write = now;
            marked = CLAIMED | owner | (kind == COPY ? COPYING : kind == ATOMIC ? WRITTEN | BY_ATOMIC : WRITTEN);
        }
        for (unsigned e = 0; e < alike; e++) { times[e] = next; mark[e] = marked; }
    }
}
} // namespace emulator

// ------------------------------------------------------------------------------------------ what the compiler reports
// gcc's -fsanitize=thread calls these before each access of the kernels.
static inline void reported(const void* at, unsigned bytes, emulator::Kind kind, const void* caller) {
    if (emulator::judging) emulator::access(at, bytes, kind, caller);
}
#define REPORT(name, bytes, kind) extern "C" void __tsan_##name(void* at) { reported(at, bytes, emulator::kind, __builtin_return_address(0)); }
#define REPORTS(n)                                                              \
    REPORT(read##n, n, READ) REPORT(write##n, n, WRITE)                         \
    REPORT(unaligned_read##n, n, READ) REPORT(unaligned_write##n, n, WRITE)     \
    REPORT(volatile_read##n, n, READ) REPORT(volatile_write##n, n, WRITE)
REPORTS(1) REPORTS(2) REPORTS(4) REPORTS(8) REPORTS(16)
extern "C" void __tsan_read_range(void* at, unsigned long n) { reported(at, unsigned(n), emulator::READ, __builtin_return_address(0)); }
extern "C" void __tsan_write_range(void* at, unsigned long n) { reported(at, unsigned(n), emulator::WRITE, __builtin_return_address(0)); }
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit() {}
extern "C" void __tsan_init() {}
extern "C" void __tsan_vptr_update(void**, void*) {}
extern "C" void __tsan_vptr_read(void**) {}

// -fsanitize=alignment,bounds-strict,shift,... call these; each record begins with the place.
struct Spot { const char* file; unsigned line, column; };
static void undefined(const Spot* spot, const char* what) {
    if (!emulator::running() || !emulator::current) return;
    const char* slash = strrchr(spot->file, '/');
    emulator::fail(emulator::MISALIGNED, "%s\n  at %s:%u", what, slash ? slash + 1 : spot->file, spot->line);
}
#define UNDEFINED(name, what, ...) extern "C" void __ubsan_handle_##name(Spot* spot, ##__VA_ARGS__) { undefined(spot, what); }
UNDEFINED(type_mismatch_v1, "a misaligned or null pointer", void*)
UNDEFINED(out_of_bounds, "out of bounds: the index of an array", void*)
UNDEFINED(shift_out_of_bounds, "a shift by too much", void*, void*)
UNDEFINED(divrem_overflow, "a whole number divided by zero", void*, void*)
UNDEFINED(add_overflow, "a whole number overflows", void*, void*)
UNDEFINED(sub_overflow, "a whole number overflows", void*, void*)
UNDEFINED(mul_overflow, "a whole number overflows", void*, void*)
UNDEFINED(negate_overflow, "a whole number overflows", void*)
