// driver.cpp - a stand-in libcuda: the calls of the CUDA driver that cudarc makes, on emulated devices.
//
// Streams are lazy: work runs where somebody waits for it and not before, so a host that forgets to wait reads stale bytes
// here too. A kernel's failure stays, as on a GPU: every later call gives it back, until a test calls `emulator_reset`.
//
// EMULATOR: fast judges nothing but what faults.
// EMULATOR_DEVICES, EMULATOR_MEMORY: how many devices (1; 0 is a driver without one), bytes of each.
// EMULATOR_CAPABILITY: what the devices say they are, 90 for 9.0 (the default), 80 for 8.0.
// EMULATOR_ORDER: forward, reverse, or a number that shuffles threads. EMULATOR_EAGER: work runs at once.
// EMULATOR_LAUNCHED: a file that is told the name of each kernel of a .cu file when it is launched first.
#include "runtime.h"
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <mutex>
#include <set>
#define API extern "C" __attribute__((visibility("default"))) int

namespace {
using emulator::Kernel; using std::string; using std::vector;
enum Result {
    OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101, INVALID_IMAGE = 200, INVALID_CONTEXT = 201,
    NO_BINARY_FOR_GPU = 209, INVALID_PTX = 218, UNSUPPORTED_PTX_VERSION = 222, INVALID_HANDLE = 400, NOT_FOUND = 500, NOT_READY = 600,
    ILLEGAL_ADDRESS = 700, MISALIGNED_ADDRESS = 716, LAUNCH_FAILED = 719, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901,
};
const std::map<int, std::pair<const char*, const char*>> SAYINGS = {
    {OK, {"CUDA_SUCCESS", "no error"}}, {INVALID_VALUE, {"CUDA_ERROR_INVALID_VALUE", "invalid argument"}}, {OUT_OF_MEMORY, {"CUDA_ERROR_OUT_OF_MEMORY", "out of memory"}},
    {NOT_INITIALIZED, {"CUDA_ERROR_NOT_INITIALIZED", "initialization error"}}, {NO_DEVICE, {"CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"}},
    {INVALID_DEVICE, {"CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"}}, {INVALID_IMAGE, {"CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"}},
    {INVALID_CONTEXT, {"CUDA_ERROR_INVALID_CONTEXT", "invalid device context"}}, {NO_BINARY_FOR_GPU, {"CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"}},
    {INVALID_PTX, {"CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"}}, {UNSUPPORTED_PTX_VERSION, {"CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain"}},
    {INVALID_HANDLE, {"CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"}}, {NOT_FOUND, {"CUDA_ERROR_NOT_FOUND", "named symbol not found"}}, {NOT_READY, {"CUDA_ERROR_NOT_READY", "device not ready"}},
    {ILLEGAL_ADDRESS, {"CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"}}, {MISALIGNED_ADDRESS, {"CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"}},
    {LAUNCH_FAILED, {"CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"}}, {CAPTURE_UNSUPPORTED, {"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"}},
    {CAPTURE_INVALIDATED, {"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"}},
};

using Work = std::function<int()>;
struct Graph { vector<Work> works; };
struct Context { int device; };
struct Stream { std::deque<Work> waiting; unsigned long long issued = 0, done = 0; std::unique_ptr<Graph> capture; bool spoilt = false; int device = 0; };
struct Event { Stream* stream = nullptr; unsigned long long at = 0; };
struct Module { string text; };
struct Function { string name; std::shared_ptr<const Kernel> kernel; int most_dynamic = 48 << 10; };
struct Pool { int device; unsigned long long threshold = 0; };

std::recursive_mutex lock; bool initialised; int sticky;
constexpr int MOST_DEVICES = 4;
Context contexts[MOST_DEVICES]; Stream default_streams[MOST_DEVICES]; Pool pools[MOST_DEVICES];
std::set<Stream*> streams; std::map<char*, size_t> pinned;
thread_local Context* current_context;
#define LOCK std::lock_guard<std::recursive_mutex> guard_(lock)
#define ENTER LOCK; if (!initialised) return NOT_INITIALIZED; if (sticky) return sticky

int devices() { const char* n = getenv("EMULATOR_DEVICES"); return n ? std::min(atoi(n), MOST_DEVICES) : 1; }
int capability() { const char* n = getenv("EMULATOR_CAPABILITY"); return n ? atoi(n) : 90; }
int current_device() { return current_context ? current_context->device : 0; }
Stream& stream_of(void* handle) { return uintptr_t(handle) > 2 ? *static_cast<Stream*>(handle) : default_streams[current_device()]; }
bool is_pinned(const void* p) {
    auto next = pinned.upper_bound(static_cast<char*>(const_cast<void*>(p)));
    return next != pinned.begin() && (--next, static_cast<const char*>(p) < next->first + next->second);
}
// Runs what waits, up to a number of works.
int drain(Stream& s, unsigned long long upto = ~0ull) {
    while (!s.waiting.empty() && s.done < upto) {
        Work work = std::move(s.waiting.front()); s.waiting.pop_front(); s.done++;
        if (int failed = work()) return sticky = failed;
    }
    return sticky;
}
int drain_all() { for (Stream* s : streams) if (int failed = drain(*s)) return failed; return sticky; }
int put(Stream& s, Work work) {
    if (s.capture) { s.capture->works.push_back(std::move(work)); return OK; }
    s.waiting.push_back(std::move(work)); s.issued++;
    static const bool eager = getenv("EMULATOR_EAGER");
    return eager || s.waiting.size() > 4096 ? drain(s) : OK;
}
int spoil(Stream& s) { s.spoilt = true; return CAPTURE_UNSUPPORTED; }
int check(const void* at, size_t bytes, const char* what) {
    return emulator::holds(at, bytes) ? OK : emulator::refuse(INVALID_VALUE, "%s of %zu bytes goes beyond its allocation", what, bytes);
}
int to_device(void* to, const void* from, size_t n) {
    if (int failed = check(to, n, "a copy to the device")) return failed;
    memcpy(to, from, n); emulator::mark_written(to, n); return OK;
}
int to_host(void* to, const void* from, size_t n) {
    if (int failed = check(from, n, "a copy to the host")) return failed;
    if (emulator::judging && !emulator::readable(from, n)) return emulator::refuse(ILLEGAL_ADDRESS, "a copy of %zu bytes to the host reads bytes that nothing wrote", n);
    memcpy(to, from, n); return OK;
}
int within_device(void* to, const void* from, size_t n) {
    if (int failed = check(from, n, "a copy on the device")) return failed;
    if (int failed = check(to, n, "a copy on the device")) return failed;
    memmove(to, from, n); emulator::copy_marks(to, from, n); return OK;
}
void order_from(const char* text) {
    using emulator::Order;
    if (!text || !strcmp(text, "forward")) emulator::order = {Order::FORWARD, 0};
    else if (!strcmp(text, "reverse")) emulator::order = {Order::REVERSE, 0};
    else emulator::order = {Order::SHUFFLED, strtoull(text, nullptr, 10)};
}
// Says that a kernel is launched, where somebody wants to know.
void tell(const string& name) {
    static const char* file = getenv("EMULATOR_LAUNCHED"); static std::set<string> told;
    if (!file || !emulator::entered().count(name) || !told.insert(name).second) return;
    if (FILE* list = fopen(file, "a")) { fprintf(list, "%s\n", name.c_str()); fclose(list); }
}

// The bytes of the parameters of an entry, from its declaration: `.param .u64 a, .param .align 8 .b8 b[144]`.
bool parameters(const string& text, const string& name, vector<unsigned>& sizes) {
    size_t at = text.find(".entry " + name + "(");
    if (at == string::npos) return false;
    size_t from = text.find('(', at), end = text.find(')', from);
    string list = text.substr(from + 1, end - from - 1);
    for (size_t p = list.find(".param"); p != string::npos; p = list.find(".param", p + 1)) {
        string one = list.substr(p, list.find(".param", p + 1) - p);
        size_t array = one.find('[');
        if (array != string::npos) { sizes.push_back(unsigned(atoi(one.c_str() + array + 1))); continue; }
        for (const char* type : {".u8", ".u16", ".u32", ".u64", ".s8", ".s16", ".s32", ".s64", ".f32", ".f64", ".b8", ".b16", ".b32", ".b64"})
            if (one.find(string(type) + " ") != string::npos) { sizes.push_back(unsigned(atoi(type + 2)) / 8); break; }
    }
    return true;
}
} // namespace

