#include <cublas_v2.h>
#include <hostcuda/cublas.h>
#include <hostcuda/cublas_product.h>
#include <hostcuda/handles.h>
#include <hostcuda/memory.h>
#include <hostcuda/order.h>
#include <hostcuda/runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <optional>

using hostcuda::Element;
using hostcuda::MemoryKind;
using hostcuda::Product;
using hostcuda::Unseen;

// What a cublasHandle_t points to.
struct cublasContext {
  cudaStream_t stream = nullptr;
  hostcuda::Workspace workspace;
  cublasMath_t math = CUBLAS_DEFAULT_MATH;
};

namespace {

using Handle = std::shared_ptr<cublasContext>;

hostcuda::Handles<cublasContext>& handles() {
  static auto& handles = *new hostcuda::Handles<cublasContext>;
  return handles;
}

cublasStatus_t refused(const char* function, cublasStatus_t status,
                       const char* why) {
  std::fprintf(stderr, "hostcuda: %s: %s\n", function, why);
  return status;
}

// The types of one product: those that the library has and the product uses.
struct Types {
  cublasComputeType_t compute;
  cudaDataType operands, result;
  Element operand_element, result_element;
};

constexpr Types kTypes[] = {
    {CUBLAS_COMPUTE_32F, CUDA_R_32F, CUDA_R_32F, Element::kF32, Element::kF32},
    {CUBLAS_COMPUTE_32F_PEDANTIC, CUDA_R_32F, CUDA_R_32F, Element::kF32,
     Element::kF32},
    {CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_32F, CUDA_R_32F, Element::kTf32,
     Element::kF32},
    {CUBLAS_COMPUTE_32F, CUDA_R_16BF, CUDA_R_16BF, Element::kBf16,
     Element::kBf16},
    {CUBLAS_COMPUTE_32F, CUDA_R_16BF, CUDA_R_32F, Element::kBf16,
     Element::kF32},
    {CUBLAS_COMPUTE_64F, CUDA_R_64F, CUDA_R_64F, Element::kF64, Element::kF64},
};

const Types* find_types(cublasComputeType_t compute, cudaDataType a,
                        cudaDataType b, cudaDataType c) {
  const auto* found = std::find_if(
      std::begin(kTypes), std::end(kTypes), [&](const Types& types) {
        return types.compute == compute && types.operands == a &&
               types.operands == b && types.result == c;
      });
  return found == std::end(kTypes) ? nullptr : found;
}

std::size_t size_of(Element element) {
  switch (element) {
    case Element::kBf16:
      return 2;
    case Element::kF64:
      return 8;
    default:
      return 4;
  }
}

// Whether all of a batch of column-major matrices lies in one block of device
// memory, and each element where its size asks.
bool on_device(const void* data, Element element, int64_t rows, int64_t columns,
               int64_t ld, int64_t stride, int64_t batch) {
  if (rows == 0 || columns == 0) return true;
  const std::size_t size = size_of(element);
  const int64_t elements = (batch - 1) * stride + (columns - 1) * ld + rows;
  const auto block = hostcuda::find_block(data, elements * size);
  return block && block->kind == MemoryKind::kDevice &&
         reinterpret_cast<std::size_t>(data) % size == 0;
}

bool is_operation(cublasOperation_t operation) {
  return operation == CUBLAS_OP_N || operation == CUBLAS_OP_T;
}

// Null, or why the product is not one: its sizes and its memory.
const char* misuse(const Product& p) {
  if (p.m < 0 || p.n < 0 || p.k < 0 || p.batch < 0) return "a negative size";
  if (p.a.stride < 0 || p.b.stride < 0 || p.stride_c < 0) {
    return "a negative stride";
  }
  const int64_t a_rows = p.a.transposed ? p.k : p.m;
  const int64_t a_columns = p.a.transposed ? p.m : p.k;
  const int64_t b_rows = p.b.transposed ? p.n : p.k;
  const int64_t b_columns = p.b.transposed ? p.k : p.n;
  if (p.a.ld < std::max<int64_t>(1, a_rows)) return "lda is too small";
  if (p.b.ld < std::max<int64_t>(1, b_rows)) return "ldb is too small";
  if (p.ldc < std::max<int64_t>(1, p.m)) return "ldc is too small";
  if (p.m == 0 || p.n == 0 || p.batch == 0) return nullptr;
  if (!on_device(p.a.data, p.a.element, a_rows, a_columns, p.a.ld, p.a.stride,
                 p.batch)) {
    return "A isn't within one block of device memory";
  }
  if (!on_device(p.b.data, p.b.element, b_rows, b_columns, p.b.ld, p.b.stride,
                 p.batch)) {
    return "B isn't within one block of device memory";
  }
  if (!on_device(p.c, p.c_element, p.m, p.n, p.ldc, p.stride_c, p.batch)) {
    return "C isn't within one block of device memory";
  }
  return nullptr;
}

// Scalars are on the host, of the type of the sums.
double read_scalar(const void* scalar, bool is_f64) {
  double f64;
  float f32;
  if (is_f64) {
    std::memcpy(&f64, scalar, sizeof f64);
    return f64;
  }
  std::memcpy(&f32, scalar, sizeof f32);
  return f32;
}

bool on_host(const void* scalar) {
  if (scalar == nullptr) return false;
  const auto block = hostcuda::find_block(scalar, 1);
  return !block || block->kind != MemoryKind::kDevice;
}

// Runs the product in the order of the handle's stream.
void enqueue(CUstream_st& stream, const Product& product,
             const hostcuda::Workspace& workspace) {
  hostcuda::enqueue(stream, [product, workspace] {
    // A product may use its workspace: two streams that share one, race.
    if (workspace.begin != nullptr) {
      std::memset(workspace.begin, 0xFF,
                  std::min<std::size_t>(workspace.bytes, 256));
    }
    multiply(product);
  });
}

}  // namespace

