// SPDX-License-Identifier: MIT
#include "support/probe.hpp"

#include "support/program.hpp"

#include <graft/core/random.hpp>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

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
  const auto order = graft::shuffled(data.train().size(), random);
  if (data.form().task != graft::task_kind::classification)
    return order;
  std::vector<std::uint32_t> first, others;
  std::vector<bool> seen(static_cast<std::size_t>(data.labels().size()));
  for (const std::uint32_t i : order) {
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
  return graft::shuffled(data.dev().size(), random);
}

std::vector<std::uint32_t> beginning(const std::vector<std::uint32_t>& order, std::size_t n) {
  std::vector<std::uint32_t> chosen(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(n));
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

graft::index_lists folds_of(const task& data, int folds, std::uint64_t seed) {
  const data_file& file = data.train();
  std::map<std::string, std::uint32_t> seen;
  std::vector<std::uint32_t> groups;
  std::vector<std::int32_t> labels;
  const auto add = [&](const std::string& text) {
    groups.push_back(seen.try_emplace(text, static_cast<std::uint32_t>(seen.size())).first->second);
  };
  for (const auto& text : file.texts) {
    add(text.text + "\t" + text.second);
    if (data.form().task == graft::task_kind::classification)
      labels.push_back(static_cast<std::int32_t>(data.labels().index_of(text, file.path)));
  }
  for (const auto& sentence : file.sentences) {
    std::string words;
    for (const auto& word : sentence.words)
      words += word + " ";
    add(words);
  }
  for (const auto& question : file.questions)
    add(question.context);
  return graft::folds(groups, labels, static_cast<std::size_t>(folds), seed);
}

fold_examples fold_of(const task& data, const task_examples& all, const graft::index_lists& parts,
                      std::uint64_t number) {
  const data_file& file = data.train();
  const encoded_data& from = all.train;
  const std::vector<std::uint32_t>& part = parts[static_cast<std::size_t>(number)];
  std::vector<std::int64_t> place(file.size(), -1);  // among what is held out
  for (std::size_t i = 0; i < part.size(); ++i)
    place[part[i]] = static_cast<std::int64_t>(i);
  fold_examples fold;
  for (std::size_t i = 0; i < from.examples.size(); ++i) {
    graft::example e = from.examples[i];
    const std::size_t item = file.questions.empty() ? i : e.answer.question;
    if (place[item] < 0) {
      fold.train.push_back(std::move(e));
    } else {
      e.answer.question = static_cast<std::uint32_t>(place[item]);
      fold.held_out.examples.push_back(std::move(e));
    }
  }
  for (const std::uint32_t i : part)
    if (!file.questions.empty()) {
      fold.file.questions.push_back(file.questions[i]);
      fold.held_out.places.push_back(from.places[i]);
    }
  return fold;
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
  const auto order = by_length(all.train.examples);
  const std::size_t longest = std::min(static_cast<std::size_t>(t.batch), order.size());
  auto sample = spread_out(all.train.examples, order, longest, longest);
  for (std::size_t i = 0; i < longest; ++i)
    sample.push_back(all.train.examples[order[i]]);
  const auto dev = spread_out(all.dev.examples, by_length(all.dev.examples), 0, 32);

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
      training / static_cast<double>(sample.size()) * mean_tokens(all.train.examples) / mean_tokens(sample),
      scoring / static_cast<double>(dev.size()) * mean_tokens(all.dev.examples) / mean_tokens(dev),
      training_bytes(run->finish())};
}

}  // namespace programs
