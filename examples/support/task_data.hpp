// SPDX-License-Identifier: MIT
// The files of a task, whatever is asked, and the examples they become.
#pragma once

#include "support/session.hpp"
#include "support/texts.hpp"

#include <graft/model/task_kind.hpp>
#include <graft/text/labelled_words.hpp>
#include <graft/text/question_windows.hpp>
#include <graft/text/questions.hpp>
#include <graft/text/tsv.hpp>

#include <CLI/CLI.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace programs {

// graft::encode_words, counting what is cut; errors begin with `place`.
graft::encoded_words encode_words(text_encoder& encoder, std::span<const std::string> words,
                                  const std::string& place);

// What is asked of a model, and how its files are read.
struct data_form {
  graft::task_kind task = graft::task_kind::classification;
  bool pairs = false;
  std::optional<int> max_length{};  // tokens of an input; 128, or 384 for question and text
  std::size_t limit = 0;            // lines, sentences or questions of each file; 0: all

  int longest() const {
    return max_length.value_or(task == graft::task_kind::question_answering ? 384 : 128);
  }
};

// Adds --task, --pairs, --max-length and --limit.
void add_data_form(CLI::App& app, data_form& form);
// Throws CLI::ValidationError for options that do not go together.
void check_form(const data_form& form);

// How a model was taught to read, beside its adapter: graft-predict reads alike.
struct reading {
  bool pairs = false, unanswerable = false;
  int max_length = 0;
};
void write_reading(const std::string& folder, const data_form& form, const graft::task_objective& what);
std::optional<reading> read_reading(const std::string& folder);

// What a file holds: one of the three.
struct data_file {
  std::string path{};  // "" for none
  std::vector<graft::labelled_text> texts{};        // of classification and regression
  std::vector<graft::labelled_words> sentences{};   // of token classification
  std::vector<graft::question> questions{};         // of question answering

  std::size_t size() const { return texts.size() + sentences.size() + questions.size(); }
};

data_file read_data(const std::string& path, const data_form& form);

// 16 hexadecimal digits over all that is in a file; "" for nothing.
std::string fingerprint_of(const data_file& file);

// What the head's outputs are called. Throws input_error for a training file with fewer than 2
// different labels where classes are told.
graft::label_set labels_of(const data_file& train, const data_form& form);

// Throws input_error, naming file and line, for a label that is not of the set or no number.
void check_labels(const data_file& file, const data_form& form, const graft::label_set& labels);

// Examples in the order of the file; of a question one for each window.
struct encoded_data {
  graft::example_list examples;
  std::vector<std::vector<graft::byte_range>> places;  // of each question's tokens in its text
};
encoded_data encode(const data_file& file, const data_form& form, const graft::label_set& labels,
                    text_encoder& encoder);

// What a model is trained for. `train` tells whether a question may have no answer.
graft::task_objective objective_of(const data_form& form, const graft::label_set& labels,
                                   const data_file& train, const graft::cross_entropy& loss = {});

// The answers that a model finds, by question; "" for none.
std::vector<std::string> answers_of(const session& model, const std::vector<graft::question>& questions,
                                    const encoded_data& data);

// A model's scores on a file: of answers those of their words, as SQuAD counts them, f1 and
// exact_match.
graft::evaluation scores_of(const session& model, const data_file& file, const encoded_data& data);

// Like "accuracy 0.9, f1 0.8".
std::string scores_text(const graft::evaluation& scores);

}  // namespace programs