// ------------------------------------------------------------------------------------------ the driver and its devices
API cuInit(unsigned) {
    LOCK; if (!devices()) return NO_DEVICE;
    for (int d = 0; d < MOST_DEVICES && !initialised; d++) { contexts[d].device = default_streams[d].device = pools[d].device = d; streams.insert(&default_streams[d]); }
    if (!initialised) order_from(getenv("EMULATOR_ORDER"));
    initialised = true; return OK;
}
API cuDriverGetVersion(int* version) { *version = getenv("EMULATOR_VERSION") ? atoi(getenv("EMULATOR_VERSION")) : 12000; return OK; }
API cuDeviceGetCount(int* count) { *count = devices(); return OK; }
API cuDeviceGet(int* device, int ordinal) { if (ordinal < 0 || ordinal >= devices()) return INVALID_DEVICE; *device = ordinal; return OK; }
API cuDeviceGetName(char* name, int length, int) { snprintf(name, length, "emulated on the CPU"); return OK; }
API cuDeviceGetUuid_v2(char* uuid, int device) { memset(uuid, 0, 16); uuid[15] = char(device); return OK; }
API cuDeviceGetUuid(char* uuid, int device) { return cuDeviceGetUuid_v2(uuid, device); }
API cuDeviceTotalMem_v2(size_t* bytes, int) { *bytes = emulator::total_bytes(); return OK; }
API cuMemGetInfo_v2(size_t* free, size_t* total) { LOCK; *free = emulator::free_bytes(current_device()); *total = emulator::total_bytes(); return OK; }
API cuDeviceGetAttribute(int* value, int attribute, int) {
    static const std::map<int, int> values = {
        {1, 1024}, {2, 1024}, {3, 1024}, {4, 64}, {5, 0x7fffffff}, {6, 65535}, {7, 65535},      // threads of a block, blocks of a grid
        {8, 48 << 10}, {10, 32}, {12, 65536}, {16, 4}, {39, 2048}, {41, 1},                   // shared memory, warp, registers, multiprocessors, threads of one, unified addresses
        {81, 228 << 10}, {82, 65536}, {97, 227 << 10}, {115, 1},            // shared memory again, memory pools
    };
    if (attribute == 75 || attribute == 76) { *value = attribute == 75 ? capability() / 10 : capability() % 10; return OK; }
    auto found = values.find(attribute); *value = found == values.end() ? 0 : found->second; return OK;
}
API cuGetErrorName(int code, const char** text) { auto found = SAYINGS.find(code); *text = found == SAYINGS.end() ? "CUDA_ERROR_UNKNOWN" : found->second.first; return OK; }
API cuGetErrorString(int code, const char** text) {
    LOCK; static thread_local string said; auto found = SAYINGS.find(code);
    said = found == SAYINGS.end() ? "error " + std::to_string(code) : found->second.second;
    if (code >= ILLEGAL_ADDRESS && code < CAPTURE_UNSUPPORTED && !emulator::last_failure().empty()) said += ": " + emulator::last_failure();
    *text = said.c_str(); return OK;
}

