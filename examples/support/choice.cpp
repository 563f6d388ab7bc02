// SPDX-License-Identifier: MIT
#include "support/choice.hpp"

#include "support/amounts.hpp"
#include "support/comparison.hpp"
#include "support/halving.hpp"
#include "support/probe.hpp"

#include <graft/core/error.hpp>
#include <graft/io/file.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <span>
#include <utility>

#include <nlohmann/json.hpp>

namespace programs {

namespace {

using json = nlohmann::ordered_json;

// Of the budget, what measuring may take and what is kept for what was foreseen wrongly.
constexpr double measuring_share = 0.25, spare_share = 0.08;

// Fewer steps tell nothing: a choice with less time tries fewer candidates.
constexpr int least_steps = 32;

struct candidate {
  const strategy* how = nullptr;
  double rate = 0;
  training_cost cost{};
  std::int64_t trained = 0;
  std::size_t bytes = 0;
  measures found{};  // of the last rung it was in
};

std::string name_of(const candidate& c) {
  return std::string(c.how->name) + " at " + printed("%g", c.rate);
}

class chooser {
 public:
  chooser(const choice_settings& s, task& data, const stopwatch& spent)
      : s_(s), data_(data), spent_(spent), progress_(s.quiet) {
    sizes_ = {data.train().size(), data.dev().size(), s.epochs,
              std::min(std::max(static_cast<std::size_t>(least_steps * s.batch),
                                static_cast<std::size_t>(data.labels().size())),
                       data.train().size())};
    train_order_ = training_order(data, s.seed);
    dev_order_ = dev_order(data, s.seed);
  }

  void run() {
    measure_all();
    if (left_.empty())
      throw graft::error("expected a strategy within the limits, found none");
    for (bool last = false; !last;) {
      const auto rungs = next_rungs();
      last = rungs.size() == 1;
      try_all(rungs.front(), last);
      if (left_.empty())
        throw graft::error("expected a training that ends well, found none");
      if (last)
        tell_winner(rungs.front());
    }
  }

 private:
  double time_left() const {
    return s_.budget * (1 - spare_share) - test_seconds() - spent_.seconds();
  }
  double test_seconds() const {
    double most = 0;
    for (const auto& c : left_)
      most = std::max(most, c.cost.start + c.cost.per_dev_example *
                                               static_cast<double>(data_.test().size()));
    return data_.test().size() == 0 ? 0 : most;
  }
  void drop(const std::string& who, const std::string& why) {
    progress_.clear();
    std::cout << "  dropped " << who << ": " << why << std::endl;
  }

  // What was done since the last call took its share of the budget.
  void share_out(const std::string& what) {
    shares_ +=
        (shares_.empty() ? "" : ", ") + what + " " + seconds_text(spent_.seconds() - shared_out_);
    shared_out_ = spent_.seconds();
  }

  // --- before the first rung ---

  void measure_all() {
    std::cout << "budget " << s_.budget_text << ": " << s_.strategies.size()
              << " strategies; each takes a few steps to be measured" << std::endl;
    std::size_t number = 0;
    std::string untried;
    for (const strategy* how : s_.strategies) {
      const std::string name(how->name);
      progress_.show("measuring " + name + " (" + std::to_string(++number) + " of " +
                     std::to_string(s_.strategies.size()) + ")");
      if (!left_.empty() && spent_.seconds() > measuring_share * s_.budget) {
        untried += (untried.empty() ? "" : ", ") + name;
        continue;
      }
      try {
        measure(how);
      } catch (const std::exception& e) {
        drop(name, graft::text_of(e));
      }
    }
    progress_.clear();
    if (!untried.empty())
      drop(untried, "no time to measure more; --strategies names what should be");
    if (!data_.warning().empty())
      std::cout << "  warning: " << data_.warning() << '\n';
    share_out("measuring");
  }

  void measure(const strategy* how) {
    const double usual = s_.rate.value_or(how->rate);
    candidate c{how, usual};
    const trial t{how, usual, s_.seed, 1, s_.batch};
    const stopwatch starting;
    const auto model = start(t, data_);
    c.cost.start = starting.seconds();
    c.trained = model->count().trained;
    const auto adapter = static_cast<std::uint64_t>(c.trained) * 4;
    if (s_.adapter && adapter > *s_.adapter)
      return drop(std::string(how->name), std::to_string(c.trained) + " trained parameters are " +
                                              bytes_text(static_cast<double>(adapter)) +
                                              ", more than --max-adapter");
    const auto steps = measured(*model, data_.examples_for(*model), t);
    c.cost.per_train_example = steps.per_train_example;
    c.cost.per_dev_example = steps.per_dev_example;
    c.bytes = steps.bytes;
    if (s_.memory && c.bytes > *s_.memory)
      return drop(std::string(how->name), "training needs " +
                                              bytes_text(static_cast<double>(c.bytes)) +
                                              " beside the model, more than --max-memory");
    for (const double factor : {1.0, 1.0 / 3, 3.0}) {  // the usual rate first: it stays longest
      c.rate = std::strtod(printed("%.3g", usual * factor).c_str(), nullptr);
      left_.push_back(c);
    }
  }

