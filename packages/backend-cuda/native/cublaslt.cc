// libcublasLt: one object per matmul problem, its algorithms, and running one. Enumerations are numbers given by
// TypeScript; matrices are column-major as the library's own, scale factors float32.
#include <algorithm>
#include <memory>
#include <vector>

#include "declarations.h"

namespace darkroom {

using Info = const Napi::CallbackInfo&;

static std::string describe(int code);
static Library cublasLt{"libcublasLt", describe};

#define DEFINE_CALL(name, ...) static Call<__VA_ARGS__> name{cublasLt, #name};
CUBLASLT_CALLS(DEFINE_CALL)
#undef DEFINE_CALL

static std::string describe(int code) {
  std::string out;
  for (const char* call : {"cublasLtGetStatusName", "cublasLtGetStatusString"}) {
    auto get = reinterpret_cast<const char* (*)(int)>(cublasLt.find(call));
    const char* text = get ? get(code) : nullptr;
    if (text) out += (out.empty() ? "" : ": ") + std::string(text);
  }
  return out.empty() ? "unknown error" : out;
}


struct Problem {
  Handle operation = nullptr;
  Handle layouts[4] = {};  // A, B, C, D
  bool biased = false;
  std::vector<Algorithm> algorithms;

  ~Problem() {
    for (Handle layout : layouts)
      if (layout) cublasLtMatrixLayoutDestroy.bare(layout);
    if (operation) cublasLtMatmulDescDestroy.bare(operation);
  }
  template <typename T>
  void set(Napi::Env env, int attribute, T value) {
    cublasLtMatmulDescSetAttribute(env, operation, attribute, &value, sizeof value);
  }
};

static Napi::Value openLibrary(Info info) {
  return Napi::String::New(info.Env(), cublasLt.open(info.Env(), info[0].As<Napi::String>()));
}
static Napi::Value version(Info info) {
  auto get = reinterpret_cast<size_t (*)()>(cublasLt.find("cublasLtGetVersion"));
  if (!get) cublasLt.lacks(info.Env(), "cublasLtGetVersion");
  return number(info.Env(), get());
}
static Napi::Value create(Info info) {
  Handle handle = nullptr;
  cublasLtCreate(info.Env(), &handle);
  return number(info.Env(), handle);
}
static Napi::Value destroy(Info info) {
  cublasLtDestroy(info.Env(), pointer(info[0]));
  return info.Env().Undefined();
}

static int64_t field(const Napi::Object& object, const char* name, int64_t otherwise) {
  const Napi::Value value = object.Get(name);
  return value.IsNumber() ? value.As<Napi::Number>().Int64Value() : otherwise;
}

static Handle layout(Napi::Env env, const Napi::Object& matrix) {
  Handle out = nullptr;
  cublasLtMatrixLayoutCreate(env, &out, static_cast<int>(field(matrix, "type", 0)),
                             static_cast<uint64_t>(field(matrix, "rows", 0)),
                             static_cast<uint64_t>(field(matrix, "columns", 0)), field(matrix, "leading", 0));
  const int32_t batch = static_cast<int32_t>(field(matrix, "batch", 1));
  const int64_t stride = field(matrix, "batchStride", 0);
  if (batch > 1) {
    cublasLtMatrixLayoutSetAttribute(env, out, kBatchCount, &batch, sizeof batch);
    cublasLtMatrixLayoutSetAttribute(env, out, kBatchStride, &stride, sizeof stride);
  }
  return out;
}

/** problem({compute, scale, transposeA, transposeB, epilogue, biasType, biasBatchStride, a, b, c, d}) */
static Napi::Value problem(Info info) {
  const Napi::Env env = info.Env();
  const auto given = info[0].As<Napi::Object>();
  auto out = std::make_unique<Problem>();
  // Asked for here because the destructor cannot throw.
  if (!cublasLtMatmulDescDestroy.exists()) cublasLt.lacks(env, cublasLtMatmulDescDestroy.name());
  if (!cublasLtMatrixLayoutDestroy.exists()) cublasLt.lacks(env, cublasLtMatrixLayoutDestroy.name());
  cublasLtMatmulDescCreate(env, &out->operation, static_cast<int>(field(given, "compute", 0)),
                           static_cast<int>(field(given, "scale", 0)));
  out->set(env, kTransA, static_cast<int32_t>(given.Get("transposeA").ToBoolean()));
  out->set(env, kTransB, static_cast<int32_t>(given.Get("transposeB").ToBoolean()));
  out->set(env, kEpilogue, static_cast<int32_t>(field(given, "epilogue", 1)));
  const int64_t biasType = field(given, "biasType", -1);
  if (biasType >= 0) {
    out->biased = true;
    out->set(env, kBiasType, static_cast<int32_t>(biasType));
    const int64_t stride = field(given, "biasBatchStride", 0);
    if (stride) out->set(env, kBiasBatchStride, stride);
    // Heuristics refuse a bias epilogue without a pointer; the real one is set with every run.
    out->set(env, kBiasPointer, reinterpret_cast<const void*>(uintptr_t{4096}));
  }
  const char* names[] = {"a", "b", "c", "d"};
  for (int i = 0; i < 4; i++) out->layouts[i] = layout(env, given.Get(names[i]).As<Napi::Object>());
  return number(env, out.release());
}
static Napi::Value problemDestroy(Info info) {
  delete pointer<Problem>(info[0]);
  return info.Env().Undefined();
}

static Napi::Value describeResult(Napi::Env env, Problem* at, const HeuristicResult& result) {
  auto out = Napi::Object::New(env);
  out.Set("id", Napi::Number::New(env, static_cast<double>(at->algorithms.size())));
  at->algorithms.push_back(result.algorithm);
  out.Set("workspaceBytes", number(env, result.workspaceBytes));
  out.Set("waves", Napi::Number::New(env, result.waves));
  auto data = Napi::ArrayBuffer::New(env, sizeof(Algorithm));
  *static_cast<Algorithm*>(data.Data()) = result.algorithm;
  out.Set("data", data);
  return out;
}

/** algorithms(handle, problem, workspaceBytes, reductions, alignments of a b c d, most): best guess first. */
static Napi::Value algorithms(Info info) {
  const Napi::Env env = info.Env();
  auto* at = pointer<Problem>(info[1]);
  const uint64_t workspace = address(info[2]);
  const auto reductions = static_cast<uint32_t>(integer(info[3]));
  auto alignments = info[4].As<Napi::Array>();
  std::vector<HeuristicResult> results(static_cast<size_t>(integer(info[5])));
  int found = 0;
  Handle preference = nullptr;
  cublasLtMatmulPreferenceCreate(env, &preference);
  cublasLtMatmulPreferenceSetAttribute(env, preference, kMaxWorkspace, &workspace, sizeof workspace);
  cublasLtMatmulPreferenceSetAttribute(env, preference, kReductions, &reductions, sizeof reductions);
  for (uint32_t i = 0; i < 4; i++) {
    const uint32_t bytes = alignments.Get(i).As<Napi::Number>().Uint32Value();
    cublasLtMatmulPreferenceSetAttribute(env, preference, kAlignment + static_cast<int>(i), &bytes, sizeof bytes);
  }
  const int code = cublasLtMatmulAlgoGetHeuristic.raw(
      env, pointer(info[0]), at->operation, at->layouts[0], at->layouts[1], at->layouts[2], at->layouts[3],
      preference, static_cast<int>(results.size()), results.data(), &found);
  cublasLtMatmulPreferenceDestroy.raw(env, preference);
  if (code != 0 && code != kNotSupported) cublasLt.fail(env, cublasLtMatmulAlgoGetHeuristic.name(), code);
  auto out = Napi::Array::New(env);
  for (int i = 0; i < found; i++)
    if (results[i].state == 0) out.Set(out.Length(), describeResult(env, at, results[i]));
  return out;
}

/** restore(handle, problem, data): an algorithm kept from before, or undefined where it no longer fits. */
static Napi::Value restore(Info info) {
  const Napi::Env env = info.Env();
  auto* at = pointer<Problem>(info[1]);
  const Bytes data = bytes(info[2]);
  HeuristicResult result{};
  if (data.length != sizeof(Algorithm)) return env.Undefined();
  std::copy(data.data, data.data + data.length, reinterpret_cast<uint8_t*>(&result.algorithm));
  const Algorithm algorithm = result.algorithm;
  const int code = cublasLtMatmulAlgoCheck.raw(env, pointer(info[0]), at->operation, at->layouts[0], at->layouts[1],
                                               at->layouts[2], at->layouts[3], &algorithm, &result);
  if (code != 0 || result.state != 0) return env.Undefined();
  result.algorithm = algorithm;
  return describeResult(env, at, result);
}

/**
 * Hot: run(handle, problem, algorithm, alpha, beta, a, b, c, d, bias, workspace, workspaceBytes, stream), plain N-API
 * as launch is. The bias pointer is part of the descriptor; cuBLASLt reads it when the matmul is enqueued.
 */
static napi_value run(napi_env env, napi_callback_info info) {
  size_t count = 13;
  napi_value argument[13];
  napi_get_cb_info(env, info, &count, argument, nullptr, nullptr);
  double value[13];
  bool fine = count == 13;
  for (int i = 0; fine && i < 13; i++) fine = napi_get_value_double(env, argument[i], &value[i]) == napi_ok;
  if (!fine) {
    napi_throw_type_error(env, nullptr, "internal: cublasLt.run takes thirteen numbers");
    return nullptr;
  }
  auto at = [&](int i) { return reinterpret_cast<void*>(static_cast<uintptr_t>(value[i])); };
  auto* task = static_cast<Problem*>(at(1));
  const float alpha = static_cast<float>(value[3]), beta = static_cast<float>(value[4]);
  try {
    const Napi::Env e(env);
    const auto chosen = static_cast<size_t>(value[2]);
    if (chosen >= task->algorithms.size()) throw Napi::RangeError::New(e, "internal: no such cuBLASLt algorithm");
    if (task->biased) task->set(e, kBiasPointer, static_cast<const void*>(at(9)));
    cublasLtMatmul(e, at(0), task->operation, &alpha, at(5), task->layouts[0], at(6), task->layouts[1], &beta, at(7),
                   task->layouts[2], at(8), task->layouts[3], &task->algorithms[chosen], at(10),
                   static_cast<size_t>(value[11]), at(12));
  } catch (const Napi::Error& error) {
    error.ThrowAsJavaScriptException();
  }
  return nullptr;
}

Napi::Object cublasLtExports(Napi::Env env) {
  auto out = Napi::Object::New(env);
  method(out, "open", openLibrary);
  method(out, "version", version);
  method(out, "create", create);
  method(out, "destroy", destroy);
  method(out, "problem", problem);
  method(out, "problemDestroy", problemDestroy);
  method(out, "algorithms", algorithms);
  method(out, "restore", restore);
  napi_value function = nullptr;
  napi_create_function(env, "run", NAPI_AUTO_LENGTH, run, nullptr, &function);
  out.Set("run", function);
  return out;
}

}  // namespace darkroom
