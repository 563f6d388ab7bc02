// SPDX-License-Identifier: MIT
// train/splits.hpp
#include <graft/core/random.hpp>
#include <graft/train/splits.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/count_to.hpp"

using namespace graft;
using graft_test::count_to;

namespace {

using indices = std::vector<std::uint32_t>;
using numbers = std::vector<double>;

struct labelled_groups {
  std::vector<std::uint32_t> groups;
  std::vector<std::int32_t> labels;
};

// n examples in about n / size groups, in no order, of classes of which each is half as frequent as
// the one before; an example mostly has its group's class.
labelled_groups random_groups(std::size_t n, std::size_t size, std::uint64_t seed) {
  random_stream random(seed);
  const auto draw = [&] {
    std::int32_t k = 0;
    while (k < 3 && random.uniform() < 0.5)
      ++k;
    return k;
  };
  const std::size_t count = std::max<std::size_t>(1, n / size);
  std::vector<std::int32_t> usual(count);
  for (auto& k : usual)
    k = draw();
  labelled_groups data;
  for (std::size_t i = 0; i < n; ++i) {
    const auto g = static_cast<std::uint32_t>(random.below(count));
    data.groups.push_back(7 * g + 3);
    data.labels.push_back(random.uniform() < 0.8 ? usual[g] : draw());
  }
  return data;
}

std::size_t largest(const std::vector<std::uint32_t>& groups) {
  std::map<std::uint32_t, std::size_t> sizes;
  for (const auto g : groups)
    ++sizes[g];
  std::size_t most = 0;
  for (const auto& [g, n] : sizes)
    most = std::max(most, n);
  return most;
}

// Pearson's χ² between the classes that parts have and those that they wish for.
double chi_squared(const index_lists& parts, const std::vector<std::int32_t>& labels,
                   const numbers& shares) {
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  double total = 0;
  for (std::int32_t k = 0; k < 4; ++k) {
    const auto all = static_cast<double>(std::count(labels.begin(), labels.end(), k));
    for (std::size_t p = 0; all > 0 && p < parts.size(); ++p) {
      double has = 0;
      for (const auto i : parts[p])
        has += labels[i] == k;
      const double wish = shares[p] / sum * all;
      total += (has - wish) * (has - wish) / wish;
    }
  }
  return total;
}

indices joined(const index_lists& parts) {
  indices all;
  for (const auto& part : parts)
    all.insert(all.end(), part.begin(), part.end());
  std::sort(all.begin(), all.end());
  return all;
}

std::vector<std::size_t> sizes(const index_lists& parts) {
  std::vector<std::size_t> n;
  for (const auto& part : parts)
    n.push_back(part.size());
  return n;
}

}  // namespace

TEST_CASE("a split has every example once, in order, and every group in one part") {
  const std::size_t size = GENERATE(1u, 4u, 30u);
  const auto seed = GENERATE(range(0u, 8u));
  const auto data = random_groups(300, size, seed);
  const numbers shares = GENERATE(numbers{80, 10, 10}, numbers{1, 1}, numbers{0.5, 0.2, 0.2, 0.1});
  const index_lists parts = split_groups(data.groups, data.labels, shares, seed);
  REQUIRE(parts.size() == shares.size());
  CHECK(joined(parts) == count_to(300));
  std::map<std::uint32_t, std::size_t> home;
  for (std::size_t p = 0; p < parts.size(); ++p) {
    CHECK_FALSE(parts[p].empty());
    CHECK(std::is_sorted(parts[p].begin(), parts[p].end()));
    for (const auto i : parts[p])
      CHECK(home.try_emplace(data.groups[i], p).first->second == p);
  }
}

TEST_CASE("parts are off their sizes by less than the largest group") {
  const std::size_t size = GENERATE(1u, 2u, 4u, 15u);
  const auto seed = GENERATE(range(0u, 25u));
  const std::size_t n = 100 + 37 * seed;
  const auto data = random_groups(n, size, seed);
  const numbers shares = GENERATE(numbers{80, 10, 10}, numbers{1, 1, 1, 1, 1}, numbers{0.6, 0.4});
  const auto parts = split_groups(data.groups, data.labels, shares, seed);
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  for (std::size_t p = 0; p < parts.size(); ++p) {
    const double wish = shares[p] / sum * static_cast<double>(n);
    CHECK(std::abs(static_cast<double>(parts[p].size()) - wish) <
          static_cast<double>(largest(data.groups)));
  }
}

TEST_CASE("single examples are shared out to the whole number, and so are their classes") {
  std::vector<std::int32_t> labels(200, 0);
  std::fill(labels.begin() + 140, labels.end(), 1);
  const auto parts = split_groups({}, labels, numbers{80, 10, 10}, GENERATE(range(0u, 10u)));
  CHECK(sizes(parts) == std::vector<std::size_t>{160, 20, 20});
  for (const auto& part : parts) {
    const auto ones = static_cast<std::size_t>(
        std::count_if(part.begin(), part.end(), [](auto i) { return i >= 140; }));
    CHECK(10 * ones == 3 * part.size());
  }
}

