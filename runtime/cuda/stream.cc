// A stream of a CUDA device: memory, copies, events, cuBLAS.

#include "runtime/cuda/stream.h"

#include <array>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "runtime/cuda/device.h"
#include "runtime/cuda/error.h"
#include "runtime/cuda/make_stream.h"

namespace timepipe::cuda {
namespace {

void check(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw CudaError(std::string(what) + ": " + cublasGetStatusString(status));
}

class CudaEvent final : public StreamEvent {
 public:
  CudaEvent() {
    cuda::check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming),
                "cudaEventCreate");
  }
  ~CudaEvent() override { cudaEventDestroy(event_); }
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;

  void record(cudaStream_t stream) {
    cuda::check(cudaEventRecord(event_, stream), "cudaEventRecord");
  }
  bool done() const override {
    const cudaError_t state = cudaEventQuery(event_);
    if (state == cudaErrorNotReady) return false;
    cuda::check(state, "work of the device");
    return true;
  }
  void synchronize() const override {
    cuda::check(cudaEventSynchronize(event_), "work of the device");
  }

 private:
  cudaEvent_t event_ = nullptr;
};

// Pinned blocks, which are slow to make: those that are given back are kept for
// the next request of their size.
class PinnedBlocks {
 public:
  ~PinnedBlocks() {
    for (const auto& [size, block] : free_) cudaFreeHost(block);
  }

  std::byte* take(int64_t size) {
    const std::lock_guard lock(mutex_);
    if (const auto found = free_.find(size); found != free_.end()) {
      std::byte* block = found->second;
      free_.erase(found);
      return block;
    }
    void* block = nullptr;
    cuda::check(cudaHostAlloc(&block, static_cast<std::size_t>(size),
                              cudaHostAllocPortable),
                "cudaHostAlloc");
    return static_cast<std::byte*>(block);
  }
  void give_back(std::byte* block, int64_t size) {
    const std::lock_guard lock(mutex_);
    free_.emplace(size, block);
  }

 private:
  std::mutex mutex_;
  std::multimap<int64_t, std::byte*> free_;
};

class CudaStream final : public Stream {
 public:
  explicit CudaStream(int index) : index_(require_device(index)) {
    cuda::check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking),
                "cudaStreamCreate");
  }
  ~CudaStream() override;

  void* allocate(int64_t bytes) override;
  void free(void* memory) override;
  std::shared_ptr<std::byte> pinned(int64_t bytes) override;
  void upload(const void* from, void* to, int64_t bytes) override;
  void download(const void* from, void* to, int64_t bytes) override;
  void download_later(const void* from, void* to, int64_t bytes) override;
  void copy(const void* from, void* to, int64_t bytes) override;
  void clear(void* memory, int64_t bytes) override;
  std::shared_ptr<const StreamEvent> record() override;

  // For this thread, whose device becomes the stream's.
  cudaStream_t get() const {
    cuda::check(cudaSetDevice(index_), "cudaSetDevice");
    return stream_;
  }
  cublasHandle_t blas();

 private:
  // Pieces in which unpinned memory of the host goes to the device and back;
  // one is filled while the other is on its way.
  static constexpr int64_t kPiece = int64_t{4} << 20;
  static constexpr std::size_t kWorkspace = std::size_t{32} << 20;
  struct Piece {
    std::shared_ptr<std::byte> memory;
    CudaEvent gone;
  };

  void transfer(const void* from, void* to, int64_t bytes, cudaMemcpyKind kind);
  // f(offset, bytes, piece) for one piece after the other, each when what was
  // in it before is gone.
  template <class F>
  void in_pieces(int64_t bytes, F&& f);

  int index_;
  cudaStream_t stream_ = nullptr;
  cublasHandle_t blas_ = nullptr;
  void* workspace_ = nullptr;
  std::shared_ptr<PinnedBlocks> pinned_ = std::make_shared<PinnedBlocks>();
  std::array<Piece, 2> pieces_;
  std::size_t next_piece_ = 0;
};

CudaStream::~CudaStream() {
  // What fails here was reported by the work that failed.
  cudaSetDevice(index_);
  cudaStreamSynchronize(stream_);
  if (blas_ != nullptr) cublasDestroy(blas_);
  if (workspace_ != nullptr) cudaFreeAsync(workspace_, stream_);
  cudaStreamDestroy(stream_);
}

