// block.cpp - runs a launch: blocks one after another, in each a fiber for every thread. Fibers change hands only where
// threads meet (a barrier, a shuffle), so what a kernel forgets to wait for is found in the order that was asked for.
// This file is never compiled with the compiler's reports of accesses; the kernels are.
#include "runtime.h"
#include <algorithm>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>
#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace emulator {
Lane* current;
Index block_index, block_size, grid_size;
Order order;

namespace {
// ------------------------------------------------------------------------------------------ fibers
#ifdef __x86_64__
extern "C" void emulator_switch(void** from, void* to);
// Keeps what the calling convention wants kept on the stack that is left.
asm(R"(
    .text
    .globl emulator_switch
    .hidden emulator_switch
emulator_switch:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
)");
struct Context {
    void* stack = nullptr;
    void begin(char* low, size_t size, void (*entry)()) {
        void** top = reinterpret_cast<void**>(uintptr_t(low + size) & ~uintptr_t(15));
        *--top = nullptr;                                   // entry never returns
        *--top = reinterpret_cast<void*>(entry);
        for (int i = 0; i < 6; i++) *--top = nullptr;
        stack = top;
    }
    void leave_for(Context& other) { emulator_switch(&stack, other.stack); }
};
#else
struct Context {
    ucontext_t context;
    void begin(char* low, size_t size, void (*entry)()) {
        getcontext(&context);
        context.uc_stack.ss_sp = low; context.uc_stack.ss_size = size; context.uc_link = nullptr;
        makecontext(&context, entry, 0);
    }
    void leave_for(Context& other) { swapcontext(&context, &other.context); }
};
#endif

// ------------------------------------------------------------------------------------------ the state of a block
enum State { READY, AT_BARRIER, AT_MEETING, WAITING, DONE };
struct Copy { void* to; const void* from; unsigned bytes, filled; const void* caller; };     // no `from`: it has landed
struct Fiber : Lane {
    Context context; State state; Place place; const void* waits_for;
    unsigned clock; std::shared_ptr<const Clock> met;        // what it knows beyond `everyone`
    std::vector<Copy> open; std::vector<std::vector<Copy>> groups;
};
// Lanes of one mask that meet: a generation ends when all have come.
struct Meeting { unsigned mask, arrived, generation; Place place; unsigned char slots[2][32 * SLOT]; };
struct Warp { std::vector<std::unique_ptr<Meeting>> meetings; };
struct Tally { bool all = true, any = false; int count = 0; };

constexpr size_t STACK = 128 << 10;
Fiber fibers[MOST_THREADS + 1];                               // behind the threads, the unit that copies boxes
char* stacks;
Context scheduler;
std::vector<Warp> warps;
Clock everyone;                                              // what all threads know since the last barrier of the block
Tally tallies[2]; unsigned barriers;
unsigned threads;
Launch* launched; std::string kernel_name;
unsigned number, first_number;
unsigned char* shared; size_t shared_taken, dynamic_bytes;
int failed; std::string failure;
bool is_running; int on_device;
unsigned long long dice;

Fiber& self() { return *static_cast<Fiber*>(current); }
void yield() { Fiber& f = self(); f.context.leave_for(scheduler); }
void land(const Copy& copy) {
    if (!copy.from) return;
    memset(copy.to, 0, copy.bytes); memcpy(copy.to, copy.from, copy.filled);
}
void entry() {
    launched->run();
    copy_async_commit(); copy_async_wait(0);
    thread_ends();
    self().state = DONE; yield();
    abort();
}
void unit_entry() { bring_a_box(); yield(); abort(); }
bool same(Place a, Place b) { return a.line == b.line && !strcmp(a.file, b.file); }
const char* file_name(const char* path) { const char* slash = strrchr(path, '/'); return slash ? slash + 1 : path; }

Meeting& meet(unsigned mask, const void* mine, unsigned bytes, Place place, bool orders, unsigned& generation) {
    Fiber& f = self(); Warp& warp = warps[f.warp];
    if (!(mask >> f.lane & 1))
        fail(ILLEGAL_STATE, "lane %u calls a warp operation whose mask %08x leaves it out\n  at %s:%d", f.lane, mask, file_name(place.file), place.line);
    Meeting* m = nullptr;
    for (auto& known : warp.meetings) if (known->mask == mask) m = known.get();
    if (!m) { warp.meetings.push_back(std::make_unique<Meeting>()); m = warp.meetings.back().get(); m->mask = mask; }
    if (m->arrived && !same(m->place, place))
        fail(ILLEGAL_STATE, "lanes of one warp wait at different operations: %s:%d and %s:%d", file_name(m->place.file), m->place.line, file_name(place.file), place.line);
    m->place = place; generation = m->generation;
    if (bytes) memcpy(m->slots[generation & 1] + f.lane * SLOT, mine, bytes);
    m->arrived |= 1u << f.lane;
    if (m->arrived != mask) { f.state = AT_MEETING; f.place = place; yield(); return *m; }
    m->arrived = 0; m->generation++;
    std::shared_ptr<Clock> all;
    unsigned first = f.warp * 32;
    for (unsigned t = first; orders && t < first + 32; t++) if (mask >> (t - first) & 1 && t < threads) {
        if (!all) all = std::make_shared<Clock>(everyone);
        if (fibers[t].met) for (unsigned i = 0; i <= threads; i++) (*all)[i] = std::max((*all)[i], (*fibers[t].met)[i]);
        (*all)[t] = std::max((*all)[t], fibers[t].clock);
    }
    for (unsigned t = first; t < first + 32; t++) if (mask >> (t - first) & 1 && t < threads) {
        if (orders) { fibers[t].met = all; fibers[t].clock++; }
        if (t != f.linear) fibers[t].state = READY;
    }
    return *m;
}

// What to say where no thread can go on and not all are done.
void explain_standstill() {
    Fiber* first = nullptr; unsigned waiting = 0, done = 0;
    for (unsigned t = 0; t < threads; t++) {
        Fiber& f = fibers[t]; current = &f;
        if (f.state == WAITING) return explain_wait(f.waits_for);
        if (f.state == AT_MEETING) { refuse(ILLEGAL_STATE, "a warp operation at %s:%d waits for lanes that never come", file_name(f.place.file), f.place.line); return; }
        if (f.state == DONE) done++;
        if (f.state != AT_BARRIER) continue;
        waiting++;
        if (first && !same(first->place, f.place)) {
            refuse(ILLEGAL_STATE, "threads wait at different barriers: %s:%d and %s:%d", file_name(first->place.file), first->place.line, file_name(f.place.file), f.place.line);
            return;
        }
        if (!first) first = &f;
    }
    current = first;
    refuse(ILLEGAL_STATE, "%u threads returned while %u wait at the barrier %s:%d", done, waiting, file_name(first->place.file), first->place.line);
}

void begin_block(Index at, Index size, unsigned dynamic) {
    block_index = at; number++;
    shared_taken = dynamic_bytes = dynamic;
    shared_begins(shared, MOST_SHARED + PAGE);
    if (dynamic) shared_claimed(shared, dynamic);
    warps.clear(); warps.resize((threads + 31) / 32);
    everyone.assign(threads + 1, 0); units_begin(); tallies[0] = tallies[1] = Tally{}; barriers = 0;
    for (unsigned t = 0; t < threads; t++) {
        Fiber& f = fibers[t];
        f.index = {t % size.x, t / size.x % size.y, t / size.x / size.y}; f.linear = t; f.lane = t % 32; f.warp = t / 32;
        f.state = READY; f.clock = 1; f.met.reset(); f.open.clear(); f.groups.clear();
        f.context.begin(stacks + t * STACK + PAGE, STACK - PAGE, entry);
    }
    Fiber& unit = fibers[threads];
    unit.index = {0, 0, 0}; unit.linear = threads; unit.lane = 0; unit.warp = threads / 32; unit.clock = 0; unit.met.reset();
}

// True when all threads are done; else something failed.
bool run_block() {
    std::vector<unsigned> ready; ready.reserve(threads);
    for (;;) {
        ready.clear(); unsigned done = 0, waiting = 0; bool one_place = true; Place place{};
        for (unsigned t = 0; t < threads; t++) switch (fibers[t].state) {
            case READY: ready.push_back(t); break;
            case DONE: done++; break;
            case AT_BARRIER: if (waiting++) one_place &= same(place, fibers[t].place); else place = fibers[t].place; break;
            case AT_MEETING: case WAITING: break;
        }
        if (ready.empty()) {
            if (done == threads && !boxes_wait()) return units_end();
            if (boxes_wait()) {                              // nobody can go on without it
                Fiber& unit = fibers[threads];
                unit.context.begin(stacks + threads * STACK + PAGE, STACK - PAGE, unit_entry);
                current = &unit; scheduler.leave_for(unit.context);
                if (failed) return false;
                continue;
            }
            if (waiting != threads || !one_place) { explain_standstill(); return false; }
            barriers++; tallies[barriers & 1] = Tally{};
            for (unsigned t = 0; t < threads; t++) {
                Fiber& f = fibers[t];
                if (f.met) everyone[threads] = std::max(everyone[threads], (*f.met)[threads]);
                everyone[t] = f.clock++; f.met.reset(); f.state = READY;
            }
            continue;
        }
        if (order.kind == Order::REVERSE) std::reverse(ready.begin(), ready.end());
        if (order.kind == Order::SHUFFLED) for (size_t i = ready.size(); i > 1; i--) std::swap(ready[i - 1], ready[roll() % i]);
        for (unsigned t : ready) {
            if (fibers[t].state != READY) continue;
            current = &fibers[t];
            scheduler.leave_for(fibers[t].context);
            if (failed) return false;
        }
        current = nullptr;
    }
}

// ------------------------------------------------------------------------------------------ faults of the machine
void on_fault(int signal, siginfo_t* info, void*) {
    if (!is_running || !current) { std::signal(signal, SIG_DFL); return; }
    const char* at = static_cast<const char*>(info->si_addr);
    if (at >= stacks && at < stacks + (MOST_THREADS + 1) * STACK) fail(ILLEGAL_ADDRESS, "a thread's stack overflows");
    fail(ILLEGAL_ADDRESS, "%s", what_is_at(at).c_str());
}
struct Faults {                                              // caught while a launch runs, on a stack of their own
    struct sigaction old_segment, old_bus; stack_t old_stack;
    Faults() {
        static char stack[64 << 10];
        stack_t own{}; own.ss_sp = stack; own.ss_size = sizeof stack; sigaltstack(&own, &old_stack);
        struct sigaction action{}; action.sa_sigaction = on_fault; action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
        sigaction(SIGSEGV, &action, &old_segment); sigaction(SIGBUS, &action, &old_bus);
    }
    ~Faults() { sigaction(SIGSEGV, &old_segment, nullptr); sigaction(SIGBUS, &old_bus, nullptr); sigaltstack(&old_stack, nullptr); }
};

void install() {
    if (stacks) return;
    install_memory();
    auto map = [](size_t bytes) { return static_cast<char*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)); };
    stacks = map((MOST_THREADS + 1) * STACK);
    for (size_t t = 0; t <= MOST_THREADS; t++) mprotect(stacks + t * STACK, PAGE, PROT_NONE);
    shared = reinterpret_cast<unsigned char*>(map(MOST_SHARED + 2 * PAGE));
    mprotect(shared + (MOST_SHARED + PAGE) / PAGE * PAGE, PAGE, PROT_NONE);
}
} // namespace

