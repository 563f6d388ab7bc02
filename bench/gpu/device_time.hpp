// SPDX-License-Identifier: MIT
// What one call of an operation takes: of the device and of the host.
#pragma once

#include "gpu/compiled.hpp"
#include "support/measure.hpp"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace graft_bench {

struct queued_time {
  double device = 0, host = 0;  // seconds of a call, medians
};

inline cudaStream_t stream_of_graft() {
  return graft::detail::cuda_session::of_this_thread().stream();
}

// A point in a stream's work.
class moment {
 public:
  moment() { graft::detail::expect(cudaEventCreate(&event_), "cudaEventCreate"); }
  moment(const moment&) = delete;
  moment& operator=(const moment&) = delete;
  ~moment() { cudaEventDestroy(event_); }
  void record() {
    graft::detail::expect(cudaEventRecord(event_, stream_of_graft()), "cudaEventRecord");
  }
  double seconds_since(const moment& before) const {
    float milliseconds = 0;
    graft::detail::expect(cudaEventSynchronize(event_), "cudaEventSynchronize");
    graft::detail::expect(cudaEventElapsedTime(&milliseconds, before.event_, event_),
                          "cudaEventElapsedTime");
    return 1e-3 * static_cast<double>(milliseconds);
  }

 private:
  cudaEvent_t event_ = nullptr;
};

// Calls are one step, replayed as a graph, and queued behind work that keeps the device busy meanwhile, so that
// they run without a pause; where f waits for the device itself its pauses count.
template <class B, class F>
queued_time time_queued(const F& f) {
  constexpr std::size_t busy_bytes = std::size_t{1} << 30;
  static void* const busy = B::device::allocate(2 * busy_bytes);
  const auto run = [&](int calls) {
    typename B::step work;
    for (int i = 0; i < calls; ++i)
      f();
    work.end();
  };
  for (int i = 0; i < 5; ++i)
    run(1);
  B::device::wait();
  double start = seconds_now();
  run(1);
  B::device::wait();
  // About 20 ms of it, at least 3 calls and not so many that queuing them outlasts the copies below.
  const int calls = std::clamp(static_cast<int>(0.02 / (seconds_now() - start)), 3, 50);
  std::vector<double> device, host;
  for (int round = 0; round < 21; ++round) {
    start = seconds_now();
    run(calls);
    host.push_back((seconds_now() - start) / calls);
    B::device::wait();
    moment first, last;
    for (int i = 0; i < 8; ++i)  // 4 ms on an H200
      graft::detail::expect(
          cudaMemcpyAsync(busy, static_cast<char*>(busy) + busy_bytes, busy_bytes,
                          cudaMemcpyDeviceToDevice, stream_of_graft()),
          "cudaMemcpyAsync on the device");
    first.record();
    run(calls);
    last.record();
    device.push_back(last.seconds_since(first) / calls);
  }
  return {median_of(device), median_of(host)};
}

// What the runtime makes of a copy, the most that memory gives.
template <class B>
void copy_memory(typename B::view y, typename B::const_view x) {
  graft::detail::expect(
      cudaMemcpyAsync(y.data, x.data,
                      static_cast<std::size_t>(y.size()) * static_cast<std::size_t>(bytes_of(y.type)),
                      cudaMemcpyDeviceToDevice, stream_of_graft()),
      "cudaMemcpyAsync on the device");
}

}  // namespace graft_bench
