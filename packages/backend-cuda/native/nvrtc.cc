// libnvrtc: CUDA C++ to a cubin. Compiling needs no device; it may run on a worker thread.
#include <algorithm>
#include <vector>

#include "declarations.h"

namespace darkroom {

using Info = const Napi::CallbackInfo&;

static std::string describe(int code);
static Library nvrtc{"libnvrtc", describe};
static Library builtins{"libnvrtc-builtins", [](int) { return std::string(); }};

#define DEFINE_CALL(name, ...) static Call<__VA_ARGS__> name{nvrtc, #name};
NVRTC_CALLS(DEFINE_CALL)
#undef DEFINE_CALL

static std::string describe(int code) {
  auto get = reinterpret_cast<const char* (*)(int)>(nvrtc.find("nvrtcGetErrorString"));
  return get ? get(code) : "unknown error";
}

/** open(library, builtins?): NVRTC later asks for its builtins by bare name, which finds the one opened here. */
static Napi::Value openLibrary(Info info) {
  if (info[1].IsString()) builtins.open(info.Env(), info[1].As<Napi::String>());
  return Napi::String::New(info.Env(), nvrtc.open(info.Env(), info[0].As<Napi::String>()));
}

static Napi::Value version(Info info) {
  int major = 0, minor = 0;
  nvrtcVersion(info.Env(), &major, &minor);
  return Napi::String::New(info.Env(), std::to_string(major) + "." + std::to_string(minor));
}

struct Compilation {
  std::string source, name, log, cubin;
  std::vector<std::string> options;
  const char* call = "";
  int code = 0;

  explicit Compilation(Info info) : source(info[0].As<Napi::String>()), name(info[1].As<Napi::String>()) {
    auto list = info[2].As<Napi::Array>();
    for (uint32_t i = 0; i < list.Length(); i++) options.push_back(list.Get(i).As<Napi::String>());
    // Asked for on this thread, because a worker cannot throw. CUDA 11.0 and older have no GetCUBIN.
    require(info.Env(), nvrtcCreateProgram, nvrtcCompileProgram, nvrtcGetProgramLogSize, nvrtcGetProgramLog,
            nvrtcGetCUBINSize, nvrtcGetCUBIN, nvrtcDestroyProgram);
  }

  template <typename... C>
  static void require(Napi::Env env, C&... calls) {
    (void(calls.exists() ? void() : nvrtc.lacks(env, calls.name())), ...);
  }

  void run() {
    Handle program = nullptr;
    std::vector<const char*> list;
    for (const auto& option : options) list.push_back(option.c_str());
    if (!step(nvrtcCreateProgram, &program, source.c_str(), name.c_str(), 0, nullptr, nullptr)) return;
    const bool compiled = step(nvrtcCompileProgram, program, static_cast<int>(list.size()), list.data());
    size_t length = 0;
    if (nvrtcGetProgramLogSize.bare(program, &length) == 0 && length > 1) {
      log.resize(length);
      nvrtcGetProgramLog.bare(program, log.data());
      log.resize(length - 1);  // its final zero
    }
    if (compiled && step(nvrtcGetCUBINSize, program, &length)) {
      cubin.resize(length);
      step(nvrtcGetCUBIN, program, cubin.data());
    }
    nvrtcDestroyProgram.bare(&program);
  }

  template <typename C, typename... A>
  bool step(C& function, A... arguments) {
    call = function.name();
    return (code = function.bare(arguments...)) == 0;
  }

  /** A kernel that does not compile is an answer with a log; anything else that fails is an error. */
  Napi::Value result(Napi::Env env) const {
    auto out = Napi::Object::New(env);
    out.Set("log", log);
    if (code == 0) {
      auto buffer = Napi::ArrayBuffer::New(env, cubin.size());
      std::copy(cubin.begin(), cubin.end(), static_cast<char*>(buffer.Data()));
      out.Set("cubin", Napi::Uint8Array::New(env, cubin.size(), buffer, 0));
    } else if (code != kCompilationFailed) {
      throw nvrtc.error(env, call, code, describe(code) + (log.empty() ? "" : "\n" + log));
    }
    return out;
  }
};

static Napi::Value compile(Info info) {
  Compilation compilation(info);
  compilation.run();
  return compilation.result(info.Env());
}

class CompileWorker : public Napi::AsyncWorker {
 public:
  explicit CompileWorker(Info info)
      : Napi::AsyncWorker(info.Env()), promise_(Napi::Promise::Deferred::New(info.Env())), compilation_(info) {}
  void Execute() override { compilation_.run(); }
  void OnOK() override {
    try {
      promise_.Resolve(compilation_.result(Env()));
    } catch (const Napi::Error& error) {
      promise_.Reject(error.Value());
    }
  }
  Napi::Promise promise() const { return promise_.Promise(); }

 private:
  Napi::Promise::Deferred promise_;
  Compilation compilation_;
};
static Napi::Value compileAsync(Info info) {
  auto* worker = new CompileWorker(info);
  const Napi::Promise promise = worker->promise();
  worker->Queue();
  return promise;
}

Napi::Object nvrtcExports(Napi::Env env) {
  auto out = Napi::Object::New(env);
  method(out, "open", openLibrary);
  method(out, "version", version);
  method(out, "compile", compile);
  method(out, "compileAsync", compileAsync);
  return out;
}

}  // namespace darkroom
