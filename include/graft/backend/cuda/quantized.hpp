// SPDX-License-Identifier: MIT
// A matrix in 8 or 4 bits per number in the memory of a device.
#pragma once

#include <graft/backend/cuda/storage.hpp>
#include <graft/core/quantized.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <type_traits>
#include <utility>
#include <vector>

namespace graft {

namespace detail {

// A copy of the host's values.
template <class Device, class U>
class device_array {
 public:
  device_array() = default;
  device_array(const device_array&) = delete;
  device_array& operator=(const device_array&) = delete;
  ~device_array() {
    if (data_)
      Device::release(data_);
  }
  // Once.
  void bring(const std::vector<U>& values) {
    const std::size_t bytes = values.size() * sizeof(U);
    data_ = Device::allocate(rounded_up<Device>(bytes));
    Device::upload(data_, values.data(), bytes);
  }
  const U* data() const { return static_cast<const U*>(data_); }

 private:
  void* data_ = nullptr;
};

template <class Device>
struct device_codes {
  struct int8 {
    device_array<Device, std::int8_t> q;
    device_array<Device, float> row_scale;
    void bring(const int8_matrix& m) {
      q.bring(m.q);
      row_scale.bring(m.row_scale);
    }
    int8_view view(const int8_matrix& m) const { return {q.data(), row_scale.data(), m.cols}; }
  };
  struct nf4 {
    device_array<Device, std::uint8_t> codes, scale_codes;
    device_array<Device, float> group_scale;
    void bring(const nf4_matrix& m) {
      codes.bring(m.codes);
      scale_codes.bring(m.scale_codes);
      group_scale.bring(m.group_scale);
    }
    nf4_view view(const nf4_matrix& m) const {
      return {codes.data(), scale_codes.data(), group_scale.data(), m.mean, m.cols};
    }
  };
};

}  // namespace detail

// The host keeps its codes; the device gets them when they are first asked for, once for all copies.
template <class Device, number_format Format>
class device_quantized {
  using matrix = quantized_matrix<Format>;
  using codes = std::conditional_t<Format == number_format::int8,
                                   typename detail::device_codes<Device>::int8,
                                   typename detail::device_codes<Device>::nf4>;

 public:
  device_quantized() = default;
  device_quantized(std::shared_ptr<const matrix> m)
      : held_(std::make_shared<held>(std::move(m))) {}

  explicit operator bool() const { return held_ != nullptr; }
  const matrix* operator->() const { return held_->of_host.get(); }
  operator std::shared_ptr<const matrix>() const { return held_ ? held_->of_host : nullptr; }
  friend bool operator==(const device_quantized& a, const device_quantized& b) {
    return std::shared_ptr<const matrix>(a) == std::shared_ptr<const matrix>(b);
  }

  auto view() const {
    std::call_once(held_->once, [&] {
      held_->of_device.bring(*held_->of_host);
      Device::wait();
    });
    return held_->of_device.view(*held_->of_host);
  }

 private:
  struct held {
    explicit held(std::shared_ptr<const matrix> m) : of_host(std::move(m)) {}
    std::shared_ptr<const matrix> of_host;
    codes of_device;
    std::once_flag once;
  };
  std::shared_ptr<held> held_;
};

}  // namespace graft
