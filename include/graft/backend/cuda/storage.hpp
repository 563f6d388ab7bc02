// SPDX-License-Identifier: MIT
// Storage in the memory of a device: tensors of a step, trained parameters, frozen weights.
#pragma once

#include <graft/backend/cuda/device_view.hpp>
#include <graft/backend/cuda/numbers.hpp>
#include <graft/backend/workspace.hpp>
#include <graft/core/view.hpp>

#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace graft {

template <class Device>
constexpr std::size_t rounded_up(std::size_t bytes) {
  return (bytes / Device::alignment + 1) * Device::alignment;
}

// A matrix of a step, as host_tensor is one of the host's: copies share.
template <class Device>
struct device_tensor : device_view {
  using lease = typename workspace_over<Device>::lease;
  lease memory;

  device_tensor() = default;
  device_tensor(device_view v) : device_view(v) {}
  device_tensor(device_view v, lease m) : device_view(v), memory(std::move(m)) {}

  bool unique() const { return memory.unique(); }
  device_tensor columns(index_t from, index_t count) const {
    return {device_view::columns(from, count), memory};
  }
  device_tensor rows_of(index_t from, index_t count) const {
    return {device_view::rows_of(from, count), memory};
  }
};

// A float in the memory of a device. The host can hold its address and not read it by mistake.
struct device_float {
  float value;
};

// A trained matrix of floats, contiguous. Copies share their values; one made by its sizes owns them, zero
// at first.
template <class Device>
struct device_parameter {
  using value_type = device_float;
  device_float* data = nullptr;
  index_t rows = 0;
  index_t cols = 0;
  std::shared_ptr<void> owner;

  device_parameter() = default;
  device_parameter(index_t r, index_t c) : rows(r), cols(c) {
    if (r * c == 0)
      return;
    const std::size_t bytes = static_cast<std::size_t>(r * c) * sizeof(float);
    owner = std::shared_ptr<void>(Device::allocate(rounded_up<Device>(bytes)), Device::release);
    Device::zero(owner.get(), bytes);
    Device::wait();
    data = static_cast<device_float*>(owner.get());
  }
  device_parameter(device_float* d, index_t r, index_t c, std::shared_ptr<void> o)
      : data(d), rows(r), cols(c), owner(std::move(o)) {}

  index_t size() const { return rows * cols; }
  operator device_view() const { return {data, rows, cols}; }
  operator const_device_view() const { return {data, rows, cols}; }
};

// Values of the host as numbers of type T in the device's memory, brought there when first asked for.
template <class Device, class T>
class resident {
 public:
  resident(const float* values, std::size_t count, std::shared_ptr<const void> owner)
      : values_(values), count_(count), owner_(std::move(owner)) {}
  resident(const resident&) = delete;
  resident& operator=(const resident&) = delete;
  ~resident() {
    if (data_)
      Device::release(data_);
  }

  const void* data() {
    std::call_once(once_, [&] {
      std::vector<T> numbers(count_);
      for (std::size_t i = 0; i < count_; ++i)
        numbers[i] = number_from<T>(values_[i]);
      const std::size_t bytes = count_ * sizeof(T);
      data_ = Device::allocate(rounded_up<Device>(bytes));
      Device::upload(data_, numbers.data(), bytes);
      Device::wait();
      owner_.reset();
    });
    return data_;
  }

 private:
  const float* values_;
  std::size_t count_;
  std::shared_ptr<const void> owner_;
  std::once_flag once_;
  void* data_ = nullptr;
};

// A matrix that is never trained. Its values lie in the host's memory or a mapped file, where they are
// read, saved and merged, and once on the device, as numbers of type T (a single row, as biases and norms
// are, as floats); or on the device alone, where they were trained. Copies share them.
template <class Device, class T>
struct device_weight {
  using value_type = float;
  const float* data = nullptr;  // of the host; null where there is none
  index_t rows = 0;
  index_t cols = 0;
  std::shared_ptr<const void> owner;

  device_weight() = default;
  device_weight(index_t r, index_t c) : rows(r), cols(c) {}
  device_weight(const float* d, index_t r, index_t c, std::shared_ptr<const void> o)
      : data(d), rows(r), cols(c), owner(std::move(o)) {
    if (!data || size() == 0)
      return;
    const auto count = static_cast<std::size_t>(size());
    if (rows == 1)
      row_ = std::make_shared<resident<Device, float>>(data, count, owner);
    if (rows > 1 || number_type_of<T> != number_type::f32)
      matrix_ = std::make_shared<resident<Device, T>>(data, count, owner);
  }
  device_weight(const device_parameter<Device>& p)
      : rows(p.rows), cols(p.cols), owner(p.owner), trained_(p.data) {}

  index_t size() const { return rows * cols; }
  operator const_device_view() const {
    if (row_)
      return {row_->data(), rows, cols, cols, number_type::f32};
    return rounded();
  }
  // A single row as numbers of type T too, where its values came from the host: the bias of a product that
  // makes such numbers.
  const_device_view rounded() const {
    if (matrix_)
      return {matrix_->data(), rows, cols, cols, number_type_of<T>};
    if (row_)
      return {row_->data(), rows, cols, cols, number_type::f32};
    return {trained_, rows, cols, cols, number_type::f32};
  }

 private:
  std::shared_ptr<resident<Device, float>> row_;
  std::shared_ptr<resident<Device, T>> matrix_;
  const device_float* trained_ = nullptr;
};

}  // namespace graft