API cuDevicePrimaryCtxRetain(void** context, int device) { LOCK; if (!initialised) return NOT_INITIALIZED; *context = &contexts[device]; return OK; }
API cuDevicePrimaryCtxRelease_v2(int) { LOCK; return drain_all(); }
API cuCtxGetCurrent(void** context) { *context = current_context; return OK; }
API cuCtxSetCurrent(void* context) { current_context = static_cast<Context*>(context); return OK; }
API cuCtxGetDevice(int* device) { if (!current_context) return INVALID_CONTEXT; *device = current_device(); return OK; }
API cuCtxSynchronize() { ENTER; return drain_all(); }
API cuCtxGetStreamPriorityRange(int* least, int* greatest) { *least = *greatest = 0; return OK; }
API cuCtxSetFlags(unsigned) { return OK; }
API cuCtxSetLimit(int, size_t) { return OK; }
API cuCtxGetLimit(size_t* value, int) { *value = 1024; return OK; }
API cuCtxSetCacheConfig(int) { return OK; }
API cuCtxGetCacheConfig(int* config) { *config = 0; return OK; }
API cuProfilerStart() { return OK; }
API cuProfilerStop() { return OK; }

// ------------------------------------------------------------------------------------------ streams and events
API cuStreamCreate(void** handle, unsigned) { ENTER; auto* s = new Stream; s->device = current_device(); streams.insert(s); *handle = s; return OK; }
API cuStreamCreateWithPriority(void** handle, unsigned flags, int) { return cuStreamCreate(handle, flags); }
API cuStreamDestroy_v2(void* handle) { LOCK; Stream& s = stream_of(handle); int failed = sticky ? sticky : drain(s); streams.erase(&s); return failed; }   // events may name it: it is kept
API cuStreamSynchronize(void* handle) { ENTER; Stream& s = stream_of(handle); return s.capture ? spoil(s) : drain(s); }
API cuStreamQuery(void* handle) { ENTER; Stream& s = stream_of(handle); return s.capture ? spoil(s) : s.waiting.empty() ? int(OK) : int(NOT_READY); }
API cuStreamWaitEvent(void* handle, void* event, unsigned) {
    ENTER; Event e = *static_cast<Event*>(event);
    return e.stream && e.stream != &stream_of(handle) ? put(stream_of(handle), [e] { return drain(*e.stream, e.at); }) : int(OK);
}
API cuLaunchHostFunc(void* handle, void (*function)(void*), void* data) { ENTER; return put(stream_of(handle), [=] { function(data); return int(OK); }); }
API cuEventCreate(void** event, unsigned) { *event = new Event; return OK; }
API cuEventDestroy_v2(void* event) { delete static_cast<Event*>(event); return OK; }
API cuEventRecord(void* event, void* handle) { ENTER; Stream& s = stream_of(handle); if (!s.capture) *static_cast<Event*>(event) = {&s, s.issued}; return OK; }
API cuEventSynchronize(void* event) { ENTER; Event e = *static_cast<Event*>(event); return e.stream ? drain(*e.stream, e.at) : int(OK); }
API cuEventQuery(void* event) { ENTER; Event e = *static_cast<Event*>(event); return !e.stream || e.stream->done >= e.at ? OK : NOT_READY; }
API cuEventElapsedTime(float* milliseconds, void*, void*) { *milliseconds = 0.001f; return OK; }
API cuEventElapsedTime_v2(float* milliseconds, void* a, void* b) { return cuEventElapsedTime(milliseconds, a, b); }

