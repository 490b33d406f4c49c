// CUDA's functions, structs and numbers by hand: only what we use, under the names that the libraries export. check.cc
// compares all of it with NVIDIA's headers.
#pragma once

#include "library.h"

namespace darkroom {

/** CUcontext, CUstream, cublasLtHandle_t, cudnnBackendDescriptor_t and all the others. */
using Handle = void*;
using Device = int;
using DevicePointer = uint64_t;

/** cublasLtMatmulAlgo_t: opaque, but plain data that may be kept. */
struct Algorithm {
  uint64_t data[8];
};
/** cublasLtMatmulHeuristicResult_t */
struct HeuristicResult {
  Algorithm algorithm;
  size_t workspaceBytes;
  int state;
  float waves;
  int reserved[4];
};

// clang-format off
#define DRIVER_CALLS(X) \
  X(cuInit, unsigned) \
  X(cuDriverGetVersion, int*) \
  X(cuDeviceGetCount, int*) \
  X(cuDeviceGet, Device*, int) \
  X(cuDeviceGetName, char*, int, Device) \
  X(cuDeviceGetAttribute, int*, int, Device) \
  X(cuDeviceTotalMem_v2, size_t*, Device) \
  X(cuDevicePrimaryCtxRetain, Handle*, Device) \
  X(cuDevicePrimaryCtxRelease_v2, Device) \
  X(cuCtxSetCurrent, Handle) \
  X(cuCtxGetCurrent, Handle*) \
  X(cuCtxSynchronize) \
  X(cuMemGetInfo_v2, size_t*, size_t*) \
  X(cuMemAlloc_v2, DevicePointer*, size_t) \
  X(cuMemFree_v2, DevicePointer) \
  X(cuMemAllocAsync, DevicePointer*, size_t, Handle) \
  X(cuMemFreeAsync, DevicePointer, Handle) \
  X(cuDeviceGetDefaultMemPool, Handle*, Device) \
  X(cuMemPoolSetAttribute, Handle, int, void*) \
  X(cuMemPoolGetAttribute, Handle, int, void*) \
  X(cuMemPoolTrimTo, Handle, size_t) \
  X(cuMemHostAlloc, void**, size_t, unsigned) \
  X(cuMemFreeHost, void*) \
  X(cuMemcpyHtoDAsync_v2, DevicePointer, const void*, size_t, Handle) \
  X(cuMemcpyDtoHAsync_v2, void*, DevicePointer, size_t, Handle) \
  X(cuMemcpyDtoDAsync_v2, DevicePointer, DevicePointer, size_t, Handle) \
  X(cuMemsetD8Async, DevicePointer, unsigned char, size_t, Handle) \
  X(cuMemsetD32Async, DevicePointer, unsigned, size_t, Handle) \
  X(cuStreamCreateWithPriority, Handle*, unsigned, int) \
  X(cuStreamDestroy_v2, Handle) \
  X(cuStreamSynchronize, Handle) \
  X(cuStreamQuery, Handle) \
  X(cuStreamWaitEvent, Handle, Handle, unsigned) \
  X(cuEventCreate, Handle*, unsigned) \
  X(cuEventDestroy_v2, Handle) \
  X(cuEventRecord, Handle, Handle) \
  X(cuEventQuery, Handle) \
  X(cuEventSynchronize, Handle) \
  X(cuEventElapsedTime, float*, Handle, Handle) \
  X(cuModuleLoadData, Handle*, const void*) \
  X(cuModuleUnload, Handle) \
  X(cuModuleGetFunction, Handle*, Handle, const char*) \
  X(cuFuncSetAttribute, Handle, int, int) \
  X(cuFuncGetAttribute, int*, int, Handle) \
  X(cuOccupancyMaxActiveBlocksPerMultiprocessor, int*, Handle, int, size_t) \
  X(cuLaunchKernel, Handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Handle, void**, void**) \
  X(cuStreamBeginCapture_v2, Handle, int) \
  X(cuStreamEndCapture, Handle, Handle*) \
  X(cuGraphInstantiateWithFlags, Handle*, Handle, unsigned long long) \
  X(cuGraphLaunch, Handle, Handle) \
  X(cuGraphExecDestroy, Handle) \
  X(cuGraphDestroy, Handle)

#define NVRTC_CALLS(X) \
  X(nvrtcVersion, int*, int*) \
  X(nvrtcCreateProgram, Handle*, const char*, const char*, int, const char* const*, const char* const*) \
  X(nvrtcCompileProgram, Handle, int, const char* const*) \
  X(nvrtcGetProgramLogSize, Handle, size_t*) \
  X(nvrtcGetProgramLog, Handle, char*) \
  X(nvrtcGetCUBINSize, Handle, size_t*) \
  X(nvrtcGetCUBIN, Handle, char*) \
  X(nvrtcDestroyProgram, Handle*)

#define CUBLASLT_CALLS(X) \
  X(cublasLtCreate, Handle*) \
  X(cublasLtDestroy, Handle) \
  X(cublasLtMatmulDescCreate, Handle*, int, int) \
  X(cublasLtMatmulDescDestroy, Handle) \
  X(cublasLtMatmulDescSetAttribute, Handle, int, const void*, size_t) \
  X(cublasLtMatrixLayoutCreate, Handle*, int, uint64_t, uint64_t, int64_t) \
  X(cublasLtMatrixLayoutDestroy, Handle) \
  X(cublasLtMatrixLayoutSetAttribute, Handle, int, const void*, size_t) \
  X(cublasLtMatmulPreferenceCreate, Handle*) \
  X(cublasLtMatmulPreferenceDestroy, Handle) \
  X(cublasLtMatmulPreferenceSetAttribute, Handle, int, const void*, size_t) \
  X(cublasLtMatmulAlgoGetHeuristic, Handle, Handle, Handle, Handle, Handle, Handle, Handle, int, HeuristicResult*, int*) \
  X(cublasLtMatmulAlgoCheck, Handle, Handle, Handle, Handle, Handle, Handle, const Algorithm*, HeuristicResult*) \
  X(cublasLtMatmul, Handle, Handle, const void*, const void*, Handle, const void*, Handle, const void*, const void*, Handle, void*, Handle, const Algorithm*, void*, size_t, void*)

#define CUDNN_CALLS(X) \
  X(cudnnCreate, Handle*) \
  X(cudnnDestroy, Handle) \
  X(cudnnSetStream, Handle, void*) \
  X(cudnnBackendCreateDescriptor, int, Handle*) \
  X(cudnnBackendDestroyDescriptor, Handle) \
  X(cudnnBackendSetAttribute, Handle, int, int, int64_t, const void*) \
  X(cudnnBackendGetAttribute, Handle, int, int, int64_t, int64_t*, void*) \
  X(cudnnBackendFinalize, Handle) \
  X(cudnnBackendExecute, Handle, Handle, Handle)

// clang-format on

// Codes that are answers, not errors.
enum { kNotReady = 600, kCompilationFailed = 6, kNotSupported = 15 };
// CU_STREAM_NON_BLOCKING, CU_EVENT_*
enum { kNonBlocking = 1, kBlockingSync = 1, kDisableTiming = 2 };
// CUBLASLT_MATMUL_DESC_*
enum { kTransA = 3, kTransB = 4, kEpilogue = 7, kBiasPointer = 8, kBiasBatchStride = 10, kBiasType = 26 };
// CUBLASLT_MATRIX_LAYOUT_*
enum { kBatchCount = 5, kBatchStride = 6 };
// CUBLASLT_MATMUL_PREF_*; the alignments of A, B, C and D follow each other
enum { kMaxWorkspace = 1, kReductions = 3, kAlignment = 5 };
// CUDNN_BACKEND_*_DESCRIPTOR, CUDNN_ATTR_VARIANT_PACK_*, CUDNN_TYPE_*
enum { kVariantPack = 16, kIds = 1000, kPointers = 1001, kWorkspace = 1003, kInt64 = 3, kVoidPointer = 6 };

}  // namespace darkroom