hostcuda::Workspace hostcuda::workspace_of(cublasHandle_t handle) {
  const Unseen unseen;
  const Handle context = handles().find(handle);
  return context == nullptr ? Workspace{} : context->workspace;
}

cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
  const Unseen unseen;
  if (handle == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  if (hostcuda::device_state() != cudaSuccess) {
    return CUBLAS_STATUS_NOT_INITIALIZED;
  }
  const auto context = std::make_shared<cublasContext>();
  handles().add(context);
  *handle = context.get();
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
  const Unseen unseen;
  return handles().remove(handle) ? CUBLAS_STATUS_SUCCESS
                                  : CUBLAS_STATUS_NOT_INITIALIZED;
}

cublasStatus_t cublasGetVersion_v2(cublasHandle_t, int* version) {
  if (version == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  *version = CUBLAS_VERSION;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream) {
  const Unseen unseen;
  const Handle context = handles().find(handle);
  if (context == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  cudaError_t error;
  if (hostcuda::usable_stream("cublasSetStream", stream, &error) == nullptr) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  context->stream = stream;
  context->workspace = {};  // The library's own again.
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void* workspace,
                                     std::size_t bytes) {
  const Unseen unseen;
  const Handle context = handles().find(handle);
  if (context == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  const auto block = hostcuda::find_block(workspace, bytes);
  if (!block || block->kind != MemoryKind::kDevice) {
    return refused("cublasSetWorkspace", CUBLAS_STATUS_INVALID_VALUE,
                   "not within one block of device memory");
  }
  if (reinterpret_cast<std::size_t>(workspace) % 256 != 0) {
    return refused("cublasSetWorkspace", CUBLAS_STATUS_INVALID_VALUE,
                   "not aligned to 256 bytes");
  }
  context->workspace = {workspace, bytes};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
  const Unseen unseen;
  const Handle context = handles().find(handle);
  if (context == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  const int flag = CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
  const int base = mode & ~flag;
  if (base != CUBLAS_DEFAULT_MATH && base != CUBLAS_PEDANTIC_MATH &&
      base != CUBLAS_TF32_TENSOR_OP_MATH) {
    return refused("cublasSetMathMode", CUBLAS_STATUS_INVALID_VALUE,
                   "the layer doesn't know the mode");
  }
  context->math = mode;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t op_a,
                            cublasOperation_t op_b, int m, int n, int k,
                            const void* alpha, const void* a,
                            cudaDataType a_type, int lda, const void* b,
                            cudaDataType b_type, int ldb, const void* beta,
                            void* c, cudaDataType c_type, int ldc,
                            cublasComputeType_t compute,
                            cublasGemmAlgo_t algorithm) {
  return cublasGemmStridedBatchedEx(handle, op_a, op_b, m, n, k, alpha, a,
                                    a_type, lda, 0, b, b_type, ldb, 0, beta, c,
                                    c_type, ldc, 0, 1, compute, algorithm);
}

cublasStatus_t cublasGemmStridedBatchedEx(
    cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b,
    int m, int n, int k, const void* alpha, const void* a, cudaDataType a_type,
    int lda, long long stride_a, const void* b, cudaDataType b_type, int ldb,
    long long stride_b, const void* beta, void* c, cudaDataType c_type, int ldc,
    long long stride_c, int batch, cublasComputeType_t compute,
    cublasGemmAlgo_t algorithm) {
  const Unseen unseen;
  const char* function = "cublasGemm";
  const Handle context = handles().find(handle);
  if (context == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  cudaError_t error;
  const auto stream =
      hostcuda::usable_stream(function, context->stream, &error);
  if (stream == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  if (!is_operation(op_a) || !is_operation(op_b)) {
    return refused(function, CUBLAS_STATUS_INVALID_VALUE,
                   "an operation that is neither N nor T");
  }
  if (!on_host(alpha) || !on_host(beta)) {
    return refused(function, CUBLAS_STATUS_INVALID_VALUE,
                   "alpha or beta isn't on the host");
  }
  const Types* types = find_types(compute, a_type, b_type, c_type);
  if (types == nullptr) {
    return refused(function, CUBLAS_STATUS_NOT_SUPPORTED,
                   "not a combination of types that the layer has");
  }
  if (algorithm != CUBLAS_GEMM_DEFAULT) {
    return refused(function, CUBLAS_STATUS_NOT_SUPPORTED,
                   "an algorithm other than CUBLAS_GEMM_DEFAULT");
  }
  Element operands = types->operand_element;
  const int tf32 = CUBLAS_TF32_TENSOR_OP_MATH;
  if (compute == CUBLAS_COMPUTE_32F && operands == Element::kF32 &&
      (context->math & 0xF) == tf32) {
    operands = Element::kTf32;
  }
  const bool is_f64 = operands == Element::kF64;
  const Product product{m,
                        n,
                        k,
                        batch,
                        read_scalar(alpha, is_f64),
                        read_scalar(beta, is_f64),
                        {a, operands, lda, stride_a, op_a == CUBLAS_OP_T},
                        {b, operands, ldb, stride_b, op_b == CUBLAS_OP_T},
                        c,
                        types->result_element,
                        ldc,
                        stride_c};
  if (const char* why = misuse(product)) {
    return refused(function, CUBLAS_STATUS_INVALID_VALUE, why);
  }
  if (m > 0 && n > 0 && batch > 0) {
    enqueue(*stream, product, context->workspace);
  }
  return CUBLAS_STATUS_SUCCESS;
}

const char* cublasGetStatusString(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "the operation completed successfully";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "the library was not initialized";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "an unsupported value or parameter was passed to the function";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "the functionality requested is not supported";
    default:
      return "an unknown error";
  }
}
