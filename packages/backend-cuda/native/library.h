// A library opened at run time, its functions by name, and the check of every call: a failed one becomes a JavaScript
// error with the library, the call, the code and the text. Nothing of CUDA is needed to build; types are ours.
#pragma once

#include <dlfcn.h>
#include <napi.h>

#include <cstdint>
#include <string>

namespace darkroom {

/** Handles and device addresses cross as numbers: all of them lie below 2^53. */
using Address = uint64_t;

class Library {
 public:
  using Describe = std::string (*)(int code);
  Library(const char* name, Describe describe) : name_(name), describe_(describe) {}

  /** Opens the file; returns the path that the loader took. Opening the same library twice does nothing. */
  std::string open(Napi::Env env, const std::string& path);
  /** The function's address, nullptr where the library lacks it. */
  void* find(const char* call) const { return handle_ ? dlsym(handle_, call) : nullptr; }

  [[noreturn]] void lacks(Napi::Env env, const char* call) const;
  [[noreturn]] void fail(Napi::Env env, const char* call, int code) const;
  /** The error of a call that ran on another thread. */
  Napi::Error error(Napi::Env env, const char* call, int code, const std::string& text) const;
  std::string text(int code) const { return describe_(code); }

 private:
  const char* name_;
  Describe describe_;
  void* handle_ = nullptr;
  std::string path_;
};

/** One function of a library, looked up when first called. */
template <typename... A>
class Call {
 public:
  Call(Library& library, const char* name) : library_(library), name_(name) {}

  bool exists() {
    if (!function_) function_ = reinterpret_cast<int (*)(A...)>(library_.find(name_));
    return function_ != nullptr;
  }
  /** Calls and checks. @throws when the library lacks the function or the code is not 0. */
  void operator()(Napi::Env env, A... arguments) {
    const int code = raw(env, arguments...);
    if (code != 0) library_.fail(env, name_, code);
  }
  /** Calls; the code is the caller's to judge. */
  int raw(Napi::Env env, A... arguments) {
    if (!exists()) library_.lacks(env, name_);
    return function_(arguments...);
  }
  /** For other threads: exists() must have been asked before. */
  int bare(A... arguments) const { return function_(arguments...); }
  const char* name() const { return name_; }

 private:
  Library& library_;
  const char* name_;
  int (*function_)(A...) = nullptr;
};

// Arguments from JavaScript. The TypeScript side is the only caller, so a wrong type is an internal error.

inline Address address(const Napi::Value& value) {
  return static_cast<Address>(value.As<Napi::Number>().Int64Value());
}
template <typename T = void>
T* pointer(const Napi::Value& value) {
  return reinterpret_cast<T*>(address(value));
}
inline int integer(const Napi::Value& value) { return value.As<Napi::Number>().Int32Value(); }
inline size_t size(const Napi::Value& value) { return static_cast<size_t>(address(value)); }

Napi::Value number(Napi::Env env, Address value);
inline Napi::Value number(Napi::Env env, const void* value) {
  return number(env, reinterpret_cast<Address>(value));
}

/** The bytes of an ArrayBuffer or of a view on one. */
struct Bytes {
  uint8_t* data;
  size_t length;
};
Bytes bytes(const Napi::Value& value);

/** Puts a function into the library's object. */
using Method = Napi::Value (*)(const Napi::CallbackInfo&);
void method(Napi::Object object, const char* name, Method function);

Napi::Object driverExports(Napi::Env env);
Napi::Object nvrtcExports(Napi::Env env);
Napi::Object cublasLtExports(Napi::Env env);
Napi::Object cudnnExports(Napi::Env env);

}  // namespace darkroom
