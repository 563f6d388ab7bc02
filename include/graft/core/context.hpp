// SPDX-License-Identifier: MIT
// What forward and backward are told besides their input. There is no global state.
#pragma once

#include <graft/core/layout.hpp>
#include <graft/core/random.hpp>
#include <graft/core/row_updates.hpp>

#include <cstdint>
#include <utility>

namespace graft {

// memory: where the tensors of this step live. batch: how the rows fall into sequences; a forward and
// its backward are given the same. Dropout acts when `training`, whatever is asked of backward; its
// masks follow from `seed`, `step` and the place in the model, so that backward draws them again.
// updates: of the layers that lora_bank decorates, those that act on this batch (null: none).
// draws: becomes true when a mask is drawn (null: nobody asks).
template <class B>
struct context {
  using tensor = typename B::tensor;

  typename B::workspace& memory;
  const layout& batch;
  bool training = false;
  std::uint64_t seed = 0;
  std::uint64_t step = 0;
  const row_updates<B>* updates = nullptr;
  bool* draws = nullptr;

  // An uninitialised tensor of this step.
  tensor make(index_t rows, index_t cols) const { return B::make(memory, rows, cols); }
  // … whose numbers are at least floats.
  tensor make_exact(index_t rows, index_t cols) const { return B::make_exact(memory, rows, cols); }

  tensor copy(typename B::const_view x) const {
    tensor y = make(x.rows, x.cols);
    B::copy(y, x);
    return y;
  }

  // x itself where nobody else holds it, else a copy: a tensor that may be written into.
  tensor own(tensor&& x) const { return x.unique() ? std::move(x) : copy(x); }

  // To be called only where dropout acts.
  dropout_key dropout_at(std::uint32_t place) const {
    if (draws)
      *draws = true;
    return {key_of(seed, step), place};
  }

  // The same step, with the rows falling into sequences differently.
  context with(const layout& rows) const {
    return {memory, rows, training, seed, step, updates, draws};
  }
};

}  // namespace graft
