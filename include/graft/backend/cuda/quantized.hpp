// SPDX-License-Identifier: MIT
// A matrix in 16, 8 or 4 bits per number in the memory of a device.
#pragma once

#include <graft/backend/cuda/storage.hpp>
#include <graft/core/quantized.hpp>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace graft {

namespace detail {

// A copy of the host's values.
template <class Device, class U>
class device_array {
 public:
  explicit device_array(const std::vector<U>& values)
      : memory_(Device::allocate(rounded_up<Device>(values.size() * sizeof(U))), Device::release) {
    Device::upload(memory_.get(), values.data(), values.size() * sizeof(U));
  }
  const U* data() const { return static_cast<const U*>(memory_.get()); }

 private:
  std::shared_ptr<void> memory_;
};

template <class Device>
struct device_bf16 {
  device_array<Device, std::uint16_t> bits;
  index_t cols;
  explicit device_bf16(const bf16_matrix& m) : bits(m.bits), cols(m.cols) {}
  bf16_view view() const { return {bits.data(), cols}; }
};

template <class Device>
struct device_int8 {
  device_array<Device, std::int8_t> q;
  device_array<Device, float> row_scale;
  index_t cols;
  explicit device_int8(const int8_matrix& m) : q(m.q), row_scale(m.row_scale), cols(m.cols) {}
  int8_view view() const { return {q.data(), row_scale.data(), cols}; }
};

template <class Device>
struct device_nf4 {
  device_array<Device, std::uint8_t> codes, scale_codes;
  device_array<Device, float> group_scale;
  float mean;
  index_t cols;
  explicit device_nf4(const nf4_matrix& m)
      : codes(m.codes),
        scale_codes(m.scale_codes),
        group_scale(m.group_scale),
        mean(m.mean),
        cols(m.cols) {}
  nf4_view view() const {
    return {codes.data(), scale_codes.data(), group_scale.data(), mean, cols};
  }
};

}  // namespace detail

// The host keeps its codes; the device gets them when they are first asked for, once for all copies.
template <class Device, number_format Format>
class device_quantized {
  using matrix = quantized_matrix<Format>;
  using codes = std::conditional_t<Format == number_format::bf16, detail::device_bf16<Device>,
                                   std::conditional_t<Format == number_format::int8, detail::device_int8<Device>,
                                                      detail::device_nf4<Device>>>;

 public:
  device_quantized() = default;
  device_quantized(std::shared_ptr<const matrix> m)
      : held_(m ? std::make_shared<held>(std::move(m)) : nullptr) {}

  explicit operator bool() const { return held_ != nullptr; }
  const matrix* operator->() const { return held_->of_host.get(); }
  operator std::shared_ptr<const matrix>() const { return held_ ? held_->of_host : nullptr; }
  friend bool operator==(const device_quantized& a, const device_quantized& b) {
    return std::shared_ptr<const matrix>(a) == std::shared_ptr<const matrix>(b);
  }

  auto view() const {
    std::call_once(held_->once, [&] {
      held_->of_device.emplace(*held_->of_host);
      Device::wait();
    });
    return held_->of_device->view();
  }

 private:
  struct held {
    explicit held(std::shared_ptr<const matrix> m) : of_host(std::move(m)) {}
    std::shared_ptr<const matrix> of_host;
    std::optional<codes> of_device;
    std::once_flag once;
  };
  std::shared_ptr<held> held_;
};

}  // namespace graft