// ------------------------------------------------------------------------------------------ memory
API cuMemAlloc_v2(void** at, size_t bytes) {
    ENTER; if (!bytes) return INVALID_VALUE;
    *at = emulator::allocate(bytes, current_device());
    if (!*at) { if (int failed = drain_all()) return failed; *at = emulator::allocate(bytes, current_device()); }     // what waits may free
    return *at ? OK : OUT_OF_MEMORY;
}
API cuMemAllocAsync(void** at, size_t bytes, void* handle) { ENTER; Stream& s = stream_of(handle); return s.capture ? spoil(s) : cuMemAlloc_v2(at, bytes); }
API cuMemAllocFromPoolAsync(void** at, size_t bytes, void*, void* handle) { return cuMemAllocAsync(at, bytes, handle); }
API cuMemAllocManaged(void** at, size_t bytes, unsigned) { return cuMemAlloc_v2(at, bytes); }
API cuMemFree_v2(void* at) { LOCK; if (!at) return OK; if (sticky) return sticky; if (int failed = drain_all()) return failed; return emulator::release(at); }
API cuMemFreeAsync(void* at, void* handle) { LOCK; if (!at) return OK; if (sticky) return sticky; return put(stream_of(handle), [at] { return emulator::release(at); }); }
API cuMemHostAlloc(void** at, size_t bytes, unsigned) {
    ENTER; *at = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096 + 4096); if (!*at) return OUT_OF_MEMORY;
    memset(*at, 0xFF, bytes); pinned[static_cast<char*>(*at)] = bytes; return OK;
}
API cuMemFreeHost(void* at) { LOCK; if (!sticky) drain_all(); if (!pinned.erase(static_cast<char*>(at))) return INVALID_VALUE; free(at); return OK; }
API cuMemcpyHtoDAsync_v2(void* to, const void* from, size_t bytes, void* handle) {
    ENTER; Stream& s = stream_of(handle);
    if (is_pinned(from)) return put(s, [=] { return to_device(to, from, bytes); });
    if (s.capture) return spoil(s);
    auto copy = std::make_shared<string>(static_cast<const char*>(from), bytes);        // ordinary memory may change at once
    return put(s, [=] { return to_device(to, copy->data(), bytes); });
}
API cuMemcpyDtoHAsync_v2(void* to, const void* from, size_t bytes, void* handle) {
    ENTER; Stream& s = stream_of(handle); if (s.capture && !is_pinned(to)) return spoil(s);
    int failed = put(s, [=] { return to_host(to, from, bytes); });
    return failed || s.capture || is_pinned(to) ? failed : drain(s);
}
API cuMemcpyDtoDAsync_v2(void* to, const void* from, size_t bytes, void* handle) { ENTER; return put(stream_of(handle), [=] { return within_device(to, from, bytes); }); }
API cuMemcpyPeerAsync(void* to, void* to_context, const void* from, void* from_context, size_t bytes, void* handle) {
    ENTER; int device = static_cast<Context*>(to_context)->device, other = static_cast<Context*>(from_context)->device; Stream& s = stream_of(handle);
    if (s.capture) return spoil(s);
    return put(s, [=] {
        if (emulator::device_of(to) != device || emulator::device_of(from) != other) return emulator::refuse(INVALID_VALUE, "a copy from device %d to device %d of memory that is not theirs", other, device);
        return within_device(to, from, bytes); });
}
API cuMemcpyHtoD_v2(void* to, const void* from, size_t bytes) { ENTER; if (int failed = drain_all()) return failed; return to_device(to, from, bytes); }
API cuMemcpyDtoH_v2(void* to, const void* from, size_t bytes) { ENTER; if (int failed = drain_all()) return failed; return to_host(to, from, bytes); }
API cuMemcpyDtoD_v2(void* to, const void* from, size_t bytes) { ENTER; if (int failed = drain_all()) return failed; return within_device(to, from, bytes); }
API cuMemsetD8Async(void* to, unsigned char value, size_t bytes, void* handle) {
    ENTER; return put(stream_of(handle), [=] {
        if (int failed = check(to, bytes, "a fill")) return failed;
        memset(to, value, bytes); emulator::mark_written(to, bytes); return int(OK); });
}
API cuMemsetD8_v2(void* to, unsigned char value, size_t bytes) { return cuMemsetD8Async(to, value, bytes, nullptr); }
API cuDeviceGetDefaultMemPool(void** pool, int device) { *pool = &pools[device]; return OK; }
API cuDeviceGetMemPool(void** pool, int device) { *pool = &pools[device]; return OK; }
API cuDeviceSetMemPool(int, void*) { return OK; }
API cuMemPoolSetAttribute(void* pool, int attribute, void* value) { if (attribute == 4) static_cast<Pool*>(pool)->threshold = *static_cast<unsigned long long*>(value); return OK; }
API cuMemPoolGetAttribute(void* pool, int attribute, void* value) {
    LOCK; auto* p = static_cast<Pool*>(pool); unsigned long long used = emulator::total_bytes() - emulator::free_bytes(p->device);
    *static_cast<unsigned long long*>(value) = attribute == 4 ? p->threshold : attribute >= 5 ? used : 1; return OK;
}
API cuMemPoolTrimTo(void*, size_t) { return OK; }

