// SPDX-License-Identifier: MIT
// Several small matrices of one shape, whole or of low rank.
#pragma once

#include <graft/core/layer.hpp>

#include <string_view>
#include <utility>

namespace graft {

// m matrices M_i [rows, cols]: whole, row i of `whole` [m, rows · cols] holding M_i row after row;
// or of low rank, M_i = left_i right_i with left_i [rows, rank] and right_i [rank, cols] in the
// rows of `left` and `right`. Names has the tags of the three parameters.
template <backend B, class Names>
struct matrix_bank {
  using backend_type = B;
  using tensor = typename B::tensor;
  using view = typename B::view;
  using parameter = typename B::parameter;

  parameter whole, left, right;
  index_t rows = 0, cols = 0, rank = 0;  // rank 0: whole

  matrix_bank() = default;
  matrix_bank(index_t m, index_t r, index_t c, index_t low) : rows(r), cols(c), rank(low) {
    if (low == 0) {
      whole = parameter(m, r * c);
    } else {
      left = parameter(m, r * low);
      right = parameter(m, low * c);
    }
  }
  index_t size() const { return rank == 0 ? whole.rows : left.rows; }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(typename Names::whole{}, z.whole...);
    f(typename Names::left{}, z.left...);
    f(typename Names::right{}, z.right...);
  }
  struct gradient {
    parameter whole, left, right;
  };

  // [m, rows · cols]
  tensor matrices(const context<B>& k) const {
    if (rank == 0)
      return tensor(view(whole));
    tensor all = k.make(size(), rows * cols);
    for (index_t i = 0; i < size(); ++i)
      B::product_nn(one(all, i, rows, cols), one(left, i, rows, rank), one(right, i, rank, cols), 1,
                    false);
    return all;
  }
  // Adds what the gradient d [m, rows · cols] of all matrices makes of those of the parameters.
  void add_gradient(const tensor& d, gradient& g) const {
    if (rank == 0) {
      B::add(g.whole, d);
      return;
    }
    for (index_t i = 0; i < size(); ++i) {
      const view of_one = one(d, i, rows, cols);
      B::product_nt(one(g.left, i, rows, rank), of_one, one(right, i, rank, cols), 1, true);
      B::product_tn(one(g.right, i, rank, cols), one(left, i, rows, rank), of_one, 1, true);
    }
  }

 private:
  // Row i of a matrix, as a matrix.
  static view one(const view& of, index_t i, index_t r, index_t c) {
    return of.rows_of(i, 1).shaped(r, c);
  }
};

}  // namespace graft