  // --- the rungs ---

  // Plans what is left of the time. Where it is too short for all, other rates than the usual go
  // first, then the dearest; later the worst.
  std::vector<rung> next_rungs() {
    const bool first = rung_number_ == 0;
    const auto costs = [&] {
      std::vector<training_cost> list;
      for (const auto& c : left_)
        list.push_back(c.cost);
      return list;
    };
    auto rungs = planned(costs(), time_left(), sizes_);
    if (rungs.empty() && first) {
      std::vector<candidate> usual;
      for (std::size_t i = 0; i < left_.size(); i += 3)
        usual.push_back(left_[i]);
      left_ = std::move(usual);
      drop("other learning rates than the usual", "no time for them");
      std::stable_sort(left_.begin(), left_.end(), [](const candidate& a, const candidate& b) {
        return a.cost.per_train_example < b.cost.per_train_example;
      });
      rungs = planned(costs(), time_left(), sizes_);
    }
    for (; rungs.empty() && left_.size() > 1; rungs = planned(costs(), time_left(), sizes_)) {
      drop(name_of(left_.back()), "no time for it");
      left_.pop_back();
    }
    if (rungs.empty() && first)
      throw graft::error("expected time for a training of " + std::to_string(sizes_.least) +
                         " texts in --budget " + s_.budget_text + ", found " +
                         seconds_text(std::max(time_left(), 0.0)) + " left after measuring");
    if (rungs.empty())
      rungs = rungs_of(1, static_cast<double>(sizes_.least), sizes_, 1);
    if (first)
      tell_plan(rungs, costs());
    return rungs;
  }

  void tell_plan(const std::vector<rung>& rungs, const std::vector<training_cost>& costs) const {
    const rung& end = rungs.back();
    const bool whole = end.examples == sizes_.train && end.epochs == s_.epochs;
    std::cout << "plan for the " << seconds_text(std::max(time_left(), 0.0)) << " left, "
              << (whole ? "enough for whole trainings" : "for which trainings are cut short")
              << "; at most " << seconds_text(seconds_of(rungs, costs)) << " foreseen:\n";
    for (std::size_t k = 0; k < rungs.size(); ++k)
      std::cout << "  rung " << k + 1 << ": " << rungs[k].candidates << " candidates, "
                << texts_of(rungs[k]) << ", at most "
                << seconds_text(seconds_of(std::span(&rungs[k], 1), costs)) << '\n';
    std::cout << std::flush;
  }

  static std::string texts_of(const rung& r) {
    return std::to_string(r.examples) + " texts x " + std::to_string(r.epochs) +
           (r.epochs == 1 ? " epoch, " : " epochs, ") + std::to_string(r.dev) + " of dev";
  }

  void try_all(const rung& r, bool last) {
    std::cout << "rung " << ++rung_number_ << ": " << left_.size() << " candidates, " << texts_of(r)
              << std::endl;
    std::vector<candidate> tried;
    for (std::size_t i = 0; i < left_.size(); ++i) {
      candidate c = left_[i];
      const double foreseen = seconds_of(c.cost, r);
      if (!tried.empty() && spent_.seconds() + foreseen > s_.budget) {
        drop(name_of(c), "no time left for it");
        continue;
      }
      const stopwatch watch;
      std::unique_ptr<session> model;
      try {
        model = trained(c, r, i);
      } catch (const std::exception& e) {
        drop(name_of(c), graft::text_of(e));
        continue;
      }
      correct_costs(c, watch.seconds() / std::max(foreseen, 1e-9));
      if (last && std::all_of(tried.begin(), tried.end(), [&](const candidate& other) {
            return better_on_dev(c.found, other.found);
          }))
        save_winner(*model, c);
      tried.push_back(std::move(c));
    }
    std::stable_sort(tried.begin(), tried.end(), [](const candidate& a, const candidate& b) {
      return better_on_dev(a.found, b.found);
    });
    const std::size_t kept = last ? 1 : (tried.size() + 2) / 3;
    progress_.clear();
    for (std::size_t i = 0; i < tried.size(); ++i)
      std::cout << (i < kept ? "  kept    " : "  dropped ") << name_of(tried[i])
                << ": dev " << data_.score() << " "
                << printed("%.4f", tried[i].found.at("dev_score"))
                << ", loss " << printed("%.4f", tried[i].found.at("dev_loss"))
                << (i < kept ? ""
                    : last   ? ", not the best"
                             : ", not among the best " + std::to_string(kept))
                << '\n';
    std::cout << std::flush;
    tried.resize(std::min(kept, tried.size()));
    left_ = std::move(tried);
    share_out("rung " + std::to_string(rung_number_));
  }