// A tensor of three or four axes and the box of it that copies bring. What real drivers refuse is refused.
API cuTensorMapEncodeTiled(void* out, int type, unsigned rank, void* base, const unsigned long long* sizes, const unsigned long long* strides, const unsigned* box, const unsigned* steps, int interleave, int swizzle, int, int fill) {
    static const unsigned bytes[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4};            // of u8 u16 u32 i32 u64 i64 f16 f32 f64 bf16 ...
    if (rank < 3 || rank > 4 || type < 0 || type > 12 || interleave || fill || (swizzle != 0 && swizzle != 3)) return emulator::refuse(INVALID_VALUE, "a tensor map that is not emulated");
    emulator::Map map{}; map.magic = emulator::Map::MAGIC; map.base = uintptr_t(base); map.size = bytes[type]; map.swizzle = unsigned(swizzle); map.rank = rank; map.is_tf32 = type == 11;
    bool fine = uintptr_t(base) % 16 == 0 && uintptr_t(out) % 64 == 0;
    for (unsigned axis = 0; axis < rank; axis++) { map.sizes[axis] = (long long)sizes[axis]; fine &= sizes[axis] >= 1 && sizes[axis] <= 1ull << 32 && box[axis] >= 1 && box[axis] <= 256 && steps[axis] == 1; }
    for (int axis = 0; axis < 2; axis++) map.box[axis] = box[axis];
    for (unsigned axis = 0; axis < rank - 1; axis++) { map.strides[axis] = (long long)strides[axis]; fine &= strides[axis] % 16 == 0 && strides[axis] >= 1 && strides[axis] < 1ull << 40; }
    fine &= box[2] == 1 && box[rank - 1] == 1 && box[0] * map.size % 16 == 0 && (swizzle == 0 || box[0] * map.size <= 128);
    if (!fine) return emulator::refuse(INVALID_VALUE, "a tensor map with sizes, steps or addresses that hardware does not take");
    memcpy(out, &map, sizeof map); return OK;
}

