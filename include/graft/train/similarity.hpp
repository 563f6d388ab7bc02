// SPDX-License-Identifier: MIT
// Vectors of texts that mean the same lie close together.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/train/correlation.hpp>
#include <graft/train/objective.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace graft {

// For a sentence encoder; an example has a `second` text. With c_ij the cosine of the vectors of text
// i and second text j:
//
// | form    | loss                                                              | asks for     |
// | cosine  | mean of (c_ii − example.target)²                                  | a target     |
// | ranking | mean of −log softmax_j(scale · c_ij)_i, j over the batch: the second texts of the others |
// |         | are wrong ones (Henderson et al. 2017, arXiv:1705.00652)          | texts that go together |
//
// Scores of cosine: spearman and pearson of c_ii and the target (Reimers & Gurevych 2019,
// arXiv:1908.10084); of ranking: accuracy, the share of texts whose own second text is the closest in
// the batch. Throws input_error for an example without a second text or, of cosine, with a target
// outside −1 … 1.
struct similarity {
  static constexpr bool same_each_epoch = true;
  enum class form_t : unsigned char { cosine, ranking };
  form_t form = form_t::cosine;
  double scale = 20;

  struct tally {
    std::vector<double> found, wanted;
    double loss = 0;
    std::int64_t hits = 0, pairs = 0;
  };

  void check(std::span<const example> data) const;

  // Second texts draw their dropout as example number + 2³¹.
  void add(const example& e, const example_turn& turn, std::int32_t first_position,
           token_batch& batch, truth& t) const;
  double weight(const truth& t) const { return static_cast<double>(t.targets.size()); }
  bool separable() const { return form == form_t::cosine; }

  template <class B>
  loss_result<typename B::tensor> loss(const typename B::tensor& y, const token_batch&,
                                       const truth& t, const context<B>& k) const {
    using scalar = typename B::scalar;
    using tensor = typename B::tensor;
    const auto n = static_cast<index_t>(t.targets.size());
    const std::vector<std::int32_t> first = every_second(n, 0), second = every_second(n, 1);
    const unit_rows<B> u(y, first, k), v(y, second, k);
    tensor du = k.make(n, y.cols), dv = k.make(n, y.cols);
    loss_result<tensor> r;
    if (form == form_t::cosine) {
      tensor c = k.make(n, 1);
      B::dot_rows(c, u.unit, v.unit, 1, false);
      const auto error = mean_squared_error{}.operator()<B>(c, t.targets, k);
      r.loss = error.loss;
      B::multiply_column(du, v.unit, error.gradient, false);
      B::multiply_column(dv, u.unit, error.gradient, false);
    } else {
      const auto s = static_cast<scalar>(scale);
      tensor c = k.make(n, n);
      B::product_nt(c, u.unit, v.unit, s, false);
      std::vector<std::int32_t> own(static_cast<std::size_t>(n));
      for (std::size_t i = 0; i < own.size(); ++i)
        own[i] = static_cast<std::int32_t>(i);
      const auto entropy = cross_entropy{}.operator()<B>(c, own, k);
      r.loss = entropy.loss;
      B::product_nn(du, entropy.gradient, v.unit, s, false);
      B::product_tn(dv, entropy.gradient, u.unit, s, false);
    }
    r.gradient = k.make(y.rows, y.cols);
    B::fill(r.gradient, 0);
    u.add_gradient(r.gradient, du, first, k);
    v.add_gradient(r.gradient, dv, second, k);
    return r;
  }

  template <class Tensor>
  void count(tally& sums, const Tensor& y, const token_batch&, const truth& t) const {
    const auto n = static_cast<index_t>(t.targets.size());
    for (index_t i = 0; i < n; ++i) {
      const double own = cosine(y, 2 * i, 2 * i + 1);
      ++sums.pairs;
      if (form == form_t::cosine) {
        const double target = t.targets[static_cast<std::size_t>(i)];
        sums.found.push_back(own);
        sums.wanted.push_back(target);
        sums.loss += (own - target) * (own - target);
      } else {
        double sum = 0, top = own;
        for (index_t j = 0; j < n; ++j) {
          const double other = cosine(y, 2 * i, 2 * j + 1);
          sum += std::exp(scale * (other - own));
          top = other > top ? other : top;
        }
        sums.loss += std::log(sum);
        sums.hits += top == own ? 1 : 0;
      }
    }
  }
  evaluation evaluate(tally sums) const;

