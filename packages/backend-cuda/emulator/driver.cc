// A libcuda whose device is the CPU: the calls that the addon makes, streams synchronous. A "cubin" is a shared object
// that the NVRTC emulator made. During capture a stream notes its work, and a graph does it again.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <dlfcn.h>
#include <elf.h>
#include <unistd.h>

#include "include/launch.h"
#include "launcher.h"
#include "memory.h"

#define API extern "C" __attribute__((visibility("default"))) int

using Work = std::function<int()>;
using Pointer = uint64_t;

enum {
  kOutOfMemory = 2,
  kInvalidDevice = 101,
  kInvalidImage = 200,
  kInvalidHandle = 400,
  kNotFound = 500,
  kCaptureUnsupported = 900,
  kCaptureInvalid = 901,
};

struct Graph {
  std::vector<Work> work;
};
struct Stream {
  std::shared_ptr<Graph> capture;
  bool origin = false;
};
struct Event {
  std::chrono::steady_clock::time_point at;
  bool recorded = false, timed = true;
  std::shared_ptr<Graph> capture;
};
struct Module {
  void* library;
};
struct Function {
  emu::Entry entry;
  std::string name;
  int dynamicShared = 48 << 10;
};

// One message explains the newest error; cuGetErrorString gives it for that error's code.
static std::string message;
static int messageCode;

static int fail(int code, const std::string& text) {
  message = text;
  messageCode = code;
  return code;
}

static int environment(const char* name, int otherwise) {
  const char* text = getenv(name);
  return text && *text ? atoi(text) : otherwise;
}
/** Pretended compute capability, as 80 or 90. */
static int architecture() { return environment("DARKROOM_CUDA_EMULATOR_ARCH", 80); }
static int sharedLimit() {
  const int arch = architecture();
  return (arch >= 90 ? 227 : arch == 80 || arch == 87 ? 163 : arch == 75 ? 64 : 99) << 10;
}

API cuGetErrorName(int code, const char** out) {
  switch (code) {
    case 0: *out = "CUDA_SUCCESS"; break;
    case emu::kInvalidValue: *out = "CUDA_ERROR_INVALID_VALUE"; break;
    case kOutOfMemory: *out = "CUDA_ERROR_OUT_OF_MEMORY"; break;
    case kInvalidDevice: *out = "CUDA_ERROR_INVALID_DEVICE"; break;
    case kInvalidImage: *out = "CUDA_ERROR_INVALID_IMAGE"; break;
    case kInvalidHandle: *out = "CUDA_ERROR_INVALID_HANDLE"; break;
    case kNotFound: *out = "CUDA_ERROR_NOT_FOUND"; break;
    case emu::kIllegalAddress: *out = "CUDA_ERROR_ILLEGAL_ADDRESS"; break;
    case emu::kLaunchFailed: *out = "CUDA_ERROR_LAUNCH_FAILED"; break;
    case kCaptureUnsupported: *out = "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"; break;
    case kCaptureInvalid: *out = "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"; break;
    default: *out = "CUDA_ERROR_UNKNOWN";
  }
  return 0;
}
API cuGetErrorString(int code, const char** out) {
  static std::string text;
  text = code == messageCode ? "emulator: " + message : "emulator";
  *out = text.c_str();
  return 0;
}

// Devices

