// SPDX-License-Identifier: MIT
// A device whose work is launched at once or, between the beginning and the end of a step, put down first.
#pragma once

#include <graft/backend/cuda/product.hpp>
#include <graft/backend/cuda/step_recorder.hpp>
#include <graft/core/view.hpp>

#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>

namespace graft {

// What a Runtime is, each thread having a queue of its own:
//   alignment                              of its memory
//   allocate(bytes), release(p)            lasting memory of the device
//   allocate_pinned(bytes), release_pinned(p)   of the host, within the device's reach
//   zero(p, bytes), each(rows, cols, k), warps(n, k), blocks(n, k), product(call)   launches:
//       k(i, j) for all, k(warp, i) and k(block, i) for all i < n (blocks where there are tensor_cores()),
//       a matrix product
//   upload(to, from, bytes)                `from` may be reused at once
//   download(to, from, bytes)              waits
//   send(to, via, from, bytes)             from pinned memory, beside the queue as far as `via`
//   fetch(to, from, bytes)                 to pinned memory, without waiting
//   wait()                                 for all that was launched
//   mark                                   a place in the queue: record(), passed(), wait()
//   graph, capture(command_list)           a list as one launch(); nothing where that cannot be
template <class Runtime>
struct recorded_device {
  using runtime = Runtime;
  static constexpr std::size_t alignment = Runtime::alignment;

  static void* allocate(std::size_t bytes) { return Runtime::allocate(bytes); }
  // What was put down may be about it.
  static void release(void* data) noexcept {
    if (auto* const step = step_recorder<Runtime>::recording_in_this_thread())
      try {
        step->flush();
      } catch (...) {  // the step's end says so again
      }
    Runtime::release(data);
  }

  // Memory until the object's end, in the order of the launches.
  class temporary {
   public:
    explicit temporary(std::size_t bytes) {
      if (bytes > 0)
        std::tie(data_, lease_) = recorder().room().take(bytes);
    }
    temporary(const temporary&) = delete;
    temporary& operator=(const temporary&) = delete;
    void* data() const { return data_; }

   private:
    void* data_ = nullptr;
    typename workspace_over<Runtime>::lease lease_;
  };

  // The host's bytes on the device: until the object's end or, within a step, until the step's. `often`:
  // many operations of a step tell them.
  class staged {
   public:
    staged(const void* from, std::size_t bytes, bool often = false) {
      if (bytes == 0)
        return;
      if (recorder().recording()) {
        data_ = recorder().put(from, bytes, often);
        return;
      }
      void* data = nullptr;
      std::tie(data, lease_) = recorder().room().take(bytes);
      Runtime::upload(data, from, bytes);
      data_ = data;
    }
    // make() of what is staged already.
    template <class F>
    staged(const staged& of, const F& make) {
      if (!of.data_)
        return;
      if (recorder().recording()) {
        data_ = recorder().put_made(of.data_, make);
        return;
      }
      const auto values = make();
      *this = staged(values.data(), values.size() * sizeof(values[0]));
    }
    staged(staged&&) = default;
    staged& operator=(staged&&) = default;
    staged(const staged&) = delete;
    staged& operator=(const staged&) = delete;
    const void* data() const { return data_; }

   private:
    const void* data_ = nullptr;
    typename workspace_over<Runtime>::lease lease_;
  };

  static void zero(void* data, std::size_t bytes) {
    submit(zeroing{data, bytes}, [](const zeroing& z) { Runtime::zero(z.data, z.bytes); });
  }
  template <class K>
  static void each(index_t rows, index_t cols, const K& kernel) {
    if (rows > 0 && cols > 0)
      submit(matrix_launch<K>{rows, cols, kernel},
             [](const matrix_launch<K>& l) { Runtime::each(l.rows, l.cols, l.kernel); });
  }
  template <class K>
  static void warps(index_t n, const K& kernel) {
    if (n > 0)
      submit(launch<K>{n, kernel}, [](const launch<K>& l) { Runtime::warps(l.n, l.kernel); });
  }
  static bool tensor_cores() { return Runtime::tensor_cores(); }
  template <class K>
  static void blocks(index_t n, const K& kernel) {
    if (n > 0)
      submit(launch<K>{n, kernel}, [](const launch<K>& l) { Runtime::blocks(l.n, l.kernel); });
  }
  static void product(const device_product& p) {
    submit(p, [](const device_product& call) { Runtime::product(call); });
  }

  static void upload(void* to, const void* from, std::size_t bytes) {
    recorder().flush();
    Runtime::upload(to, from, bytes);
  }
  static void download(void* to, const void* from, std::size_t bytes) {
    recorder().flush();
    Runtime::download(to, from, bytes);
  }
  static void wait() {
    recorder().flush();
    Runtime::wait();
  }

  static bool in_step() { return recorder().recording(); }
  static step_recorder<Runtime>& recorder() { return step_recorder<Runtime>::of_this_thread(); }

 private:
  struct zeroing {
    void* data;
    std::size_t bytes;
  };
  template <class K>
  struct matrix_launch {
    index_t rows, cols;
    K kernel;
  };
  template <class K>
  struct launch {
    index_t n;
    K kernel;
  };

  template <class Arguments>
  static void submit(const Arguments& arguments, std::type_identity_t<void (*)(const Arguments&)> run) {
    if (recorder().recording())
      recorder().add(run, arguments);
    else
      run(arguments);
  }
};

// A step of the work of this thread, from here to end(); without that nothing of it happens that the host
// has not waited for. `again`: the same work is likely to come again. Steps do not nest.
template <class Device>
class device_step {
 public:
  explicit device_step(bool again = true) { Device::recorder().begin(again); }
  device_step(const device_step&) = delete;
  device_step& operator=(const device_step&) = delete;
  ~device_step() {
    if (!ended_)
      Device::recorder().abandon();
  }
  void end() {
    Device::recorder().end();
    ended_ = true;
  }

 private:
  bool ended_ = false;
};

}  // namespace graft
