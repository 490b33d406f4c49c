// The addon: one object per library. Loading it needs no CUDA; each library is opened when TypeScript gives its path.
#include "library.h"

static Napi::Object exportAll(Napi::Env env, Napi::Object exports) {
  exports.Set("driver", darkroom::driverExports(env));
  exports.Set("nvrtc", darkroom::nvrtcExports(env));
  exports.Set("cublasLt", darkroom::cublasLtExports(env));
  exports.Set("cudnn", darkroom::cudnnExports(env));
  return exports;
}

NODE_API_MODULE(darkroom_cuda, exportAll)