  std::vector<std::pair<std::string, double>> numbers() const;

 private:
  static std::vector<std::int32_t> every_second(index_t n, std::int32_t from) {
    std::vector<std::int32_t> ids;
    for (index_t i = 0; i < n; ++i)
      ids.push_back(static_cast<std::int32_t>(2 * i) + from);
    return ids;
  }

  // Some rows x of a tensor, x / |x|, and 1 / |x|.
  template <class B>
  struct unit_rows {
    using tensor = typename B::tensor;
    tensor unit, inverse;

    unit_rows(const tensor& y, std::span<const std::int32_t> ids, const context<B>& k) {
      const auto n = static_cast<index_t>(ids.size());
      tensor x = k.make(n, y.cols), squares = k.make(n, 1), one = k.make(n, 1);
      unit = k.make(n, y.cols);
      inverse = k.make(n, 1);
      B::gather(x, y, ids, false);
      B::normalize_rows(unit, x);
      B::dot_rows(squares, x, x, 1, false);
      B::fill(one, 1);
      B::divide_by_root(inverse, one, squares);
    }
    // dx = (du − u (u · du)) / |x|, at its rows of dy.
    void add_gradient(tensor& dy, const tensor& du, std::span<const std::int32_t> ids,
                      const context<B>& k) const {
      tensor along = k.make(unit.rows, 1), dx = k.make(unit.rows, unit.cols);
      B::dot_rows(along, unit, du, -1, false);
      B::multiply_column(dx, unit, along, false);
      B::add(dx, du);
      B::multiply_column(dx, dx, inverse, false);
      B::scatter_add(dy, dx, ids);
    }
  };

  template <class Tensor>
  static double cosine(const Tensor& y, index_t a, index_t b) {
    double ab = 0, aa = 0, bb = 0;
    for (index_t j = 0; j < y.cols; ++j) {
      const double u = static_cast<double>(y(a, j)), v = static_cast<double>(y(b, j));
      ab += u * v;
      aa += u * u;
      bb += v * v;
    }
    return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
  }
};

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

GRAFT_PLAIN void similarity::check(std::span<const example> data) const {
  for (std::size_t i = 0; i < data.size(); ++i) {
    if (data[i].second.empty())
      throw input_error(detail::example_text(i) + ": expected a second text, found none");
    if (form == form_t::cosine && !(std::abs(data[i].target) <= 1))
      throw input_error(detail::example_text(i) + ": expected a target from -1 to 1, found " +
                        std::to_string(data[i].target));
  }
}

GRAFT_PLAIN void similarity::add(const example& e, const example_turn& turn, std::int32_t first_position,
                                 token_batch& batch, truth& t) const {
  batch.append(e.ids, e.types, turn.number, first_position, e.task);
  batch.append(e.second, {}, turn.number | 0x80000000u, first_position, e.task);
  t.targets.push_back(e.target);
}

GRAFT_PLAIN evaluation similarity::evaluate(tally sums) const {
  const auto n = static_cast<double>(sums.pairs);
  const double loss = n > 0 ? sums.loss / n : 0;
  if (form == form_t::ranking)
    return {loss, {{"accuracy", n > 0 ? static_cast<double>(sums.hits) / n : 0}}, confusion_matrix{}};
  return {loss,
          {{"spearman", spearman(sums.found, sums.wanted)},
           {"pearson", pearson(sums.found, sums.wanted)}},
          confusion_matrix{}};
}

GRAFT_PLAIN std::vector<std::pair<std::string, double>> similarity::numbers() const {
  return {{"form", static_cast<double>(form)}, {"scale", scale}};
}

}  // namespace graft

#endif
