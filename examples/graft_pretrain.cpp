// SPDX-License-Identifier: MIT
// Makes a small encoder and its vocabulary from plain texts, by masked-language modelling.
#include "support/compute.hpp"
#include "support/program.hpp"
#include "support/texts.hpp"

#include <graft/cpu.hpp>
#include <graft/text/vocabulary.hpp>
#include <graft/train/masked_language.hpp>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

namespace {

struct settings {
  std::string texts, out;
  int layers = 2, width = 128, heads = 2, vocabulary = 4000, positions = 128;
  int batch = 32;
  std::optional<int> epochs;
  double rate = 1e-3;
  std::size_t limit = 0;
  std::uint64_t seed = 0;
  bool quiet = false;
  programs::compute with;
};

void add_options(CLI::App& app, settings& s) {
  app.add_option("--texts", s.texts, "File with a text on each line")
      ->required()
      ->type_name("FILE");
  app.add_option("--out", s.out, "Folder for the model")->required()->type_name("DIR");
  const auto number = [&](const char* name, int& value, const char* text, int least) {
    app.add_option(name, value, text)->capture_default_str()->check(CLI::Range(least, 1 << 20));
  };
  number("--layers", s.layers, "Transformer layers", 1);
  number("--width", s.width, "Width of a token's vector; the feed-forward layers have 4 times it",
         1);
  number("--heads", s.heads, "Attention heads; they divide the width", 1);
  number("--vocabulary", s.vocabulary, "Tokens of the WordPiece vocabulary, at most", 6);
  number("--positions", s.positions, "Tokens a text may have; longer ones are cut", 4);
  app.add_option("--epochs", s.epochs,
                 "Passes over the texts; 0 leaves the model random (default: as many as make about "
                 "a million tokens, 1 to 40)")
      ->check(CLI::Range(0, 1 << 20));
  number("--batch", s.batch, "Texts per step", 1);
  app.add_option("--lr", s.rate, "Learning rate")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--seed", s.seed, "Of initial values, order, hidden tokens and dropout")
      ->capture_default_str();
  app.add_option("--limit", s.limit, "Read only the first N texts (default: all)");
  app.add_flag("--quiet", s.quiet, "No progress line, no other reports");
  programs::add_compute(app, s.with);
  programs::add_threads(app);
}

graft::bert_config config_of(const settings& s, graft::index_t vocabulary) {
  graft::bert_config c;
  c.vocabulary = vocabulary;
  c.positions = s.positions;
  c.width = s.width;
  c.layers = s.layers;
  c.heads = s.heads;
  c.inner = 4 * s.width;
  return c;
}

int usual_epochs(const graft::example_list& texts) {
  std::size_t tokens = 0;
  for (const auto& text : texts)
    tokens += text.ids.size();
  return static_cast<int>(std::clamp<std::size_t>(1'000'000 / tokens, 1, 40));
}

void check(const settings& s) {
  if (s.width % s.heads != 0)
    throw CLI::ValidationError("--heads", "must divide the width " + std::to_string(s.width));
  programs::check_compute(s.with);
}

template <class B>
void pretrain(const CLI::App& app, const settings& s) {
  const auto texts = programs::read_lines(s.texts, s.limit);
  graft::vocabulary_options wanted;
  wanted.size = s.vocabulary;
  const auto vocabulary = graft::build_vocabulary(texts, wanted);
  const auto config = config_of(s, static_cast<graft::index_t>(vocabulary.size()));
  graft::masked_language_model<B, graft::strategies::full> model(config, s.seed);
  graft::write_vocabulary(s.out, vocabulary);

  auto encoder = programs::text_encoder::open(s.out, config, config.longest(), s.positions);
  graft::example_list examples;
  for (std::size_t i = 0; i < texts.size(); ++i)
    examples.push_back(encoder(texts[i], s.texts + ":" + std::to_string(i + 1)));
  if (const auto warning = encoder.warning(); !warning.empty())
    programs::say(app, "warning: " + warning);
  const auto& words = encoder.words;
  const graft::masked_language masking{{
      .mask_id = words.mask_id(),
      .vocabulary = static_cast<std::int32_t>(config.vocabulary),
      .special = {words.pad_id(), words.unk_id(), words.cls_id(), words.sep_id(), words.mask_id()}}};

  graft::fit_options options;
  options.epochs = s.epochs.value_or(usual_epochs(examples));
  options.batch = s.batch;
  options.method = graft::adamw{.rate = s.rate};
  options.seed = s.seed;
  if (!s.quiet)
    programs::say(app, std::to_string(texts.size()) + " texts, " +
                           std::to_string(vocabulary.size()) + " tokens in the vocabulary, " +
                           std::to_string(model.parameters.count()) + " parameters, " +
                           std::to_string(options.epochs) + " epochs");
  programs::progress_line progress(s.quiet);
  const programs::stopwatch watch;
  const auto report = graft::fit(
      model, examples, {}, options, masking, [&](const graft::fit_progress& p) {
        if (progress.due())
          progress.show(programs::training_text(
              {p.epoch, options.epochs, p.step, p.steps, p.loss, p.tokens}, watch.seconds()));
      });
  progress.clear();
  graft::save_pretrained(model, s.out, "BertForMaskedLM");
  if (s.quiet)
    return;
  if (!report.epochs.empty()) {
    char text[160];
    std::snprintf(
        text, sizeof text, "loss %.3f in the first epoch, %.3f in the last, %s, %.0f tokens/s",
        report.epochs.front().train_loss, report.epochs.back().train_loss, programs::clock_text(watch.seconds()).c_str(),
        static_cast<double>(report.tokens) / watch.seconds());
    programs::say(app, text);
  }
  std::cout << "written to " << s.out << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Makes a small BERT with a vocabulary of its own from plain texts, by masked-language "
      "modelling, "
      "and writes it as a Hugging Face folder.",
      "graft-pretrain");
  settings s;
  add_options(app, s);
  return programs::run(app, argc, argv, [&] {
    check(s);
    programs::on_backend(s.with, [&]<class B>() { pretrain<B>(app, s); });
  });
}