// ------------------------------------------------------------------------------------------ what others ask
std::string& last_failure() { return failure; }
bool running() { return is_running; }
int running_device() { return on_device; }
unsigned block_number() { return number; }
unsigned first_block_of_launch() { return first_number; }
unsigned clock_of(unsigned thread) { return fibers[thread].clock; }
bool knows(unsigned thread, unsigned clock) {
    const Fiber& f = self();
    return clock <= everyone[thread] || (f.met && clock <= (*f.met)[thread]);
}
Clock known() {
    Fiber& f = self(); Clock all = f.met ? *f.met : everyone;
    all[f.linear] = f.clock;
    return all;
}
void learn(const Clock& more) {
    Fiber& f = self(); auto all = std::make_shared<Clock>(f.met ? *f.met : everyone);
    for (size_t i = 0; i < all->size(); i++) (*all)[i] = std::max((*all)[i], more[i]);
    f.met = all;
}
void step() { self().clock++; }
void wait_for(const void* what, Place place) { Fiber& f = self(); f.state = WAITING; f.waits_for = what; f.place = place; yield(); }
void wake(const void* what) { for (unsigned t = 0; t < threads; t++) if (fibers[t].state == WAITING && fibers[t].waits_for == what) fibers[t].state = READY; }
void as_unit(const Clock& known, const std::function<void()>& work) {
    Fiber& unit = fibers[threads]; Lane* before = current;
    unit.met = std::make_shared<Clock>(known); unit.clock++; current = &unit;
    work();
    current = before;
}
bool is_unit(unsigned thread) { return thread == threads; }
unsigned roll() { dice ^= dice << 13; dice ^= dice >> 7; dice ^= dice << 17; return unsigned(dice >> 32); }
unsigned char* shared_memory() { return shared; }
std::map<std::string, Entered>& entered() { static std::map<std::string, Entered> all; return all; }
void enter(const char* name, const Kernel* kernel, const unsigned* sizes, unsigned count) { entered()[name] = {kernel, {sizes, sizes + count}}; }

