// runtime.h - what the parts of the stand-in driver know of each other: blocks of fibers, device memory, programs.
#pragma once
#include "cuda.h"
#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace emulator {
// ---- block.cpp
struct Order { enum { FORWARD, REVERSE, SHUFFLED } kind = FORWARD; unsigned long long seed = 0; };
extern Order order;                                       // in which threads run, and when copies in the background land
constexpr unsigned MOST_THREADS = 1024, MOST_STATIC_SHARED = 48 << 10, MOST_SHARED = 227 << 10;
int run(const std::string& name, Launch& launch, Index grid, Index block, unsigned shared, int device);   // 0 or a code
std::string& last_failure();
int refuse(int code, const char* format, ...) __attribute__((format(printf, 2, 3)));   // notes the failure, gives the code
bool running();
int running_device();
unsigned block_number(), first_block_of_launch();         // blocks are counted through all launches
unsigned clock_of(unsigned thread);                       // how often that thread has met others
bool knows(unsigned thread, unsigned clock);              // has the current thread met that one since?

// Time is counted by each thread for itself: a step for each meeting. A clock says how far of every thread's time is known; the last is that of
// the unit that copies boxes.
using Clock = std::vector<unsigned>;
Clock known();                                            // to the current thread, its own time with it
void learn(const Clock& more);                            // the current thread knows that too
void step();                                              // the current thread's time goes on
void wait_for(const void* what, Place place);             // the current thread, until somebody wakes those who wait for it
void wake(const void* what);
void as_unit(const Clock& known, const std::function<void()>& work);   // in the name of the unit that copies boxes, which knows so much
bool is_unit(unsigned thread);                            // and no thread?
unsigned roll();
unsigned char* shared_memory();                           // of the block

struct Entered { const Kernel* kernel; std::vector<unsigned> sizes; };
std::map<std::string, Entered>& entered();

// ---- hopper.cpp
// A tensor and the box of it that a copy brings, as cuTensorMapEncodeTiled writes it down.
struct Map {
    static constexpr unsigned long long MAGIC = 0x70616d726f736e74ull;
    unsigned long long magic, base; long long sizes[4], strides[3]; unsigned box[2], size, swizzle, rank, is_tf32; unsigned char rest[32];
};
static_assert(sizeof(Map) == 128, "as large as the driver's");
void units_begin();                                       // with a block
bool boxes_wait();
void bring_a_box();
void thread_ends();                                       // the current one
bool units_end();                                         // false where something was left undone
void explain_wait(const void* barrier);
unsigned fenced_until(unsigned thread);                   // up to when its writes were made known to the units
void touch(const void* at, unsigned bytes, Kind kind, const void* caller);   // the current thread's own memory

// ---- memory.cpp
constexpr size_t PAGE = 4096;
extern const bool judging;                                // not where EMULATOR=fast: what kernels report is not looked at
void* allocate(size_t bytes, int device);                 // null where the device is full
int release(void* at);
bool holds(const void* at, size_t bytes);                 // one living allocation covers it
int device_of(const void* at);                            // whose memory it is; -1 where nothing is allocated
bool readable(const void* at, size_t bytes);              // ... and every byte was written
void mark_written(void* at, size_t bytes);
void copy_marks(void* to, const void* from, size_t bytes);
size_t free_bytes(int device), total_bytes();
int check_ends();                                         // bytes behind allocations, where accesses are not reported
void shared_begins(unsigned char* memory, size_t bytes);  // a block's shared memory, nothing claimed
void shared_claimed(void* at, size_t bytes);
std::string what_is_at(const void* fault);
std::string place_of_caller(const void* caller);          // file and line, from a new line on
bool written_for_units(const void* at, size_t bytes);     // in shared memory: by the unit, or with a fence behind it
void install_memory();

// ---- ptx.cpp: kernels that exist as PTX text only
std::shared_ptr<const Kernel> read_ptx(const std::string& text, const std::string& entry, std::string& reason);
} // namespace emulator
