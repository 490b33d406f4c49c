// libcuda: devices, memory, copies, streams, events, modules, launches and graphs. Allocation policy, kernel choice and
// caching are TypeScript; a function here is one driver call, or one and what it cannot be without.
#include "declarations.h"

namespace darkroom {

using Info = const Napi::CallbackInfo&;

static std::string describe(int code);
static Library driver{"libcuda", describe};

#define DEFINE_CALL(name, ...) static Call<__VA_ARGS__> name{driver, #name};
DRIVER_CALLS(DEFINE_CALL)
#undef DEFINE_CALL

static std::string describe(int code) {
  using Text = int (*)(int, const char**);
  std::string out;
  for (const char* call : {"cuGetErrorName", "cuGetErrorString"}) {
    const char* text = nullptr;
    auto get = reinterpret_cast<Text>(driver.find(call));
    if (get) get(code, &text);
    if (text) out += (out.empty() ? "" : ": ") + std::string(text);
  }
  return out.empty() ? "unknown error" : out;
}

// Devices and contexts

static Napi::Value openLibrary(Info info) {
  return Napi::String::New(info.Env(), driver.open(info.Env(), info[0].As<Napi::String>()));
}
static Napi::Value init(Info info) {
  cuInit(info.Env(), 0);
  return info.Env().Undefined();
}
static Napi::Value version(Info info) {
  int value = 0;
  cuDriverGetVersion(info.Env(), &value);
  return Napi::Number::New(info.Env(), value);
}
static Napi::Value deviceCount(Info info) {
  int value = 0;
  cuDeviceGetCount(info.Env(), &value);
  return Napi::Number::New(info.Env(), value);
}
static Device device(Info info) {
  Device value = 0;
  cuDeviceGet(info.Env(), &value, integer(info[0]));
  return value;
}
static Napi::Value deviceName(Info info) {
  char name[256] = {};
  cuDeviceGetName(info.Env(), name, sizeof name - 1, device(info));
  return Napi::String::New(info.Env(), name);
}
static Napi::Value deviceAttribute(Info info) {
  int value = 0;
  cuDeviceGetAttribute(info.Env(), &value, integer(info[1]), device(info));
  return Napi::Number::New(info.Env(), value);
}
static Napi::Value deviceBytes(Info info) {
  size_t value = 0;
  cuDeviceTotalMem_v2(info.Env(), &value, device(info));
  return number(info.Env(), value);
}
static Napi::Value contextRetain(Info info) {
  Handle context = nullptr;
  cuDevicePrimaryCtxRetain(info.Env(), &context, device(info));
  return number(info.Env(), context);
}
static Napi::Value contextRelease(Info info) {
  cuDevicePrimaryCtxRelease_v2(info.Env(), device(info));
  return info.Env().Undefined();
}
static Napi::Value contextUse(Info info) {
  cuCtxSetCurrent(info.Env(), pointer(info[0]));
  return info.Env().Undefined();
}
static Napi::Value contextSynchronize(Info info) {
  cuCtxSynchronize(info.Env());
  return info.Env().Undefined();
}

// Memory

static Napi::Value memoryInfo(Info info) {
  size_t free = 0, total = 0;
  cuMemGetInfo_v2(info.Env(), &free, &total);
  auto out = Napi::Object::New(info.Env());
  out.Set("free", number(info.Env(), free));
  out.Set("total", number(info.Env(), total));
  return out;
}
static Napi::Value alloc(Info info) {
  DevicePointer out = 0;
  cuMemAlloc_v2(info.Env(), &out, size(info[0]));
  return number(info.Env(), out);
}
static Napi::Value free(Info info) {
  cuMemFree_v2(info.Env(), address(info[0]));
  return info.Env().Undefined();
}
static Napi::Value allocAsync(Info info) {
  DevicePointer out = 0;
  cuMemAllocAsync(info.Env(), &out, size(info[0]), pointer(info[1]));
  return number(info.Env(), out);
}
static Napi::Value freeAsync(Info info) {
  cuMemFreeAsync(info.Env(), address(info[0]), pointer(info[1]));
  return info.Env().Undefined();
}
static Handle defaultPool(Info info) {
  Handle pool = nullptr;
  cuDeviceGetDefaultMemPool(info.Env(), &pool, device(info));
  return pool;
}
static Napi::Value poolSet(Info info) {
  uint64_t value = address(info[2]);
  cuMemPoolSetAttribute(info.Env(), defaultPool(info), integer(info[1]), &value);
  return info.Env().Undefined();
}
static Napi::Value poolGet(Info info) {
  uint64_t value = 0;
  cuMemPoolGetAttribute(info.Env(), defaultPool(info), integer(info[1]), &value);
  return number(info.Env(), value);
}
static Napi::Value poolTrim(Info info) {
  cuMemPoolTrimTo(info.Env(), defaultPool(info), size(info[1]));
  return info.Env().Undefined();
}

/** Pinned memory is an ArrayBuffer; the driver gets it back when the buffer is freed or collected. */
static Napi::Value hostAlloc(Info info) {
  void* data = nullptr;
  const size_t length = size(info[0]);
  cuMemHostAlloc(info.Env(), &data, length, 0);
  // Errors are ignored when collected: at exit the context may be gone before the buffer.
  return Napi::ArrayBuffer::New(info.Env(), data, length, [](Napi::Env, void* gone) {
    if (cuMemFreeHost.exists()) cuMemFreeHost.bare(gone);
  });
}
/** Detaching drops the last owner, so that the finaliser above runs soon and not at some collection. */
static Napi::Value hostFree(Info info) {
  info[0].As<Napi::ArrayBuffer>().Detach();
  return info.Env().Undefined();
}
static Napi::Value hostAddress(Info info) { return number(info.Env(), bytes(info[0]).data); }

static Napi::Value copyToDevice(Info info) {
  const Bytes source = bytes(info[1]);
  cuMemcpyHtoDAsync_v2(info.Env(), address(info[0]), source.data, source.length, pointer(info[2]));
  return info.Env().Undefined();
}
static Napi::Value copyToHost(Info info) {
  const Bytes target = bytes(info[0]);
  cuMemcpyDtoHAsync_v2(info.Env(), target.data, address(info[1]), target.length, pointer(info[2]));
  return info.Env().Undefined();
}
static Napi::Value copyOnDevice(Info info) {
  cuMemcpyDtoDAsync_v2(info.Env(), address(info[0]), address(info[1]), size(info[2]), pointer(info[3]));
  return info.Env().Undefined();
}
static Napi::Value fillBytes(Info info) {
  cuMemsetD8Async(info.Env(), address(info[0]), static_cast<unsigned char>(integer(info[1])), size(info[2]),
                  pointer(info[3]));
  return info.Env().Undefined();
}
static Napi::Value fillWords(Info info) {
  cuMemsetD32Async(info.Env(), address(info[0]), info[1].As<Napi::Number>().Uint32Value(), size(info[2]),
                   pointer(info[3]));
  return info.Env().Undefined();
}

// Streams and events

/** No implicit order with the legacy default stream. */
static Napi::Value streamCreate(Info info) {
  Handle stream = nullptr;
  cuStreamCreateWithPriority(info.Env(), &stream, kNonBlocking, integer(info[0]));
  return number(info.Env(), stream);
}
static Napi::Value streamDestroy(Info info) {
  cuStreamDestroy_v2(info.Env(), pointer(info[0]));
  return info.Env().Undefined();
}
static Napi::Value streamSynchronize(Info info) {
  cuStreamSynchronize(info.Env(), pointer(info[0]));
  return info.Env().Undefined();
}
static Napi::Value ready(Info info, int code, const char* call) {
  if (code != 0 && code != kNotReady) driver.fail(info.Env(), call, code);
  return Napi::Boolean::New(info.Env(), code == 0);
}
static Napi::Value streamReady(Info info) {
  return ready(info, cuStreamQuery.raw(info.Env(), pointer(info[0])), cuStreamQuery.name());
}
static Napi::Value streamWait(Info info) {
  cuStreamWaitEvent(info.Env(), pointer(info[0]), pointer(info[1]), 0);
  return info.Env().Undefined();
}
/** A thread that waits for the event sleeps instead of spinning. */
static Napi::Value eventCreate(Info info) {
  const bool timed = info[0].ToBoolean();
  Handle event = nullptr;
  cuEventCreate(info.Env(), &event, kBlockingSync | (timed ? 0 : kDisableTiming));
  return number(info.Env(), event);
}
static Napi::Value eventDestroy(Info info) {
  cuEventDestroy_v2(info.Env(), pointer(info[0]));
  return info.Env().Undefined();
}
static Napi::Value eventRecord(Info info) {
  cuEventRecord(info.Env(), pointer(info[0]), pointer(info[1]));
  return info.Env().Undefined();
}
static Napi::Value eventReady(Info info) {
  return ready(info, cuEventQuery.raw(info.Env(), pointer(info[0])), cuEventQuery.name());
}
static Napi::Value eventElapsed(Info info) {
  float ms = 0;
  cuEventElapsedTime(info.Env(), &ms, pointer(info[0]), pointer(info[1]));
  return Napi::Number::New(info.Env(), ms);
}
static Napi::Value eventSynchronize(Info info) {
  cuEventSynchronize(info.Env(), pointer(info[0]));
  return info.Env().Undefined();
}

/** Waits for an event on a worker thread, which needs the caller's context. */
class EventWait : public Napi::AsyncWorker {
 public:
  EventWait(Napi::Env env, Handle event)
      : Napi::AsyncWorker(env), promise_(Napi::Promise::Deferred::New(env)), event_(event) {
    cuCtxGetCurrent(env, &context_);
    if (!cuEventSynchronize.exists()) driver.lacks(env, cuEventSynchronize.name());
  }
  void Execute() override {
    code_ = cuCtxSetCurrent.exists() ? cuCtxSetCurrent.bare(context_) : 0;
    if (code_ == 0) code_ = cuEventSynchronize.bare(event_);
    if (code_ != 0) text_ = driver.text(code_);
  }
  void OnOK() override {
    if (code_ == 0) return promise_.Resolve(Env().Undefined());
    promise_.Reject(driver.error(Env(), cuEventSynchronize.name(), code_, text_).Value());
  }
  Napi::Promise promise() const { return promise_.Promise(); }

