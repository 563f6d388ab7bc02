// SPDX-License-Identifier: MIT
// How successive halving shares out a time budget: of the candidates of a rung a third goes on to
// the next and is trained three times as much. Jamieson & Talwalkar 2016, arXiv:1502.07943.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace programs {

// What trainings are made of.
struct training_sizes {
  std::size_t train = 0, dev = 0;  // examples there are
  int epochs = 3;                  // of a whole training
  std::size_t least = 0;           // examples that a training has at least
};

// Each of `candidates` is trained on `examples` examples for `epochs` epochs, of several only where
// `examples` is all there are, and scored on `dev` examples.
struct rung {
  std::size_t candidates = 0, examples = 0, dev = 0;
  int epochs = 1;
};

// What a candidate costs in seconds.
struct training_cost {
  double start = 0, per_train_example = 0, per_dev_example = 0;
};

double seconds_of(const training_cost& cost, const rung& r);

// The rungs for `candidates` candidates, until at most `last` are left. The last trains `passes`
// examples, repetitions counted, and scores on all of dev; an earlier one trains a third of the one
// after it and scores on as many of dev, 100 at least.
std::vector<rung> rungs_of(std::size_t candidates, double passes, const training_sizes& sizes,
                           std::size_t last);

// At worst: those that go on are the dearest.
double seconds_of(std::span<const rung> rungs, std::vector<training_cost> costs);

// The rungs whose cost stays below `seconds`: whole trainings of 3 candidates in the end, or of the best
// alone, or the longest of it that there is time for; none when there is none for the shortest.
std::vector<rung> planned(const std::vector<training_cost>& costs, double seconds,
                          const training_sizes& sizes);

}  // namespace programs