void* CudaStream::allocate(int64_t bytes) {
  void* memory = nullptr;
  const cudaError_t error =
      cudaMallocAsync(&memory, static_cast<std::size_t>(bytes), get());
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // forgotten: the caller may do with less
    return nullptr;
  }
  cuda::check(error, "cudaMallocAsync");
  return memory;
}

void CudaStream::free(void* memory) {
  // Called by destructors, which don't throw.
  cudaSetDevice(index_);
  cudaFreeAsync(memory, stream_);
}

std::shared_ptr<std::byte> CudaStream::pinned(int64_t bytes) {
  get();
  const auto blocks = pinned_;
  return {blocks->take(bytes), [blocks, bytes](std::byte* block) {
            blocks->give_back(block, bytes);
          }};
}

template <class F>
void CudaStream::in_pieces(int64_t bytes, F&& f) {
  for (int64_t offset = 0; offset < bytes; offset += kPiece) {
    Piece& piece = pieces_[next_piece_];
    next_piece_ = (next_piece_ + 1) % pieces_.size();
    if (piece.memory) {
      piece.gone.synchronize();
    } else {
      piece.memory = pinned(kPiece);
    }
    f(offset, std::min(kPiece, bytes - offset), piece);
    piece.gone.record(stream_);
  }
}

void CudaStream::upload(const void* from, void* to, int64_t bytes) {
  in_pieces(bytes, [&](int64_t offset, int64_t n, Piece& piece) {
    std::memcpy(piece.memory.get(),
                static_cast<const std::byte*>(from) + offset,
                static_cast<std::size_t>(n));
    transfer(piece.memory.get(), static_cast<std::byte*>(to) + offset, n,
             cudaMemcpyHostToDevice);
  });
}

void CudaStream::download(const void* from, void* to, int64_t bytes) {
  in_pieces(bytes, [&](int64_t offset, int64_t n, Piece& piece) {
    transfer(static_cast<const std::byte*>(from) + offset, piece.memory.get(),
             n, cudaMemcpyDeviceToHost);
    piece.gone.record(stream_);
    piece.gone.synchronize();
    std::memcpy(static_cast<std::byte*>(to) + offset, piece.memory.get(),
                static_cast<std::size_t>(n));
  });
}

void CudaStream::download_later(const void* from, void* to, int64_t bytes) {
  transfer(from, to, bytes, cudaMemcpyDeviceToHost);
}

void CudaStream::copy(const void* from, void* to, int64_t bytes) {
  transfer(from, to, bytes, cudaMemcpyDeviceToDevice);
}

void CudaStream::transfer(const void* from, void* to, int64_t bytes,
                          cudaMemcpyKind kind) {
  if (bytes == 0) return;
  cuda::check(
      cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), kind, get()),
      "cudaMemcpyAsync");
}

void CudaStream::clear(void* memory, int64_t bytes) {
  if (bytes == 0) return;
  cuda::check(
      cudaMemsetAsync(memory, 0, static_cast<std::size_t>(bytes), get()),
      "cudaMemsetAsync");
}

std::shared_ptr<const StreamEvent> CudaStream::record() {
  auto event = std::make_shared<CudaEvent>();
  event->record(get());
  return event;
}

// The workspace is ours and set after the stream, which would reset it: else
// products on several streams might not give the same bits from run to run
// (cuBLAS, "Results Reproducibility").
cublasHandle_t CudaStream::blas() {
  get();
  if (blas_ != nullptr) return blas_;
  check(cublasCreate(&blas_), "cublasCreate");
  check(cublasSetStream(blas_, stream_), "cublasSetStream");
  cuda::check(cudaMallocAsync(&workspace_, kWorkspace, stream_),
              "cudaMallocAsync");
  check(cublasSetWorkspace(blas_, workspace_, kWorkspace),
        "cublasSetWorkspace");
  return blas_;
}

CudaStream& stream_of(Context& ctx) {
  return static_cast<CudaStream&>(*ctx.stream());
}

}  // namespace

std::shared_ptr<Stream> make_stream(int index) {
  return std::make_shared<CudaStream>(index);
}

cudaStream_t cuda_stream(Context& ctx) { return stream_of(ctx).get(); }

cublasHandle_t cublas(Context& ctx) { return stream_of(ctx).blas(); }

}  // namespace timepipe::cuda