int refuse(int code, const char* format, ...) {
    char text[1024]; va_list list; va_start(list, format); vsnprintf(text, sizeof text, format, list); va_end(list);
    failure = text; failed = code;
    if (is_running && current) {
        snprintf(text, sizeof text, "\n  in kernel %s, block (%u, %u, %u), thread (%u, %u, %u)", kernel_name.c_str(), block_index.x, block_index.y, block_index.z,
                 current->index.x, current->index.y, current->index.z);
        failure += text;
    }
    return code;
}
void fail(Code code, const char* format, ...) {
    char text[1024]; va_list list; va_start(list, format); vsnprintf(text, sizeof text, format, list); va_end(list);
    refuse(code, "%s", text);
    yield();                                                 // the block is dropped as it stands
    abort();
}

int run(const std::string& name, Launch& launch, Index grid, Index block, unsigned dynamic, int device) {
    install();
    failed = 0; launched = &launch; kernel_name = name; threads = block.x * block.y * block.z;
    grid_size = grid; block_size = block; first_number = number + 1;
    dice = order.seed * 0x9e3779b97f4a7c15ull | 1;
    Faults caught; is_running = true; on_device = device;
    size_t blocks = size_t(grid.x) * grid.y * grid.z;
    for (size_t i = 0; i < blocks && !failed; i++) {
        size_t b = order.kind == Order::REVERSE ? blocks - 1 - i : i;
        begin_block({unsigned(b % grid.x), unsigned(b / grid.x % grid.y), unsigned(b / grid.x / grid.y)}, block, dynamic);
        run_block();
    }
    is_running = false; current = nullptr;
    if (!failed) failed = check_ends();
    return failed;
}

