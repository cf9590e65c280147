// driver.c - NVIDIA's library for a GPU that does nothing: memory is addresses, launches and copies return at once. What an
// operation costs beside it is what the host pays.
#include <stdlib.h>
#include <string.h>

typedef unsigned long long address;
static address next = 1 << 20;
static __thread void* current;

int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int* version) { *version = 12000; return 0; }
int cuGetErrorName(int code, const char** name) { *name = "NAME"; return 0; }
int cuGetErrorString(int code, const char** text) { *text = "in words"; return 0; }
int cuDeviceGetCount(int* count) { *count = 1; return 0; }
int cuDeviceGet(int* device, int number) { *device = number; return 0; }
int cuDeviceGetName(char* name, int size, int device) { strncpy(name, "a GPU that does nothing", size); return 0; }
int cuDeviceGetAttribute(int* number, int which, int device) { *number = which == 75 ? 9 : which == 16 ? 132 : 0; return 0; }
int cuDeviceTotalMem_v2(size_t* bytes, int device) { *bytes = (size_t)64 << 30; return 0; }
int cuDevicePrimaryCtxRetain(void** context, int device) { *context = &next; return 0; }
int cuDeviceGetDefaultMemPool(void** pool, int device) { *pool = &next; return 0; }
int cuCtxGetCurrent(void** context) { *context = current; return 0; }
int cuCtxSetCurrent(void* context) { current = context; return 0; }
int cuStreamCreate(void** stream, unsigned flags) { *stream = &next; return 0; }
int cuEventCreate(void** event, unsigned flags) { *event = &next; return 0; }
int cuMemAllocAsync(address* at, size_t bytes, void* stream) { *at = next; next += (bytes + 511) / 512 * 512; return 0; }
int cuMemHostAlloc(void** at, size_t bytes, unsigned flags) { *at = calloc(1, bytes); return 0; }
int cuModuleLoadDataEx(void** module, const void* image, unsigned count, int* options, void** values) { *module = &next; return 0; }
int cuModuleGetFunction(void** function, void* module, const char* name) { *function = &next; return 0; }
int cuLaunchKernel(void* function, unsigned x, unsigned y, unsigned z, unsigned i, unsigned j, unsigned k, unsigned shared, void* stream, void** arguments, void** more) { return 0; }

#define NOTHING(name) int name(void) { return 0; }
NOTHING(cuEventQuery) NOTHING(cuEventRecord) NOTHING(cuEventSynchronize) NOTHING(cuFuncSetAttribute) NOTHING(cuGraphDestroy) NOTHING(cuGraphExecDestroy)
NOTHING(cuGraphInstantiateWithFlags) NOTHING(cuGraphLaunch) NOTHING(cuMemFreeAsync) NOTHING(cuMemPoolSetAttribute) NOTHING(cuMemPoolTrimTo)
NOTHING(cuMemcpyDtoDAsync_v2) NOTHING(cuMemcpyDtoHAsync_v2) NOTHING(cuMemcpyHtoDAsync_v2) NOTHING(cuMemcpyPeerAsync) NOTHING(cuMemsetD8Async)
NOTHING(cuStreamBeginCapture_v2) NOTHING(cuStreamDestroy_v2) NOTHING(cuStreamEndCapture) NOTHING(cuStreamSynchronize) NOTHING(cuStreamWaitEvent) NOTHING(cuTensorMapEncodeTiled)
