// Checks our hand-written numbers and signatures against NVIDIA's headers. Compiled by declarations.test.ts where there
// are any, never linked.
#include <cublasLt.h>
#include <cuda.h>
#include <cudnn.h>
#include <nvrtc.h>

#include <type_traits>

// cuda.h renames this one to its newest version; libcuda has both, older ones only the first.
#undef cuEventElapsedTime
extern "C" CUresult cuEventElapsedTime(float*, CUevent, CUevent);

#include "declarations.h"

#define SAME(ours, theirs) static_assert(static_cast<long>(ours) == static_cast<long>(theirs), #theirs)

// A signature fits when each argument has the size and kind (pointer, floating, integer) of theirs.
template <typename A, typename B>
constexpr bool kFits = sizeof(A) == sizeof(B) && std::is_floating_point_v<A> == std::is_floating_point_v<B>;
template <typename... A, typename R, typename... B>
constexpr bool fits(darkroom::Call<A...>*, R (*)(B...)) {
  if constexpr (sizeof...(A) == sizeof...(B)) return (true && ... && kFits<A, B>);
  return false;
}
#define CHECK(name, ...) \
  static_assert(fits(static_cast<Call<__VA_ARGS__>*>(nullptr), static_cast<decltype(&::name)>(nullptr)), #name);
namespace darkroom {
DRIVER_CALLS(CHECK)
NVRTC_CALLS(CHECK)
CUBLASLT_CALLS(CHECK)
CUDNN_CALLS(CHECK)
}

using namespace darkroom;

SAME(kNotReady, CUDA_ERROR_NOT_READY);
SAME(kNonBlocking, CU_STREAM_NON_BLOCKING);
SAME(kBlockingSync, CU_EVENT_BLOCKING_SYNC);
SAME(kDisableTiming, CU_EVENT_DISABLE_TIMING);
SAME(kCompilationFailed, NVRTC_ERROR_COMPILATION);

SAME(sizeof(Algorithm), sizeof(cublasLtMatmulAlgo_t));
SAME(sizeof(HeuristicResult), sizeof(cublasLtMatmulHeuristicResult_t));
SAME(offsetof(HeuristicResult, workspaceBytes), offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
SAME(offsetof(HeuristicResult, state), offsetof(cublasLtMatmulHeuristicResult_t, state));
SAME(offsetof(HeuristicResult, waves), offsetof(cublasLtMatmulHeuristicResult_t, wavesCount));
SAME(kTransA, CUBLASLT_MATMUL_DESC_TRANSA);
SAME(kTransB, CUBLASLT_MATMUL_DESC_TRANSB);
SAME(kEpilogue, CUBLASLT_MATMUL_DESC_EPILOGUE);
SAME(kBiasPointer, CUBLASLT_MATMUL_DESC_BIAS_POINTER);
SAME(kBiasBatchStride, CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE);
SAME(kBiasType, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE);
SAME(kBatchCount, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT);
SAME(kBatchStride, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET);
SAME(kMaxWorkspace, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
SAME(kReductions, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
SAME(kAlignment, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
SAME(kAlignment + 3, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
SAME(kNotSupported, CUBLAS_STATUS_NOT_SUPPORTED);
SAME(true, CUBLAS_OP_T);

SAME(kVariantPack, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
SAME(kIds, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
SAME(kPointers, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
SAME(kWorkspace, CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
SAME(kInt64, CUDNN_TYPE_INT64);
SAME(kVoidPointer, CUDNN_TYPE_VOID_PTR);