API cuInit(unsigned) { return 0; }
API cuDriverGetVersion(int* out) { return *out = 13000, 0; }
API cuDeviceGetCount(int* out) { return *out = 1, 0; }
API cuDeviceGet(int* out, int ordinal) {
  *out = 0;
  return ordinal == 0 ? 0 : fail(kInvalidDevice, "there is one device, number 0");
}
API cuDeviceGetName(char* out, int room, int) { return snprintf(out, size_t(room), "CUDA emulator on the CPU"), 0; }
API cuDeviceTotalMem_v2(size_t* out, int) { return *out = emu::totalBytes(), 0; }
API cuDeviceGetAttribute(int* out, int attribute, int) {
  static const int known[][2] = {
      {1, emu::kMaxThreads}, {2, 1024},      {3, 1024},   {4, 64},      {5, 0x7fffffff}, {6, 65535},
      {7, 65535},            {8, 48 << 10},  {10, 32},    {12, 65536},  {13, 1000000},   {16, 4},
      {36, 1000000},         {37, 128},      {38, 1 << 20}, {39, 2048}, {41, 1},         {82, 65536},
      {106, 32},
  };
  *out = 0;
  for (const auto& [number, value] : known)
    if (number == attribute) *out = value;
  if (attribute == 115) *out = environment("DARKROOM_CUDA_EMULATOR_POOLS", 1);
  if (attribute == 75) *out = architecture() / 10;
  if (attribute == 76) *out = architecture() % 10;
  if (attribute == 81 || attribute == 97) *out = sharedLimit() + (attribute == 81 ? 1024 : 0);
  return 0;
}
API cuDevicePrimaryCtxRetain(void** out, int) { return *out = reinterpret_cast<void*>(1), 0; }
API cuDevicePrimaryCtxRelease_v2(int) { return 0; }
API cuCtxSetCurrent(void*) { return 0; }
API cuCtxGetCurrent(void** out) { return *out = reinterpret_cast<void*>(1), 0; }
API cuCtxSynchronize() { return 0; }

// Streams: work runs at once, or is noted while the stream is captured.

static Stream defaultStream;
static Stream* stream(void* handle) { return handle ? static_cast<Stream*>(handle) : &defaultStream; }

static int submit(void* handle, Work work) {
  if (!stream(handle)->capture) return work();
  stream(handle)->capture->work.push_back(std::move(work));
  return 0;
}
static int refusedInCapture(void* handle, const char* what) {
  return stream(handle)->capture ? fail(kCaptureUnsupported, std::string(what) + " while the stream is captured") : 0;
}

API cuStreamCreateWithPriority(void** out, unsigned, int) { return *out = new Stream, 0; }
API cuStreamDestroy_v2(void* at) { return delete static_cast<Stream*>(at), 0; }
API cuStreamSynchronize(void* at) { return refusedInCapture(at, "cuStreamSynchronize"); }
API cuStreamQuery(void* at) { return refusedInCapture(at, "cuStreamQuery"); }
API cuStreamWaitEvent(void* at, void* event, unsigned) {
  const auto& capture = static_cast<Event*>(event)->capture;
  if (capture) stream(at)->capture = capture;  // the stream joins the capture
  return 0;
}
API cuStreamBeginCapture_v2(void* at, int) {
  if (!at) return fail(kCaptureUnsupported, "the default stream cannot be captured");
  if (stream(at)->capture) return fail(kCaptureInvalid, "the stream is captured already");
  *stream(at) = {std::make_shared<Graph>(), true};
  return 0;
}
API cuStreamEndCapture(void* at, void** out) {
  Stream* self = stream(at);
  if (!self->capture || !self->origin) return fail(kCaptureInvalid, "no capture began on this stream");
  *out = new Graph(*self->capture);
  *self = {};
  return 0;
}
API cuGraphInstantiateWithFlags(void** out, void* graph, unsigned long long) {
  return *out = new Graph(*static_cast<Graph*>(graph)), 0;
}
API cuGraphLaunch(void* instance, void* at) {
  Graph* graph = static_cast<Graph*>(instance);
  return submit(at, [graph] {
    for (const Work& work : graph->work)
      if (const int code = work()) return code;
    return 0;
  });
}
API cuGraphExecDestroy(void* at) { return delete static_cast<Graph*>(at), 0; }
API cuGraphDestroy(void* at) { return delete static_cast<Graph*>(at), 0; }

// Events

API cuEventCreate(void** out, unsigned flags) {
  auto* event = new Event;
  event->timed = !(flags & 2);
  return *out = event, 0;
}
API cuEventDestroy_v2(void* at) { return delete static_cast<Event*>(at), 0; }
API cuEventRecord(void* at, void* on) {
  auto* event = static_cast<Event*>(at);
  event->capture = stream(on)->capture;
  event->at = std::chrono::steady_clock::now();
  event->recorded = true;
  return 0;
}
static int captured(void* at) {
  const auto& capture = static_cast<Event*>(at)->capture;
  return capture && capture.use_count() > 1 ? fail(kCaptureUnsupported, "the event belongs to a capture") : 0;
}
API cuEventQuery(void* at) { return captured(at); }
API cuEventSynchronize(void* at) { return captured(at); }
API cuEventElapsedTime(float* out, void* from, void* to) {
  auto *a = static_cast<Event*>(from), *b = static_cast<Event*>(to);
  if (!a->recorded || !b->recorded || !a->timed || !b->timed || a->capture || b->capture)
    return fail(kInvalidHandle, "elapsed time needs two timed events, recorded outside a capture");
  *out = std::chrono::duration<float, std::milli>(b->at - a->at).count();
  return 0;
}

