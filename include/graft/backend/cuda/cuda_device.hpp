// SPDX-License-Identifier: MIT
// A CUDA device: memory, launches and products, all in the order of one stream for each thread of the
// program. (What is asked of a device: backend/cuda/gpu.hpp; of its runtime: recorded_device.hpp.)
#pragma once

#include <graft/backend/cuda/launch.hpp>
#include <graft/backend/cuda/lt_products.hpp>
#include <graft/backend/cuda/product.hpp>
#include <graft/backend/cuda/product_plan.hpp>
#include <graft/backend/cuda/recorded_device.hpp>
#include <graft/core/error.hpp>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include <cublas_v2.h>
#include <cuda_runtime_api.h>

namespace graft {

namespace detail {

inline std::string name_of_device(int device) {
  cudaDeviceProp facts;
  if (cudaGetDeviceProperties(&facts, device) != cudaSuccess)
    return "device " + std::to_string(device);
  return "device " + std::to_string(device) + " (" + facts.name + ")";
}

inline std::string here() {
  int device = 0;
  return cudaGetDevice(&device) == cudaSuccess ? name_of_device(device) : "no device";
}

// Throws device_error, naming the call and the device, for a status that is no success.
inline void expect(cudaError_t status, const char* call) {
  if (status == cudaSuccess)
    return;
  cudaGetLastError();  // what can be forgotten is
  throw device_error(std::string(call) + ": " + cudaGetErrorString(status) + ", on " + here());
}
inline void expect(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw device_error(std::string(call) + ": " + cublasGetStatusString(status) + ", on " + here());
}

// What a thread needs to use the device that is current when it first does.
class cuda_session {
 public:
  cuda_session(const cuda_session&) = delete;
  cuda_session& operator=(const cuda_session&) = delete;

  static cuda_session& of_this_thread() {
    thread_local cuda_session session;
    return session;
  }
  cudaStream_t stream() const { return stream_; }
  // On which batches come while the device computes, and how far that is.
  cudaStream_t sending() const { return sending_; }
  cudaEvent_t sent() const { return sent_; }
  cublasHandle_t blas() const { return blas_; }

  // By cuBLASLt where addresses and strides are aligned and it has an algorithm, else by cuBLAS and, for the
  // bias, a kernel. (A handle of cuBLAS is one of cuBLASLt.)
  void product(const device_product& p) {
    const product_plan plan = plan_of(p);
    if (plan.aligned) {
      const auto status = products_.run(reinterpret_cast<cublasLtHandle_t>(blas_), stream_, blas_memory_,
                                        blas_bytes, p, plan);
      if (status != CUBLAS_STATUS_NOT_SUPPORTED) {
        expect(status, "cublasLtMatmul");
        return;
      }
    }
    const float s = p.s, keep = p.add ? 1.0f : 0.0f;
    const auto op = [](bool turn) { return turn ? CUBLAS_OP_T : CUBLAS_OP_N; };
    expect(cublasGemmEx_64(blas_, op(plan.turn_a), op(plan.turn_b), plan.m, plan.n, plan.k, &s, p.w.data,
                           cuda_type(plan.in), plan.lda, p.x.data, cuda_type(plan.in), plan.ldb, &keep,
                           p.y.data, cuda_type(plan.out), plan.ldd, compute_type(plan), CUBLAS_GEMM_DEFAULT),
           "cublasGemmEx");
    if (plan.bias)
      expect(launch_elements(stream_, p.y.rows, kernels::groups_of_columns(p.y.cols),
                             kernels::add_row{p.y, p.bias, 1}),
             "a kernel's launch");
  }

 private:
  // Hopper's kernels want 32 MiB; a workspace of one's own keeps results the same from run to run.
  static constexpr std::size_t blas_bytes = std::size_t{32} << 20;