TEST_CASE("classes are spread more evenly than by chance") {
  const std::size_t size = GENERATE(1u, 3u, 8u);
  const numbers shares = GENERATE(numbers{80, 10, 10}, numbers{1, 1, 1, 1, 1});
  double ours = 0, chance = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto data = random_groups(600, size, seed);
    ours += chi_squared(split_groups(data.groups, data.labels, shares, seed), data.labels, shares);
    chance += chi_squared(split_groups(data.groups, {}, shares, seed), data.labels, shares);
  }
  CHECK(ours < chance / 4);
}

TEST_CASE("parts get large groups in proportion to their shares") {
  // 4 groups of 5 and 80 of 1: a tenth of the large ones is less than half a group, a fifth more.
  std::vector<std::uint32_t> groups;
  for (std::uint32_t g = 0; g < 4; ++g)
    groups.insert(groups.end(), 5, g);
  for (std::uint32_t g = 4; g < 84; ++g)
    groups.push_back(g);
  const auto large = [&](const numbers& shares) {
    const auto parts = split_groups(groups, {}, shares, 1);
    return std::count_if(parts[1].begin(), parts[1].end(), [&](auto i) { return groups[i] < 4; });
  };
  CHECK(large({90, 10}) == 0);
  CHECK(large({80, 20}) == 5);
}

TEST_CASE("a rare class weighs as much as a frequent one") {
  // The first two groups part at once. The third has two of the five examples of class 1, of which
  // the second group has three: it goes to the first, though that has more of class 0.
  labelled_groups data;
  const auto add = [&](std::uint32_t group, std::size_t zeros, std::size_t ones) {
    data.groups.insert(data.groups.end(), zeros + ones, group);
    data.labels.insert(data.labels.end(), zeros, 0);
    data.labels.insert(data.labels.end(), ones, 1);
  };
  add(0, 12, 0);
  add(1, 8, 3);
  add(2, 4, 2);
  for (std::uint32_t g = 3; g < 23; ++g)
    add(g, 1, 0);
  for (const auto& part : split_groups(data.groups, data.labels, numbers{1, 1}, 0)) {
    std::set<std::uint32_t> large;
    for (const auto i : part)
      if (data.groups[i] < 3)
        large.insert(data.groups[i]);
    CHECK((large == std::set<std::uint32_t>{0, 2} || large == std::set<std::uint32_t>{1}));
  }
}

TEST_CASE("classes that cannot be spread do not spoil the sizes") {
  // 20 groups of 3, each with a class of its own.
  labelled_groups data;
  for (std::uint32_t g = 0; g < 20; ++g) {
    data.groups.insert(data.groups.end(), 3, g);
    data.labels.insert(data.labels.end(), 3, static_cast<std::int32_t>(g));
  }
  CHECK(sizes(split_groups(data.groups, data.labels, numbers{34, 19, 7}, 0)) ==
        std::vector<std::size_t>{36, 18, 6});
}

TEST_CASE("classes of one example each do not gather in one part") {
  std::vector<std::int32_t> labels(100, 0);
  std::iota(labels.begin(), labels.begin() + 20, 1);
  for (const auto& part : folds({}, labels, 5, GENERATE(range(0u, 10u)))) {
    CHECK(part.size() == 20);
    CHECK(std::count_if(part.begin(), part.end(), [](auto i) { return i < 20; }) <= 8);
  }
}

TEST_CASE("a group larger than any part's wish goes where there is most room") {
  std::vector<std::uint32_t> groups(10, 1);
  groups.resize(12, 2);
  groups.resize(14, 3);
  const auto parts = split_groups(groups, {}, numbers{1, 2, 1}, 5);
  CHECK(sizes(parts) == std::vector<std::size_t>{2, 10, 2});
}

TEST_CASE("no part is empty when there is a group for each") {
  const auto seed = GENERATE(range(0u, 10u));
  CHECK(sizes(split_groups(indices{4, 4, 4, 9, 2}, {}, numbers{98, 1, 1}, seed)) ==
        std::vector<std::size_t>{3, 1, 1});
  CHECK(sizes(split_groups(indices{1, 2, 3, 4}, {}, numbers{98, 1, 1}, seed)) ==
        std::vector<std::size_t>{2, 1, 1});
}

TEST_CASE("equal seeds give equal splits, other seeds others") {
  const auto data = random_groups(200, 3, 1);
  const numbers shares{80, 10, 10};
  const auto parts = split_groups(data.groups, data.labels, shares, 6);
  CHECK(parts == split_groups(data.groups, data.labels, shares, 6));
  CHECK(parts != split_groups(data.groups, data.labels, shares, 7));
  CHECK(parts == split_groups(data.groups, data.labels, numbers{8, 1, 1}, 6));
}