 private:
  Napi::Promise::Deferred promise_;
  Handle event_, context_ = nullptr;
  int code_ = 0;
  std::string text_;
};
static Napi::Value eventWait(Info info) {
  auto* wait = new EventWait(info.Env(), pointer(info[0]));
  const Napi::Promise promise = wait->promise();
  wait->Queue();
  return promise;
}

// Modules, launches, graphs

static Napi::Value moduleLoad(Info info) {
  Handle module = nullptr;
  cuModuleLoadData(info.Env(), &module, bytes(info[0]).data);
  return number(info.Env(), module);
}
static Napi::Value moduleUnload(Info info) {
  cuModuleUnload(info.Env(), pointer(info[0]));
  return info.Env().Undefined();
}
static Napi::Value moduleFunction(Info info) {
  Handle function = nullptr;
  cuModuleGetFunction(info.Env(), &function, pointer(info[0]), info[1].As<Napi::String>().Utf8Value().c_str());
  return number(info.Env(), function);
}
static Napi::Value functionSet(Info info) {
  cuFuncSetAttribute(info.Env(), pointer(info[0]), integer(info[1]), integer(info[2]));
  return info.Env().Undefined();
}
static Napi::Value functionGet(Info info) {
  int value = 0;
  cuFuncGetAttribute(info.Env(), &value, integer(info[1]), pointer(info[0]));
  return Napi::Number::New(info.Env(), value);
}
static Napi::Value functionBlocks(Info info) {
  int value = 0;
  cuOccupancyMaxActiveBlocksPerMultiprocessor(info.Env(), &value, pointer(info[0]), integer(info[1]), size(info[2]));
  return Napi::Number::New(info.Env(), value);
}

/**
 * The hot call: launch(function, gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes, stream, arguments). Plain
 * N-API, because the C++ wrapper allocates for more than six arguments.
 */
static napi_value launch(napi_env env, napi_callback_info info) {
  size_t count = 10;
  napi_value argument[10];
  napi_get_cb_info(env, info, &count, argument, nullptr, nullptr);
  int64_t function = 0, stream = 0;
  uint32_t dimension[7] = {};
  void* block = nullptr;
  size_t blockBytes = 0;
  bool fine = count == 10 && napi_get_value_int64(env, argument[0], &function) == napi_ok &&
              napi_get_value_int64(env, argument[8], &stream) == napi_ok &&
              napi_get_arraybuffer_info(env, argument[9], &block, &blockBytes) == napi_ok;
  for (int i = 0; fine && i < 7; i++) fine = napi_get_value_uint32(env, argument[i + 1], &dimension[i]) == napi_ok;
  if (!fine) {
    napi_throw_type_error(env, nullptr, "internal: launch takes nine numbers and an ArrayBuffer");
    return nullptr;
  }
  // CU_LAUNCH_PARAM_BUFFER_POINTER, _SIZE, _END
  void* extra[] = {reinterpret_cast<void*>(1), block, reinterpret_cast<void*>(2), &blockBytes, nullptr};
  void** given = blockBytes > 0 ? extra : nullptr;
  try {
    cuLaunchKernel(Napi::Env(env), reinterpret_cast<Handle>(function), dimension[0], dimension[1], dimension[2],
                   dimension[3], dimension[4], dimension[5], dimension[6], reinterpret_cast<Handle>(stream), nullptr,
                   given);
  } catch (const Napi::Error& error) {
    error.ThrowAsJavaScriptException();
  }
  return nullptr;
}

static Napi::Value captureBegin(Info info) {
  cuStreamBeginCapture_v2(info.Env(), pointer(info[0]), integer(info[1]));
  return info.Env().Undefined();
}
static Napi::Value captureEnd(Info info) {
  Handle graph = nullptr;
  cuStreamEndCapture(info.Env(), pointer(info[0]), &graph);
  return number(info.Env(), graph);
}
static Napi::Value graphInstantiate(Info info) {
  Handle instance = nullptr;
  cuGraphInstantiateWithFlags(info.Env(), &instance, pointer(info[0]), 0);
  return number(info.Env(), instance);
}
static Napi::Value graphLaunch(Info info) {
  cuGraphLaunch(info.Env(), pointer(info[0]), pointer(info[1]));
  return info.Env().Undefined();
}
static Napi::Value graphDestroy(Info info) {
  cuGraphDestroy(info.Env(), pointer(info[0]));
  return info.Env().Undefined();
}
static Napi::Value instanceDestroy(Info info) {
  cuGraphExecDestroy(info.Env(), pointer(info[0]));
  return info.Env().Undefined();
}

Napi::Object driverExports(Napi::Env env) {
  auto out = Napi::Object::New(env);
  method(out, "open", openLibrary);
#define EXPORT(name) method(out, #name, name);
  EXPORT(init) EXPORT(version) EXPORT(deviceCount) EXPORT(deviceName) EXPORT(deviceAttribute) EXPORT(deviceBytes)
  EXPORT(contextRetain) EXPORT(contextRelease) EXPORT(contextUse) EXPORT(contextSynchronize)
  EXPORT(memoryInfo) EXPORT(alloc) EXPORT(free) EXPORT(allocAsync) EXPORT(freeAsync)
  EXPORT(poolSet) EXPORT(poolGet) EXPORT(poolTrim) EXPORT(hostAlloc) EXPORT(hostFree) EXPORT(hostAddress)
  EXPORT(copyToDevice) EXPORT(copyToHost) EXPORT(copyOnDevice) EXPORT(fillBytes) EXPORT(fillWords)
  EXPORT(streamCreate) EXPORT(streamDestroy) EXPORT(streamSynchronize) EXPORT(streamReady) EXPORT(streamWait)
  EXPORT(eventCreate) EXPORT(eventDestroy) EXPORT(eventRecord) EXPORT(eventReady) EXPORT(eventElapsed)
  EXPORT(eventSynchronize) EXPORT(eventWait)
  EXPORT(moduleLoad) EXPORT(moduleUnload) EXPORT(moduleFunction)
  EXPORT(functionSet) EXPORT(functionGet) EXPORT(functionBlocks)
  EXPORT(captureBegin) EXPORT(captureEnd) EXPORT(graphInstantiate) EXPORT(graphLaunch) EXPORT(graphDestroy)
  EXPORT(instanceDestroy)
#undef EXPORT
  napi_value function = nullptr;
  napi_create_function(env, "launch", NAPI_AUTO_LENGTH, launch, nullptr, &function);
  out.Set("launch", function);
  return out;
}

}  // namespace darkroom