// Memory

static int allocate(Pointer* out, size_t bytes) {
  if (bytes == 0) return fail(emu::kInvalidValue, "an allocation of 0 bytes");
  if ((*out = emu::allocate(bytes))) return 0;
  return fail(kOutOfMemory, std::to_string(bytes) + " bytes asked for, " + std::to_string(emu::liveBytes()) + " of " +
                                std::to_string(emu::totalBytes()) + " in use");
}
static int release(Pointer at) {
  std::string damage;
  if (!emu::release(at, &damage)) return fail(emu::kInvalidValue, "no allocation starts at the address given");
  return damage.empty() ? 0 : fail(emu::kIllegalAddress, damage);
}
API cuMemAlloc_v2(Pointer* out, size_t bytes) { return allocate(out, bytes); }
API cuMemFree_v2(Pointer at) { return release(at); }
API cuMemAllocAsync(Pointer* out, size_t bytes, void* on) {
  const int code = refusedInCapture(on, "cuMemAllocAsync");
  return code ? code : allocate(out, bytes);
}
API cuMemFreeAsync(Pointer at, void* on) {
  const int code = refusedInCapture(on, "cuMemFreeAsync");
  return code ? code : release(at);
}
API cuMemGetInfo_v2(size_t* free, size_t* total) {
  return *total = emu::totalBytes(), *free = *total - emu::liveBytes(), 0;
}
API cuDeviceGetDefaultMemPool(void** out, int) { return *out = reinterpret_cast<void*>(1), 0; }
API cuMemPoolSetAttribute(void*, int, void*) { return 0; }
API cuMemPoolGetAttribute(void*, int, void* out) { return *static_cast<uint64_t*>(out) = emu::liveBytes(), 0; }
API cuMemPoolTrimTo(void*, size_t) { return 0; }
API cuMemHostAlloc(void** out, size_t bytes, unsigned) {
  *out = bytes ? aligned_alloc(4096, (bytes + 4095) / 4096 * 4096) : nullptr;
  return *out ? 0 : fail(kOutOfMemory, "no host memory");
}
API cuMemFreeHost(void* at) { return free(at), 0; }

static int inside(Pointer at, size_t bytes, const char* what) {
  if (emu::covers(at, bytes)) return 0;
  return fail(emu::kInvalidValue,
              std::string(what) + " of " + std::to_string(bytes) + " bytes, the first " + emu::locate(at));
}
API cuMemcpyHtoDAsync_v2(Pointer to, const void* from, size_t bytes, void* on) {
  if (const int code = inside(to, bytes, "copy to the device")) return code;
  return submit(on, [=] { return memcpy(reinterpret_cast<void*>(to), from, bytes), 0; });
}
API cuMemcpyDtoHAsync_v2(void* to, Pointer from, size_t bytes, void* on) {
  if (const int code = inside(from, bytes, "copy to the host")) return code;
  return submit(on, [=] { return memcpy(to, reinterpret_cast<void*>(from), bytes), 0; });
}
API cuMemcpyDtoDAsync_v2(Pointer to, Pointer from, size_t bytes, void* on) {
  if (const int code = inside(from, bytes, "copy from")) return code;
  if (const int code = inside(to, bytes, "copy to")) return code;
  return submit(on, [=] { return memmove(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes), 0; });
}
API cuMemsetD8Async(Pointer at, unsigned char value, size_t count, void* on) {
  if (const int code = inside(at, count, "fill")) return code;
  return submit(on, [=] { return memset(reinterpret_cast<void*>(at), value, count), 0; });
}
API cuMemsetD32Async(Pointer at, unsigned value, size_t count, void* on) {
  if (const int code = inside(at, count * 4, "fill")) return code;
  return submit(on, [=] {
    for (size_t i = 0; i < count; i++) reinterpret_cast<unsigned*>(at)[i] = value;
    return 0;
  });
}