TEST_CASE("without labels, and without groups, a split is of sizes alone") {
  const std::vector<std::int32_t> labels{0, 1, 0, 1, 0, 1};
  CHECK(sizes(split_groups({}, labels, numbers{1, 1, 1}, 0)) == std::vector<std::size_t>{2, 2, 2});
  CHECK(sizes(split_groups(indices{5, 5, 6, 6, 7, 7}, {}, numbers{1, 1, 1}, 0)) ==
        std::vector<std::size_t>{2, 2, 2});
}

TEST_CASE("folds hold every example out once and train on the others") {
  const std::size_t k = GENERATE(2u, 5u, 7u);
  const auto data = random_groups(210, 3, 4);
  const auto parts = folds(data.groups, data.labels, k, 2);
  REQUIRE(parts.size() == k);
  CHECK(joined(parts) == count_to(210));
  for (std::size_t i = 0; i < k; ++i) {
    const fold f = fold_at(parts, i);
    CHECK(f.held_out == parts[i]);
    CHECK(std::is_sorted(f.train.begin(), f.train.end()));
    CHECK(joined({f.train, f.held_out}) == count_to(210));
    std::set<std::uint32_t> trained;
    for (const auto t : f.train)
      trained.insert(data.groups[t]);
    for (const auto h : f.held_out)
      CHECK(trained.count(data.groups[h]) == 0);
  }
}

TEST_CASE("five folds of single examples have each class in equal number") {
  std::vector<std::int32_t> labels;
  for (int i = 0; i < 50; ++i)
    labels.push_back(i % 10 < 7 ? 0 : 1);
  for (const auto& part : folds({}, labels, 5, GENERATE(range(0u, 10u)))) {
    CHECK(part.size() == 10);
    CHECK(std::count_if(part.begin(), part.end(), [&](auto i) { return labels[i] == 1; }) == 3);
  }
}

TEST_CASE("a split that cannot be says why") {
  const indices three{1, 2, 3, 3};
  CHECK_THROWS_WITH(split_groups(three, {}, numbers{1, 1, 1, 1}, 0),
                    "graft: split_groups: expected at least as many groups as parts and at least "
                    "one part, found 3 groups and 4 parts");
  CHECK_THROWS_WITH(split_groups({}, {}, numbers{1}, 0), Catch::Contains("found 0 groups"));
  CHECK_THROWS_WITH(split_groups(three, {}, numbers{}, 0), Catch::Contains("and 0 parts"));
  CHECK_THROWS_AS(split_groups(three, {}, numbers{1, 1, 1, 1}, 0), input_error);
  const double bad = GENERATE(0.0, -1.0, std::numeric_limits<double>::quiet_NaN(),
                              std::numeric_limits<double>::infinity());
  CHECK_THROWS_WITH(split_groups(three, {}, numbers{1, bad}, 0),
                    Catch::Contains("expected shares above 0, found " + std::to_string(bad)));
  CHECK_THROWS_WITH(split_groups(three, std::vector<std::int32_t>{0, 1}, numbers{1, 1}, 0),
                    "graft: split_groups: labels: expected 4, found 2");
  CHECK_THROWS_AS(split_groups(three, std::vector<std::int32_t>{0, 1}, numbers{1, 1}, 0),
                  shape_error);
  CHECK_THROWS_WITH(folds(three, {}, 1, 0), "graft: folds: expected at least 2 folds, found 1");
  CHECK_THROWS_WITH(folds(three, {}, 4, 0), Catch::Contains("found 3 groups and 4 parts"));
  CHECK_THROWS_WITH(fold_at(index_lists{{0}, {1}}, 2),
                    "graft: fold_at: expected a fold below 2, found 2");
}

TEST_CASE("balanced weights give every class that there is the same say") {
  const std::vector<std::int32_t> labels{0, 0, 0, 0, 0, 0, 1, 1, 3};
  // scikit-learn 1: compute_class_weight("balanced", classes=[0, 1, 3], y=labels)
  const auto weights = balanced_weights(labels, 4);
  CHECK(weights == numbers{0.5, 1.5, 0, 3});
  double sum = 0;
  for (const auto k : labels)
    sum += weights[static_cast<std::size_t>(k)];
  CHECK(sum == Approx(9));
  CHECK(balanced_weights({}, 2) == numbers{0, 0});
  CHECK_THROWS_WITH(balanced_weights(labels, 3),
                    "graft: balanced_weights: label 8: expected a class below 3, found 3");
  CHECK_THROWS_WITH(balanced_weights(std::vector<std::int32_t>{0, -1}, 3),
                    "graft: balanced_weights: label 1: expected a class below 3, found -1");
}
