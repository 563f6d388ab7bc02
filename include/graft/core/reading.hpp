// SPDX-License-Identifier: MIT
// Numbers that the host need not wait for.
#pragma once

#include <graft/core/plain.hpp>

#include <memory>
#include <utility>
#include <vector>

namespace graft {

// A number that is known, or will be once a device has made it. Whoever asks for its value waits.
class reading {
 public:
  struct source {
    virtual ~source() = default;
    virtual bool arrived() const = 0;
    virtual double value() = 0;
  };

  reading(double known = 0) : known_(known) {}
  reading(std::shared_ptr<source> later) : later_(std::move(later)) {}

  bool arrived() const { return !later_ || later_->arrived(); }
  double value() const { return later_ ? later_->value() : known_; }
  operator double() const { return value(); }

 private:
  double known_ = 0;
  std::shared_ptr<source> later_;
};

// Σ share · reading.
class reading_sum {
 public:
  void add(double share, reading what);
  reading sum() &&;

 private:
  double known_ = 0;
  std::vector<std::pair<double, reading>> terms_;
};

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

GRAFT_PLAIN void reading_sum::add(double share, reading what) {
  if (what.arrived())
    known_ += share * what.value();
  else
    terms_.emplace_back(share, std::move(what));
}

GRAFT_PLAIN reading reading_sum::sum() && {
  if (terms_.empty())
    return known_;
  struct later : reading::source {
    double known;
    std::vector<std::pair<double, reading>> terms;
    bool arrived() const override {
      for (const auto& [share, what] : terms)
        if (!what.arrived())
          return false;
      return true;
    }
    double value() override {
      double sum = known;
      for (const auto& [share, what] : terms)
        sum += share * what.value();
      return sum;
    }
  };
  auto all = std::make_shared<later>();
  all->known = known_;
  all->terms = std::move(terms_);
  return reading(std::move(all));
}

}  // namespace graft

#endif
