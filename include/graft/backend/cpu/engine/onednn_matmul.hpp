// SPDX-License-Identifier: MIT
// Products of 16-bit numbers by oneDNN's matmul primitives.
#pragma once

#include <graft/core/view.hpp>

#include <array>
#include <cstdint>
#include <map>
#include <unordered_map>
#include <vector>

#include <dnnl.hpp>

#if DNNL_VERSION_MAJOR >= 3
#include <graft/backend/cpu/engine/onednn3.hpp>
#else
#include <graft/backend/cpu/engine/onednn2.hpp>
#endif

namespace graft::detail {

// What a calling thread keeps of oneDNN: its primitives by shape, so that nobody waits for another.
class onednn_matmuls {
 public:
  static onednn_matmuls& of_thread() {
    thread_local onednn_matmuls all;
    return all;
  }

  // y [rows, cols] = x [rows, depth] op(w) + bias, all dense; w [cols, depth] where it is transposed, else
  // [depth, cols]; bias [cols] or null.
  void multiply(float* y, const std::uint16_t* x, const std::uint16_t* w, index_t rows, index_t cols,
                index_t depth, bool transposed, const float* bias) {
    made& p = product({rows, cols, depth, transposed, bias != nullptr});
    p.arguments.at(DNNL_ARG_SRC).set_data_handle(const_cast<std::uint16_t*>(x));
    p.arguments.at(DNNL_ARG_WEIGHTS).set_data_handle(const_cast<std::uint16_t*>(w));
    p.arguments.at(DNNL_ARG_DST).set_data_handle(y);
    if (bias)
      p.arguments.at(DNNL_ARG_BIAS).set_data_handle(const_cast<float*>(bias));
    scratch_.resize(std::max(scratch_.size(), p.scratch_bytes));
    p.arguments.at(DNNL_ARG_SCRATCHPAD).set_data_handle(scratch_.data());
    p.product.execute(stream_, p.arguments);
    stream_.wait();
  }

 private:
  struct made {
    dnnl::matmul product;
    std::unordered_map<int, dnnl::memory> arguments;  // without their places
    std::size_t scratch_bytes;
  };
  using shape = std::array<index_t, 5>;

  made& product(const shape& s) {
    const auto found = products_.find(s);
    return found != products_.end() ? found->second : products_.emplace(s, make(s)).first->second;
  }

  made make(const shape& s) {
    using memory = dnnl::memory;
    using tag = memory::format_tag;
    const auto [rows, cols, depth, transposed, with_bias] = s;
    const memory::desc x({rows, depth}, memory::data_type::bf16, tag::ab);
    const memory::desc w({depth, cols}, memory::data_type::bf16, transposed ? tag::ba : tag::ab);
    const memory::desc y({rows, cols}, memory::data_type::f32, tag::ab);
    const memory::desc bias = with_bias ? memory::desc({1, cols}, memory::data_type::f32, tag::ab) : memory::desc();
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const auto form = matmul_of(engine_, x, w, bias, y, attributes);
    made p{dnnl::matmul(form), {}, form.scratchpad_desc().get_size()};
    const auto place = [&](int name, const memory::desc& d) { p.arguments.emplace(name, memory(d, engine_, nullptr)); };
    place(DNNL_ARG_SRC, x);
    place(DNNL_ARG_WEIGHTS, w);
    place(DNNL_ARG_DST, y);
    place(DNNL_ARG_SCRATCHPAD, form.scratchpad_desc());
    if (with_bias)
      place(DNNL_ARG_BIAS, bias);
    return p;
  }

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  std::map<shape, made> products_;
  std::vector<char> scratch_;
};

}  // namespace graft::detail