  cuda_session() {
    try {
      expect(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking),
             "cudaStreamCreateWithFlags");
      expect(cudaStreamCreateWithFlags(&sending_, cudaStreamNonBlocking),
             "cudaStreamCreateWithFlags");
      expect(cudaEventCreateWithFlags(&sent_, cudaEventDisableTiming), "cudaEventCreateWithFlags");
      expect(cublasCreate(&blas_), "cublasCreate");
      expect(cublasSetStream(blas_, stream_), "cublasSetStream");
      expect(cudaMalloc(&blas_memory_, blas_bytes), "cudaMalloc");
      expect(cublasSetWorkspace(blas_, blas_memory_, blas_bytes), "cublasSetWorkspace");
      expect(cublasSetMathMode(blas_, static_cast<cublasMath_t>(
                                          CUBLAS_DEFAULT_MATH |
                                          CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION)),
             "cublasSetMathMode");
    } catch (...) {
      close();
      throw;
    }
  }
  ~cuda_session() { close(); }
  void close() noexcept {
    if (blas_)
      cublasDestroy(blas_);
    cudaFree(blas_memory_);
    if (sent_)
      cudaEventDestroy(sent_);
    if (sending_)
      cudaStreamDestroy(sending_);
    if (stream_)
      cudaStreamDestroy(stream_);
  }

  cudaStream_t stream_ = nullptr, sending_ = nullptr;
  cudaEvent_t sent_ = nullptr;
  cublasHandle_t blas_ = nullptr;
  void* blas_memory_ = nullptr;
  lt_products products_;
};

// How much memory graft holds on the devices. (Never destroyed: what is static may give memory back last.)
class cuda_memory_book {
 public:
  static cuda_memory_book& only() {
    static auto& book = *new cuda_memory_book;
    return book;
  }
  void took(void* data, std::size_t bytes) {
    const std::scoped_lock lock(mutex_);
    bytes_[data] = bytes;
    held_ += bytes;
  }
  void gave_back(void* data) {
    const std::scoped_lock lock(mutex_);
    if (const auto found = bytes_.find(data); found != bytes_.end()) {
      held_ -= found->second;
      bytes_.erase(found);
    }
  }
  std::size_t held() const {
    const std::scoped_lock lock(mutex_);
    return held_;
  }

 private:
  mutable std::mutex mutex_;
  std::unordered_map<void*, std::size_t> bytes_;
  std::size_t held_ = 0;
};

// Throws device_error for memory that is not to be had; the process can go on.
inline void expect_memory(cudaError_t status, const char* call, std::size_t bytes) {
  if (status != cudaErrorMemoryAllocation) {
    expect(status, call);
    return;
  }
  cudaGetLastError();
  std::size_t free = 0, total = 0;
  cudaMemGetInfo(&free, &total);
  throw device_error(std::string(call) + ": expected " + std::to_string(bytes) + " bytes on " +
                     here() + ", found " + std::to_string(free) + " of " + std::to_string(total) +
                     " free; graft holds " + std::to_string(cuda_memory_book::only().held()));
}

}  // namespace detail

// Is there a device that this program can use?
inline bool has_cuda_device() {
  int devices = 0;
  const bool some = cudaGetDeviceCount(&devices) == cudaSuccess && devices > 0;
  cudaGetLastError();
  return some;
}

struct cuda_runtime {
  static constexpr std::size_t alignment = 256;

  static void* allocate(std::size_t bytes) {
    void* data = nullptr;
    detail::expect_memory(cudaMalloc(&data, bytes), "cudaMalloc", bytes);
    detail::cuda_memory_book::only().took(data, bytes);
    return data;
  }
  static void release(void* data) noexcept {
    detail::cuda_memory_book::only().gave_back(data);
    cudaFree(data);  // waits for what may still use it
  }
  static void zero(void* data, std::size_t bytes) {
    detail::expect(cudaMemsetAsync(data, 0, bytes, stream()), "cudaMemsetAsync");
  }

  static void* allocate_pinned(std::size_t bytes) {
    void* data = nullptr;
    detail::expect_memory(cudaMallocHost(&data, bytes), "cudaMallocHost", bytes);
    return data;
  }
  static void release_pinned(void* data) noexcept { cudaFreeHost(data); }