  // What a training took, over what was foreseen, tells of all of its strategy.
  void correct_costs(candidate& c, double factor) {
    const auto correct = [&](training_cost& cost) {
      cost.per_train_example *= factor;
      cost.per_dev_example *= factor;
    };
    correct(c.cost);
    for (auto& other : left_)
      if (other.how == c.how)
        correct(other.cost);
  }

  void save_winner(const session& model, const candidate& c) const {
    model.save(s_.out + "/winner", data_.base(), c.how->name);
    write_reading(s_.out + "/winner", data_.form(), model.objective);
  }

  std::unique_ptr<session> trained(candidate& c, const rung& r, std::size_t number) {
    const trial t{c.how, c.rate, s_.seed, r.epochs, s_.batch};
    auto model = start(t, data_);
    const task_examples& all = data_.examples_for(*model);
    const auto train = picked(all.train.examples, beginning(train_order_, r.examples));
    const auto dev = picked(all.dev.examples, beginning(dev_order_, r.dev));
    const auto report = model->fit(train, dev, options_of(t), [&](const graft::fit_progress& p) {
      if (progress_.due())
        progress_.show("rung " + std::to_string(rung_number_) + ": " + name_of(c) + " (" +
                       std::to_string(number + 1) + " of " + std::to_string(left_.size()) +
                       ")  step " + std::to_string(p.step) + "/" + std::to_string(p.steps) + "  " +
                       clock_text(s_.budget - spent_.seconds()) + " left");
    });
    c.found.clear();
    add_scores(c.found, "dev", best_of(report));
    c.bytes = std::max(c.bytes, training_bytes(report));
    return model;
  }

  // --- the end ---

  std::string command(const candidate& c, const rung& r) const {
    std::string text = "graft-finetune --model " + shell_word(data_.model());
    const auto add = [&](const char* option, const std::string& value) {
      text += std::string(" ") + option + " " + shell_word(value);
    };
    add("--train", r.examples < sizes_.train ? s_.out + "/train.tsv" : data_.train().path);
    add("--dev", data_.dev().path);
    if (!data_.test().path.empty())
      add("--test", data_.test().path);
    add("--strategy", std::string(c.how->name));
    add("--lr", printed("%.3g", c.rate));
    add("--epochs", std::to_string(r.epochs));
    add("--batch", std::to_string(s_.batch));
    add("--seed", std::to_string(s_.seed));
    add("--out", s_.out + "/again");
    return text + s_.further_options;
  }

  void tell_winner(const rung& r) {
    candidate c = left_.front();
    if (r.examples < sizes_.train)
      graft::write_atomically(s_.out + "/train.tsv", [&](graft::output_file& file) {
        for (const std::uint32_t i : beginning(train_order_, r.examples)) {
          const auto& t = data_.train().texts[i];
          file.write(t.text + "\t" + (data_.form().pairs ? t.second + "\t" : "") + t.label + "\n");
        }
      });
    if (!data_.test().size() == 0) {
      const auto model = c.how->resume(data_.computed_with(), data_.model(), s_.out + "/winner");
      add_scores(c.found, "test", scores_of(*model, data_.test(), data_.examples_for(*model).test));
    }
    share_out("the rest");
    c.found["seconds_spent"] = spent_.seconds();
    json result{{"strategy", c.how->name},
                {"learning_rate", c.rate},
                {"seed", s_.seed},
                {"epochs", r.epochs},
                {"training_texts", r.examples},
                {"trained_parameters", c.trained},
                {"training_bytes", c.bytes},
                {"command", command(c, r)}};
    for (const auto& [name, value] : c.found)
      result[name] = value;
    graft::write_atomically(s_.out + "/choice.json",
                            [&](graft::output_file& file) { file.write(result.dump(2) + "\n"); });
    std::cout << "winner: " << name_of(c) << ", dev " << data_.score() << " "
              << printed("%.6g", c.found.at("dev_score"));
    if (c.found.contains("test_score"))
      std::cout << ", test " << data_.score() << " " << printed("%.6g", c.found.at("test_score"));
    std::cout << "; " << c.trained << " trained parameters ("
              << bytes_text(static_cast<double>(c.trained) * 4) << "), memory "
              << bytes_text(static_cast<double>(c.bytes)) << "\nspent "
              << seconds_text(spent_.seconds()) << " of " << s_.budget_text << ": " << shares_
              << "\nwritten to " << s_.out << "/winner; this trains it again:\n"
              << command(c, r) << '\n';
  }

  const choice_settings& s_;
  task& data_;
  const stopwatch& spent_;
  progress_line progress_;
  training_sizes sizes_;
  std::vector<std::uint32_t> train_order_, dev_order_;
  std::vector<candidate> left_;
  int rung_number_ = 0;
  std::string shares_;
  double shared_out_ = 0;
};

}  // namespace

void choose(const choice_settings& s, task& data, const stopwatch& spent) {
  chooser(s, data, spent).run();
}

}  // namespace programs
