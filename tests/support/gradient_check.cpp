// SPDX-License-Identifier: MIT
#include "support/gradient_check.hpp"

#include <algorithm>
#include <cmath>

namespace graft_test {

double largest(const std::vector<double>& values) {
  double most = 0;
  for (double v : values)
    most = std::max(most, std::abs(v));
  return most;
}

double relative_error(const std::vector<double>& found, const std::vector<double>& expected,
                      double least) {
  if (found.size() != expected.size())
    return INFINITY;
  const double scale = std::max(least, largest(expected));
  double worst = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double error = std::abs(found[i] - expected[i]) / (std::abs(expected[i]) + scale);
    worst = error <= worst ? worst : error;  // a NaN counts
  }
  return worst;
}

// d loss / d x. The difference of the two losses is summed from the differences of the outputs:
// nothing large cancels.
double difference_check::difference(double& x) const {
  const double middle = x, h = 2e-5;
  x = middle + h;
  const double above = x;
  const std::vector<double> up = outputs();
  x = middle - h;
  const double moved = above - x;
  const std::vector<double> down = outputs();
  x = middle;
  double change = 0;
  for (std::size_t i = 0; i < up.size(); ++i)
    change += (up[i] - down[i]) * (m_[i] + (up[i] + down[i]) / 2);
  return change / moved;
}

void difference_check::differentiate(std::span<double> input, std::span<double> parameters) {
  input_.assign(input.begin(), input.end());
  of_parameters_.resize(parameters.size());
  for (const segment& s : segments_)
    for (index_t i = s.offset; i < s.offset + s.size(); ++i)
      of_parameters_[static_cast<std::size_t>(i)] =
          difference(parameters[static_cast<std::size_t>(i)]);
  for (double& x : input)
    of_input_.push_back(difference(x));
}

// Differences cannot tell from zero what is much smaller than the largest gradient.
double difference_check::rounding() const {
  return 1e-4 * std::max({10.0, largest(of_input_), largest(of_parameters_)});
}

void difference_check::compare(const step& found) const {
  INFO("demand " << found.name);
  CHECK(found.y == y_);
  if (found.wanted.input && found.over_tensors)
    CHECK(relative_error(found.dx, of_input_, rounding()) <= gradient_tolerance);
  CHECK(found.input_after == input_);
  for (std::size_t i = 0; i < found.slope_after.size(); ++i)
    CHECK(found.slope_after[i] == slope_at(i));
  CHECK(found.bytes_after == found.bytes_before);
  for (std::size_t s = 0; s < segments_.size(); ++s) {
    const segment& of = segments_[s];
    const auto from = of.offset, until = of.offset + of.size();
    std::vector<double> expected(static_cast<std::size_t>(of.size()), 0.0);
    const bool wanted = found.wanted.params == params::all ||
                        (found.wanted.params == params::biases && is_bias_[s]);
    if (wanted)
      expected.assign(of_parameters_.begin() + from, of_parameters_.begin() + until);
    INFO(of.path << (wanted ? "" : ", which nobody asked for"));
    CHECK(relative_error({found.gradients.begin() + from, found.gradients.begin() + until},
                         expected, rounding()) <= (wanted ? gradient_tolerance : 0.0));
  }
}

}  // namespace graft_test
