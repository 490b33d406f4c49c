// libcudnn's graph API: nine functions on generic descriptors. Attribute values cross as raw bytes that TypeScript lays
// out, so that every graph, engine choice and plan is built there.
#include "declarations.h"

namespace darkroom {

using Info = const Napi::CallbackInfo&;

static std::string describe(int code);
static Library cudnn{"libcudnn", describe};

#define DEFINE_CALL(name, ...) static Call<__VA_ARGS__> name{cudnn, #name};
CUDNN_CALLS(DEFINE_CALL)
#undef DEFINE_CALL

static std::string describe(int code) {
  auto get = reinterpret_cast<const char* (*)(int)>(cudnn.find("cudnnGetErrorString"));
  auto detail = reinterpret_cast<void (*)(char*, size_t)>(cudnn.find("cudnnGetLastErrorString"));
  std::string out = get ? get(code) : "unknown error";
  char text[512] = {};
  if (detail) detail(text, sizeof text - 1);
  return text[0] ? out + ": " + text : out;
}

static Napi::Value openLibrary(Info info) {
  return Napi::String::New(info.Env(), cudnn.open(info.Env(), info[0].As<Napi::String>()));
}
static Napi::Value version(Info info) {
  auto get = reinterpret_cast<size_t (*)()>(cudnn.find("cudnnGetVersion"));
  if (!get) cudnn.lacks(info.Env(), "cudnnGetVersion");
  return number(info.Env(), get());
}
static Napi::Value create(Info info) {
  Handle handle = nullptr;
  cudnnCreate(info.Env(), &handle);
  return number(info.Env(), handle);
}
static Napi::Value destroy(Info info) {
  cudnnDestroy(info.Env(), pointer(info[0]));
  return info.Env().Undefined();
}
static Napi::Value setStream(Info info) {
  cudnnSetStream(info.Env(), pointer(info[0]), pointer(info[1]));
  return info.Env().Undefined();
}

static Napi::Value descriptor(Info info) {
  Handle out = nullptr;
  cudnnBackendCreateDescriptor(info.Env(), integer(info[0]), &out);
  return number(info.Env(), out);
}
static Napi::Value descriptorDestroy(Info info) {
  cudnnBackendDestroyDescriptor(info.Env(), pointer(info[0]));
  return info.Env().Undefined();
}
/** setAttribute(descriptor, attribute, type, count, bytes) */
static Napi::Value setAttribute(Info info) {
  cudnnBackendSetAttribute(info.Env(), pointer(info[0]), integer(info[1]), integer(info[2]),
                           static_cast<int64_t>(address(info[3])), bytes(info[4]).data);
  return info.Env().Undefined();
}
/** getAttribute(descriptor, attribute, type, room, bytes): how many there are; of them at most `room` are written. */
static Napi::Value getAttribute(Info info) {
  int64_t count = 0;
  const auto room = static_cast<int64_t>(address(info[3]));
  cudnnBackendGetAttribute(info.Env(), pointer(info[0]), integer(info[1]), integer(info[2]), room, &count,
                           room > 0 ? bytes(info[4]).data : nullptr);
  return Napi::Number::New(info.Env(), static_cast<double>(count));
}
static Napi::Value finalize(Info info) {
  cudnnBackendFinalize(info.Env(), pointer(info[0]));
  return info.Env().Undefined();
}

/** A variant pack lives for one execution: cuDNN has no call to change one. */
class VariantPack {
 public:
  explicit VariantPack(Napi::Env env) : env_(env) {
    if (!cudnnBackendDestroyDescriptor.exists()) cudnn.lacks(env, cudnnBackendDestroyDescriptor.name());
    cudnnBackendCreateDescriptor(env, kVariantPack, &at);
  }
  ~VariantPack() { cudnnBackendDestroyDescriptor.bare(at); }
  void set(int attribute, int type, int64_t count, const void* values) {
    cudnnBackendSetAttribute(env_, at, attribute, type, count, values);
  }
  Handle at = nullptr;

 private:
  Napi::Env env_;
};

/** execute(handle, plan, ids: BigInt64Array, pointers: BigUint64Array, workspace) on the handle's stream. */
static Napi::Value execute(Info info) {
  const Napi::Env env = info.Env();
  const Bytes ids = bytes(info[2]), pointers = bytes(info[3]);
  if (ids.length != pointers.length) throw Napi::RangeError::New(env, "internal: as many ids as pointers expected");
  const auto count = static_cast<int64_t>(ids.length / 8);
  void* workspace = pointer(info[4]);
  VariantPack pack(env);
  pack.set(kIds, kInt64, count, ids.data);
  pack.set(kPointers, kVoidPointer, count, pointers.data);
  pack.set(kWorkspace, kVoidPointer, 1, &workspace);
  cudnnBackendFinalize(env, pack.at);
  cudnnBackendExecute(env, pointer(info[0]), pointer(info[1]), pack.at);
  return env.Undefined();
}

Napi::Object cudnnExports(Napi::Env env) {
  auto out = Napi::Object::New(env);
  method(out, "open", openLibrary);
#define EXPORT(name) method(out, #name, name);
  EXPORT(version) EXPORT(create) EXPORT(destroy) EXPORT(setStream) EXPORT(descriptor) EXPORT(descriptorDestroy)
  EXPORT(setAttribute) EXPORT(getAttribute) EXPORT(finalize) EXPORT(execute)
#undef EXPORT
  return out;
}

}  // namespace darkroom
