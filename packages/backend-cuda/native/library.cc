// Opening libraries, wording failed calls, and reading arguments.
#include "library.h"

#include <link.h>

namespace darkroom {

std::string Library::open(Napi::Env env, const std::string& path) {
  if (handle_) return path_;
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const char* text = dlerror();
    throw error(env, "dlopen", -1, text ? text : "unknown");
  }
  handle_ = handle;
  path_ = path;
  struct link_map* map = nullptr;
  if (dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map && map->l_name[0]) path_ = map->l_name;
  return path_;
}

Napi::Error Library::error(Napi::Env env, const char* call, int code, const std::string& text) const {
  std::string message = std::string(name_) + ": " + call + " failed";
  if (code != -1) message += " with " + std::to_string(code);
  Napi::Error error = Napi::Error::New(env, message + ": " + text);
  error.Set("library", Napi::String::New(env, name_));
  error.Set("call", Napi::String::New(env, call));
  error.Set("code", Napi::Number::New(env, code));
  error.Set("text", Napi::String::New(env, text));
  return error;
}

void Library::lacks(Napi::Env env, const char* call) const {
  if (!handle_) throw error(env, call, -1, "the library was not opened");
  throw error(env, call, -1, path_ + " has no such function (is it too old?)");
}

void Library::fail(Napi::Env env, const char* call, int code) const {
  throw error(env, call, code, describe_(code));
}

Napi::Value number(Napi::Env env, Address value) {
  if (value >= (Address{1} << 53)) throw Napi::Error::New(env, "internal: an address does not fit a number");
  return Napi::Number::New(env, static_cast<double>(value));
}

Bytes bytes(const Napi::Value& value) {
  if (value.IsArrayBuffer()) {
    auto buffer = value.As<Napi::ArrayBuffer>();
    return {static_cast<uint8_t*>(buffer.Data()), buffer.ByteLength()};
  }
  if (!value.IsTypedArray()) throw Napi::TypeError::New(value.Env(), "internal: bytes expected");
  auto view = value.As<Napi::TypedArray>();
  return {static_cast<uint8_t*>(view.ArrayBuffer().Data()) + view.ByteOffset(), view.ByteLength()};
}

void method(Napi::Object object, const char* name, Method function) {
  object.Set(name, Napi::Function::New(object.Env(), function, name));
}

}  // namespace darkroom
