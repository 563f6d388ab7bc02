// SPDX-License-Identifier: MIT
#include "support/probe.hpp"

#include "support/program.hpp"

#include <graft/core/random.hpp>

#include <algorithm>

namespace programs {

namespace {

double mean_tokens(const graft::example_list& list) {
  double sum = 0;
  for (const auto& e : list)
    sum += static_cast<double>(e.ids.size());
  return sum / static_cast<double>(list.size());
}

std::vector<std::uint32_t> by_length(const graft::example_list& all) {
  std::vector<std::uint32_t> order(all.size());
  for (std::size_t i = 0; i < order.size(); ++i)
    order[i] = static_cast<std::uint32_t>(i);
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return all[a].ids.size() > all[b].ids.size();
  });
  return order;
}

// At even distances from the list's `first` on.
graft::example_list spread_out(const graft::example_list& all,
                               const std::vector<std::uint32_t>& order, std::size_t first,
                               std::size_t wanted) {
  const std::size_t room = order.size() - first, n = std::min(wanted, room);
  graft::example_list list;
  for (std::size_t i = 0; i < n; ++i)
    list.push_back(all[order[first + i * room / n]]);
  return list;
}

}  // namespace

std::vector<std::uint32_t> training_order(const task& data, std::uint64_t seed) {
  graft::random_stream random(seed, graft::mix(1));
  std::vector<std::uint32_t> first, others;
  std::vector<bool> seen(static_cast<std::size_t>(data.labels().size()));
  for (const std::uint32_t i : graft::shuffled(data.train().texts.size(), random)) {
    const auto label =
        static_cast<std::size_t>(data.labels().index_of(data.train().texts[i], data.train().path));
    (seen[label] ? others : first).push_back(i);
    seen[label] = true;
  }
  first.insert(first.end(), others.begin(), others.end());
  return first;
}

std::vector<std::uint32_t> dev_order(const task& data, std::uint64_t seed) {
  graft::random_stream random(seed, graft::mix(2));
  return graft::shuffled(data.dev().texts.size(), random);
}

std::vector<std::uint32_t> beginning(const std::vector<std::uint32_t>& order, std::size_t n) {
  std::vector<std::uint32_t> chosen(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(n));
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

graft::example_list picked(const graft::example_list& all,
                           const std::vector<std::uint32_t>& chosen) {
  graft::example_list list;
  list.reserve(chosen.size());
  for (const std::uint32_t i : chosen)
    list.push_back(all[i]);
  return list;
}

step_measures measured(session& model, const task_examples& all, const trial& t) {
  const auto order = by_length(all.train);
  const std::size_t longest = std::min(static_cast<std::size_t>(t.batch), order.size());
  auto sample = spread_out(all.train, order, longest, longest);
  for (std::size_t i = 0; i < longest; ++i)
    sample.push_back(all.train[order[i]]);
  const auto dev = spread_out(all.dev, by_length(all.dev), 0, 32);

  auto options = options_of(t);
  options.epochs = 1 << 20;  // of which two are run: no method ends its training meanwhile
  const auto run = model.train(sample, dev, options);
  while (run->advance().dev == nullptr) {
  }
  const stopwatch watch;
  double training = 0;
  while (run->advance().dev == nullptr)
    training = watch.seconds();
  const double scoring = watch.seconds() - training;
  return {
      training / static_cast<double>(sample.size()) * mean_tokens(all.train) / mean_tokens(sample),
      scoring / static_cast<double>(dev.size()) * mean_tokens(all.dev) / mean_tokens(dev),
      training_bytes(run->finish())};
}

}  // namespace programs