  static void upload(void* to, const void* from, std::size_t bytes) {
    if (bytes > 0)
      detail::expect(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream()),
                     "cudaMemcpyAsync to the device");
  }
  static void download(void* to, const void* from, std::size_t bytes) {
    if (bytes > 0)
      detail::expect(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream()),
                     "cudaMemcpyAsync from the device");
    wait();
  }
  static void send(void* to, void* via, const void* from, std::size_t bytes) {
    const auto& session = detail::cuda_session::of_this_thread();
    detail::expect(
        cudaMemcpyAsync(via, from, bytes, cudaMemcpyHostToDevice, session.sending()),
        "cudaMemcpyAsync to the device");
    detail::expect(cudaEventRecord(session.sent(), session.sending()), "cudaEventRecord");
    detail::expect(cudaStreamWaitEvent(stream(), session.sent(), 0), "cudaStreamWaitEvent");
    detail::expect(cudaMemcpyAsync(to, via, bytes, cudaMemcpyDeviceToDevice, stream()),
                   "cudaMemcpyAsync on the device");
  }
  static void fetch(void* to, const void* from, std::size_t bytes) {
    if (bytes > 0)
      detail::expect(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream()),
                     "cudaMemcpyAsync from the device");
  }
  static void wait() { detail::expect(cudaStreamSynchronize(stream()), "cudaStreamSynchronize"); }

  class mark {
   public:
    mark() = default;
    mark(const mark&) = delete;
    mark& operator=(const mark&) = delete;
    ~mark() {
      if (event_)
        cudaEventDestroy(event_);
    }
    void record() {
      if (!event_)
        detail::expect(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming),
                       "cudaEventCreateWithFlags");
      detail::expect(cudaEventRecord(event_, stream()), "cudaEventRecord");
    }
    bool passed() const {
      const bool there = cudaEventQuery(event_) == cudaSuccess;
      if (!there)
        cudaGetLastError();  // "not ready" would be the next launch's
      return there;
    }
    void wait() const { detail::expect(cudaEventSynchronize(event_), "cudaEventSynchronize"); }

   private:
    cudaEvent_t event_ = nullptr;
  };

  class graph {
   public:
    explicit graph(cudaGraphExec_t work) : work_(work) {}
    graph(graph&& other) noexcept : work_(std::exchange(other.work_, nullptr)) {}
    graph& operator=(graph other) noexcept {
      std::swap(work_, other.work_);
      return *this;
    }
    ~graph() {
      if (work_)
        cudaGraphExecDestroy(work_);
    }
    void launch() const { detail::expect(cudaGraphLaunch(work_, stream()), "cudaGraphLaunch"); }

   private:
    cudaGraphExec_t work_;
  };
  static std::optional<graph> capture(const command_list& work) {
    detail::expect(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal),
                   "cudaStreamBeginCapture");
    bool whole = true;
    try {
      work.run();
    } catch (const device_error&) {
      whole = false;
    }
    cudaGraph_t recorded = nullptr;
    cudaGraphExec_t ready = nullptr;
    whole = cudaStreamEndCapture(stream(), &recorded) == cudaSuccess && whole && recorded &&
            cudaGraphInstantiate(&ready, recorded, 0) == cudaSuccess;
    if (recorded)
      cudaGraphDestroy(recorded);
    cudaGetLastError();
    if (!whole)
      return std::nullopt;
    return graph(ready);
  }

  template <class K>
  static void each(index_t rows, index_t cols, const K& kernel) {
    detail::expect(detail::launch_elements(stream(), rows, cols, kernel), "a kernel's launch");
  }
  template <class K>
  static void warps(index_t n, const K& kernel) {
    detail::expect(detail::launch_warps(stream(), n, kernel), "a kernel's launch");
  }
  static bool tensor_cores() {
    thread_local const bool some = detail::can_launch_blocks();
    return some;
  }
  template <class K>
  static void blocks(index_t n, const K& kernel) {
    if (n > 0)
      detail::expect(detail::launch_blocks(stream(), n, kernel), "a kernel's launch");
  }

  static void product(const device_product& p) { detail::cuda_session::of_this_thread().product(p); }

 private:
  static cudaStream_t stream() { return detail::cuda_session::of_this_thread().stream(); }
};

using cuda_device = recorded_device<cuda_runtime>;

}  // namespace graft
