// SPDX-License-Identifier: MIT
// Fine-tunes a sentence encoder by LoRA, so that texts that mean the same come to lie together.
#include "support/compute.hpp"
#include "support/encoder_tuning.hpp"
#include "support/program.hpp"
#include "support/task_data.hpp"

#include <graft/core/error.hpp>
#include <graft/cpu.hpp>
#include <graft/io/file.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <string>

namespace {

struct settings {
  std::string model, train, dev, out;
  int rank = 8, epochs = 3, batch = 16, max_length = 128;
  double rate = 1e-3, low = 0, high = 1;
  std::uint64_t seed = 0;
  bool ranking = false, quiet = false;
  programs::compute with;
};

void add_options(CLI::App& app, settings& s) {
  app.add_option("--model", s.model, "Folder of the pretrained model")->required()->type_name("DIR");
  app.add_option("--train", s.train,
                 "Pairs to train on: lines text<TAB>text<TAB>score; with --ranking the score does not "
                 "matter")
      ->required()
      ->type_name("FILE");
  app.add_option("--dev", s.dev, "Pairs that choose the best epoch")->required()->type_name("FILE");
  app.add_option("--out", s.out, "Folder for the adapter; graft-encode --adapter takes it")
      ->required()
      ->type_name("DIR");
  app.add_flag("--ranking", s.ranking,
               "The texts of a line belong together, the second ones of other lines do not");
  app.add_option("--low", s.low, "Score of texts that have nothing in common: a cosine of 0")
      ->capture_default_str();
  app.add_option("--high", s.high, "Score of texts that mean the same: a cosine of 1")
      ->capture_default_str();
  app.add_option("--rank", s.rank, "LoRA's rank")->capture_default_str()->check(CLI::Range(1, 65536));
  app.add_option("--epochs", s.epochs, "Passes over the training pairs")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--batch", s.batch, "Pairs per step")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--lr", s.rate, "Learning rate")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--seed", s.seed, "Of initial values, order and dropout")->capture_default_str();
  app.add_option("--max-length", s.max_length, "Tokens of a text that are read")
      ->capture_default_str()
      ->check(CLI::Range(3, 1 << 20));
  app.add_flag("--quiet", s.quiet, "Say nothing but warnings and errors");
  programs::add_compute(app, s.with);
  programs::add_threads(app);
}

graft::example_list read_pairs(const settings& s, const std::string& path,
                               programs::text_encoder& encoder) {
  graft::example_list pairs;
  for (const auto& text : graft::read_labelled(path, true)) {
    const std::string place = path + ":" + std::to_string(text.line);
    graft::example e = encoder(text.text, place);
    e.second = encoder(text.second, place).ids;
    if (!s.ranking) {
      const double score = graft::score_of(text, path);
      if (score < std::min(s.low, s.high) || score > std::max(s.low, s.high))
        throw graft::input_error(place + ": expected a score from --low to --high, found " +
                                 text.label);
      e.target = (score - s.low) / (s.high - s.low);
    }
    pairs.push_back(std::move(e));
  }
  return pairs;
}

void check(const settings& s) {
  if (!(s.high - s.low != 0 && std::isfinite(s.high - s.low)))
    throw CLI::ValidationError("--high", "expected another finite score than --low's");
  if (s.ranking && s.batch < 2)
    throw CLI::ValidationError("--batch", "expected at least 2 with --ranking: the other lines of a "
                                          "batch are the wrong ones");
  programs::check_compute(s.with);
}

template <class B>
void fine_tune(const CLI::App& app, const settings& s) {
  graft::load_options loading{.seed = s.seed};
  loading.numbers.set("rank", s.rank);
  auto model = graft::load_sentence_encoder<B, programs::encoder_tuning>(s.model, loading);
  auto encoder = programs::text_encoder::open(s.model, model.config, model.config.longest(), s.max_length);
  const auto train = read_pairs(s, s.train, encoder), dev = read_pairs(s, s.dev, encoder);
  if (const auto warning = encoder.warning(); !warning.empty())
    programs::say(app, "warning: " + warning);
  graft::create_folder(s.out);
  programs::expect_writable(s.out + "/graft_adapter.json");

  graft::similarity what;
  if (s.ranking)
    what.form = graft::similarity::form_t::ranking;
  graft::fit_options options{.epochs = s.epochs, .batch = s.batch,
                             .method = graft::adamw{.rate = s.rate}, .seed = s.seed};
  options.evaluation_batch = s.batch;
  const graft::evaluation before = graft::evaluate(model, dev, s.batch, what);
  programs::progress_line progress(s.quiet);
  const programs::stopwatch watch;
  const auto report =
      graft::fit(model, train, dev, options, what, [&](const graft::fit_progress& p) {
        if (p.dev && !s.quiet) {
          progress.clear();
          std::cerr << "epoch " << p.epoch << ": dev loss " << p.dev->loss << ", "
                    << programs::scores_text(*p.dev) << '\n';
        } else if (progress.due()) {
          progress.show(programs::training_text(
              {p.epoch, s.epochs, p.step, p.steps, p.loss, p.tokens}, watch.seconds()));
        }
      });
  progress.clear();
  graft::save_adapter(model, s.out, graft::identify_base(s.model), "similarity");
  if (!s.quiet)
    std::cout << "dev before: " << programs::scores_text(before)
              << "; after: " << programs::scores_text(*report.best()) << "; written to " << s.out
              << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Fine-tunes a sentence encoder by LoRA on pairs of texts: to the scores that they have, or, "
      "with --ranking, so that the texts of a line lie closest.",
      "graft-similarity");
  settings s;
  add_options(app, s);
  return programs::run(app, argc, argv, [&] {
    check(s);
    programs::on_backend(s.with, [&]<class B>() { fine_tune<B>(app, s); });
  });
}