// ------------------------------------------------------------------------------------------ what kernels call
void block_barrier(Place place) { Fiber& f = self(); f.state = AT_BARRIER; f.place = place; yield(); }
bool block_vote(bool mine, int kind, Place place, int* count) {
    unsigned turn = barriers & 1; Tally& tally = tallies[turn];
    tally.all &= mine; tally.any |= mine; tally.count += mine;
    block_barrier(place);
    if (count) *count = tally.count;
    return kind == 0 ? tally.all : kind == 1 ? tally.any : tally.count != 0;
}
const unsigned char* exchange(unsigned mask, const void* mine, unsigned bytes, Place place) {
    unsigned generation; Meeting& m = meet(mask, mine, bytes, place, false, generation);
    return m.slots[generation & 1];
}
void warp_barrier(unsigned mask, Place place) { unsigned generation; meet(mask, nullptr, 0, place, true, generation); }

// A copy may land at any time before it is waited for: its bytes are claimed now and moved at one end or the other.
void copy_async(void* to, const void* from, unsigned bytes, unsigned filled, const void* caller) {
    if ((uintptr_t(to) | (filled ? uintptr_t(from) : 0)) % bytes) fail(MISALIGNED, "a copy in the background of %u bytes is not aligned to them", bytes);
    if (filled) access(from, filled, READ, caller);
    access(to, bytes, COPY, caller);
    Copy copy{to, from, bytes, filled, caller};
    static const char nothing[16] = {};
    if (!filled) copy.from = nothing;
    if (order.kind == Order::REVERSE || (order.kind == Order::SHUFFLED && roll() & 1)) { land(copy); copy.from = nullptr; }
    self().open.push_back(copy);
}
void copy_async_commit() { Fiber& f = self(); f.groups.push_back(std::move(f.open)); f.open.clear(); }
void copy_async_wait(unsigned pending) {
    Fiber& f = self();
    while (f.groups.size() > pending) {
        for (Copy& copy : f.groups.front()) { access(copy.to, copy.bytes, WRITE, copy.caller); land(copy); }
        f.groups.erase(f.groups.begin());
    }
}

void* Site::place(size_t bytes, size_t alignment, Place where) {
    if (block == number) return memory;
    size_t at = (shared_taken + 15 + 16) / alignment * alignment;          // a gap behind the one before, so that its end is known
    if (at + bytes - dynamic_bytes > MOST_STATIC_SHARED + 16 * 32 || at + bytes > MOST_SHARED)
        fail(ILLEGAL_STATE, "shared arrays of a block take more than %u bytes\n  at %s:%d", MOST_STATIC_SHARED, file_name(where.file), where.line);
    shared_taken = at + bytes; block = number; memory = shared + at;
    shared_claimed(memory, bytes);
    return memory;
}
void* dynamic_shared() { return shared; }
} // namespace emulator