// ------------------------------------------------------------------------------------------ modules, functions, launches
static int load(void** module, const void* image, string& reason) {
    string text(static_cast<const char*>(image));
    size_t at = text.find(".version ");
    if (at == string::npos || text.find(".target ") == string::npos) { reason = "no PTX: .version or .target is missing"; return INVALID_IMAGE; }
    double version = atof(text.c_str() + at + 9);
    if (version > 8.0) { reason = "PTX " + std::to_string(version) + " is newer than this driver, which reads 8.0"; return UNSUPPORTED_PTX_VERSION; }
    string target = text.substr(text.find(".target ") + 11, 4); int made_for = atoi(target.c_str());
    bool only_there = target.find('a') != string::npos;                      // sm_90a is no other's
    if (made_for > capability() || (only_there && made_for != capability())) { reason = "the target is sm_" + target + ", this device is sm_" + std::to_string(capability()); return NO_BINARY_FOR_GPU; }
    *module = new Module{text}; return OK;
}
API cuModuleLoadDataEx(void** module, const void* image, unsigned count, int* options, void** values) {
    ENTER; string reason; int failed = load(module, image, reason);
    char* log = nullptr; size_t room = 0;                                   // 5, 6: the log of errors and its size
    for (unsigned i = 0; i < count; i++) { if (options[i] == 5) log = static_cast<char*>(values[i]); if (options[i] == 6) room = size_t(values[i]); }
    if (log && room) snprintf(log, room, "%s", reason.c_str());
    return failed;
}
API cuModuleLoadData(void** module, const void* image) { ENTER; string reason; return load(module, image, reason); }
API cuModuleUnload(void* module) { delete static_cast<Module*>(module); return OK; }
API cuModuleGetFunction(void** function, void* handle, const char* name) {
    ENTER; auto* module = static_cast<Module*>(handle); vector<unsigned> sizes;
    if (!parameters(module->text, name, sizes)) { emulator::refuse(NOT_FOUND, "the module has no entry %s", name); return NOT_FOUND; }
    auto found = emulator::entered().find(name); std::shared_ptr<const Kernel> kernel; string reason;
    if (found == emulator::entered().end()) kernel = emulator::read_ptx(module->text, name, reason);
    else if (found->second.sizes != sizes) reason = string(name) + ": the PTX has other parameters than the kernel; run kernels/ptx.py build";
    else kernel = {found->second.kernel, [](const Kernel*) {}};
    if (!kernel) { fprintf(stderr, "%s\n", reason.c_str()); emulator::refuse(NOT_FOUND, "%s", reason.c_str()); return NOT_FOUND; }
    *function = new Function{name, kernel}; return OK;
}
API cuFuncSetAttribute(void* handle, int attribute, int value) {
    if (attribute != 8) return OK;                                          // 8: dynamic shared memory
    if (value > int(emulator::MOST_SHARED)) return INVALID_VALUE;
    static_cast<Function*>(handle)->most_dynamic = value; return OK;
}
API cuFuncGetAttribute(int* value, int attribute, void* handle) { *value = attribute == 0 ? 1024 : attribute == 8 ? static_cast<Function*>(handle)->most_dynamic : 0; return OK; }
API cuFuncSetCacheConfig(void*, int) { return OK; }
API cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void*, int size, size_t) { *blocks = size > 0 ? 2048 / size : 0; return OK; }

static bool fits(emulator::Index grid, emulator::Index block, int dynamic, int most) {
    unsigned long long threads = 1ull * block.x * block.y * block.z;
    return threads && threads <= emulator::MOST_THREADS && block.z <= 64 && grid.x && grid.y && grid.z && grid.x <= 0x7fffffff && grid.y <= 65535 && grid.z <= 65535 && dynamic <= most;
}
static unsigned launches = 0;
API cuLaunchKernel(void* handle, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned dynamic, void* queue, void** arguments, void**) {
    ENTER; launches++; auto* f = static_cast<Function*>(handle); emulator::Index grid{gx, gy, gz}, block{bx, by, bz};
    if (!fits(grid, block, int(dynamic), f->most_dynamic)) return INVALID_VALUE;
    tell(f->name); std::shared_ptr<emulator::Launch> launch = f->kernel->bind(arguments);      // arguments are copied now
    Stream& s = stream_of(queue); string name = f->name; int device = s.device;
    return put(s, [=] { return emulator::run(name, *launch, grid, block, dynamic, device); });
}