// Modules

API cuModuleLoadData(void** out, const void* image) {
  const auto* header = static_cast<const Elf64_Ehdr*>(image);
  if (memcmp(header->e_ident, ELFMAG, SELFMAG) || header->e_machine != EM_X86_64)
    return fail(kInvalidImage, "not made by the NVRTC emulator");
  const size_t bytes = header->e_shoff + size_t(header->e_shnum) * header->e_shentsize;
  // A file with a name of its own: the loader takes two libraries of one path (as of memfd) for the same.
  char path[] = "/tmp/darkroom-module-XXXXXX";
  const int file = mkstemp(path);
  const bool written = file >= 0 && write(file, image, bytes) == ssize_t(bytes);
  void* library = written ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
  const char* reason = written && !library ? dlerror() : "no temporary file";
  if (file >= 0) close(file), unlink(path);
  if (!library) return fail(kInvalidImage, reason);
  return *out = new Module{library}, 0;
}
API cuModuleUnload(void* at) {
  dlclose(static_cast<Module*>(at)->library);
  return delete static_cast<Module*>(at), 0;
}
API cuModuleGetFunction(void** out, void* module, const char* name) {
  void* entry = dlsym(static_cast<Module*>(module)->library, ("emu_kernel_" + std::string(name)).c_str());
  if (!entry) return fail(kNotFound, std::string("the module has no kernel ") + name);
  return *out = new Function{reinterpret_cast<emu::Entry>(entry), name}, 0;
}
API cuFuncSetAttribute(void* at, int attribute, int value) {
  constexpr int maxDynamicShared = 8;
  if (attribute != maxDynamicShared) return 0;
  if (value > sharedLimit())
    return fail(emu::kInvalidValue, std::to_string(value) + " bytes of shared memory, the device has " +
                                        std::to_string(sharedLimit()));
  return static_cast<Function*>(at)->dynamicShared = value, 0;
}
API cuFuncGetAttribute(int* out, int attribute, void* at) {
  *out = attribute == 0 ? int(emu::kMaxThreads) : attribute == 8 ? static_cast<Function*>(at)->dynamicShared : 0;
  return 0;
}
API cuOccupancyMaxActiveBlocksPerMultiprocessor(int* out, void*, int threads, size_t) {
  return *out = threads ? 2048 / threads : 0, 0;
}

// Launches

static int launch(Function* function, const unsigned* size, size_t sharedBytes, const std::vector<char>& arguments) {
  std::string reason;
  const bool reverse = environment("DARKROOM_CUDA_EMULATOR_REVERSE", 0) != 0;
  const int code = emu::run(function->entry, size, sharedBytes, arguments, reverse, &reason);
  return code == 0 ? 0 : fail(code, function->name + ": " + reason);
}

API cuLaunchKernel(void* at, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX, unsigned blockY,
                   unsigned blockZ, unsigned sharedBytes, void* on, void** parameters, void** extra) {
  auto* function = static_cast<Function*>(at);
  const std::vector<unsigned> size = {gridX, gridY, gridZ, blockX, blockY, blockZ};
  auto refuse = [&](const std::string& text) { return fail(emu::kInvalidValue, function->name + ": " + text); };
  if (parameters) return refuse("the emulator takes an argument block only");
  const uint64_t threads = uint64_t(blockX) * blockY * blockZ;
  if (threads == 0 || threads > emu::kMaxThreads || blockZ > 64)
    return refuse("a block of " + std::to_string(threads) + " threads");
  if (!gridX || !gridY || !gridZ || gridX > 0x7fffffff || gridY > 65535 || gridZ > 65535)
    return refuse("a grid of " + std::to_string(gridX) + " x " + std::to_string(gridY) + " x " + std::to_string(gridZ));
  if (int(sharedBytes) > function->dynamicShared)
    return refuse(std::to_string(sharedBytes) + " bytes of dynamic shared memory, " +
                  std::to_string(function->dynamicShared) + " are allowed for this kernel");
  std::vector<char> arguments;
  if (extra) {
    const auto* block = static_cast<const char*>(extra[1]);
    arguments.assign(block, block + *static_cast<size_t*>(extra[3]));
  }
  return submit(on, [=] { return launch(function, size.data(), sharedBytes, arguments); });
}