// ------------------------------------------------------------------------------------------ graphs
API cuStreamBeginCapture_v2(void* handle, int) { ENTER; Stream& s = stream_of(handle); if (s.capture) return INVALID_VALUE; s.capture = std::make_unique<Graph>(); s.spoilt = false; return OK; }
API cuStreamEndCapture(void* handle, void** graph) {
    ENTER; Stream& s = stream_of(handle); *graph = nullptr; if (!s.capture) return INVALID_VALUE;
    std::unique_ptr<Graph> captured = std::move(s.capture);
    if (s.spoilt) return CAPTURE_INVALIDATED;
    *graph = captured.release(); return OK;
}
API cuStreamIsCapturing(void* handle, int* status) { LOCK; Stream& s = stream_of(handle); *status = !s.capture ? 0 : s.spoilt ? 2 : 1; return OK; }
API cuGraphInstantiateWithFlags(void** executable, void* graph, unsigned long long) { *executable = new Graph(*static_cast<Graph*>(graph)); return OK; }
API cuGraphLaunch(void* executable, void* handle) { ENTER; for (const Work& work : static_cast<Graph*>(executable)->works) if (int failed = put(stream_of(handle), work)) return failed; return OK; }
API cuGraphUpload(void*, void*) { return OK; }
API cuGraphExecDestroy(void* executable) { delete static_cast<Graph*>(executable); return OK; }
API cuGraphDestroy(void* graph) { delete static_cast<Graph*>(graph); return OK; }

// ------------------------------------------------------------------------------------------ for tests
// Forgets a failure (a real device needs a new process) and what waits behind it.
API emulator_reset() { LOCK; sticky = 0; emulator::last_failure().clear(); for (Stream* s : streams) { s->waiting.clear(); s->done = s->issued; s->capture.reset(); } return OK; }
API emulator_message(char* text, size_t length) { LOCK; snprintf(text, length, "%s", emulator::last_failure().c_str()); return OK; }
API emulator_order(const char* name) { LOCK; order_from(name); return OK; }
API emulator_launches() { LOCK; return int(launches); }
// A kernel by its name, without PTX: runs at once, 0 or a code.
API emulator_launch(const char* name, const unsigned* grid, const unsigned* block, unsigned dynamic, const unsigned* sizes, unsigned count, void** arguments) {
    LOCK; auto found = emulator::entered().find(name);
    if (found == emulator::entered().end()) return emulator::refuse(NOT_FOUND, "no kernel is called %s", name);
    if (found->second.sizes != vector<unsigned>(sizes, sizes + count)) return emulator::refuse(INVALID_VALUE, "%s has other parameters", name);
    emulator::Index g{grid[0], grid[1], grid[2]}, b{block[0], block[1], block[2]};
    if (!fits(g, b, int(dynamic), int(emulator::MOST_SHARED))) return emulator::refuse(INVALID_VALUE, "%s cannot be launched in this grid", name);
    return emulator::run(name, *found->second.kernel->bind(arguments), g, b, dynamic, 0);
}
// The same for the entry of a PTX text, by the way that the library goes.
API emulator_launch_text(const char* text, const char* entry, const unsigned* grid, const unsigned* block, void** arguments) {
    void *module = nullptr, *function = nullptr;
    if (int failed = cuModuleLoadData(&module, text)) return emulator::refuse(failed, "the text is no module");
    int failed = cuModuleGetFunction(&function, module, entry);
    cuModuleUnload(module);
    if (failed) return failed;
    emulator::Index g{grid[0], grid[1], grid[2]}, b{block[0], block[1], block[2]};
    LOCK; auto* f = static_cast<Function*>(function);
    if (!fits(g, b, 0, int(emulator::MOST_SHARED))) return emulator::refuse(INVALID_VALUE, "the text cannot be launched in this grid");
    return emulator::run(f->name, *f->kernel->bind(arguments), g, b, 0, 0);
}
API emulator_names(char* text, size_t length) {
    string all; for (auto& one : emulator::entered()) all += one.first + "\n";
    snprintf(text, length, "%s", all.c_str()); return int(all.size());
}
