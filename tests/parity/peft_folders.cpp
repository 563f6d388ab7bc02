// SPDX-License-Identifier: MIT
// io/peft.hpp: folders that PEFT wrote, read, put into models and written again
// (golden/peft_folders.py).
#include <graft/io/adapter.hpp>
#include <graft/io/peft.hpp>
#include <graft/tuning/strategies.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/scratch_folder.hpp"

namespace graft_test {

namespace {

using B32 = cpu<float>;

const std::string peft_folders = std::string(GRAFT_TEST_DATA) + "/peft_folders";

struct ia3_of_peft {
  static constexpr recipe rules{
      on(at::key | at::value, ia3{}),
      on(at::attention_output | at::feed_forward_output, ia3{.place = ia3_place::input})};
};
struct ia3_of_distilbert {
  static constexpr recipe rules{on(at::key | at::value, ia3{}),
                                on(at::feed_forward_output, ia3{.place = ia3_place::input})};
};
struct dora_of_peft {
  static constexpr recipe rules{on(at::query | at::value, dora{.rank = dynamic})};
};
struct vera_of_peft {
  static constexpr recipe rules{on(at::query | at::value, vera{})};
};
struct prompt_of_peft {
  static constexpr recipe rules{on(at::word, prompt{})};
};
struct prefix_of_peft {
  static constexpr recipe rules{on(at::memory | at::position, prefix{})};
};

const safetensors_file& expected_outputs() {
  static const auto file = safetensors_file::open(peft_folders + "/expected.safetensors");
  return file;
}

// Where folders are written for PEFT to read (interop/run.sh), or a scratch folder.
std::string written_folder(const scratch_folder& scratch, const std::string& which) {
  const char* kept = std::getenv("GRAFT_INTEROP");
  return kept ? std::string(kept) + "/peft/" + which : scratch / which;
}

// The outputs for the family's texts, one after the other.
template <class Model>
std::vector<double> outputs_of(const Model& model, const std::string& family) {
  const tensor_entry& ids = *expected_outputs().find(family + ".ids");
  token_batch batch;
  for (index_t s = 0; s < ids.shape[0]; ++s) {
    std::vector<std::int32_t> text;
    for (index_t t = 0; t < ids.shape[1]; ++t) {
      std::int64_t id = 0;
      std::memcpy(&id, ids.data + static_cast<std::size_t>(s * ids.shape[1] + t) * 8, 8);
      if (id >= 0)
        text.push_back(static_cast<std::int32_t>(id));
    }
    batch.append(text, {}, static_cast<std::uint32_t>(s), model.config.first_position);
  }
  B32::workspace memory;
  const auto y = model.predict(batch, context<B32>{memory, batch.rows});
  return {y.data, y.data + y.size()};
}

// Same names, types, shapes and bytes; but for the order of dimensions of one number, none.
void check_same_file(const std::string& ours, const std::string& theirs, bool any_type) {
  const auto a = safetensors_file::open(ours + "/adapter_model.safetensors");
  const auto b = safetensors_file::open(theirs + "/adapter_model.safetensors");
  REQUIRE(a.entries().size() == b.entries().size());
  for (std::size_t i = 0; i < a.entries().size(); ++i) {
    const tensor_entry &x = a.entries()[i], &y = b.entries()[i];
    INFO(x.name);
    REQUIRE(x.name == y.name);
    CHECK(x.shape == y.shape);
    if (any_type) {
      std::vector<float> left(element_count(x)), right(element_count(y));
      convert_to(x.type, x.data, left.size(), left.data());
      convert_to(y.type, y.data, right.size(), right.data());
      CHECK(left == right);
    } else {
      REQUIRE(x.bytes == y.bytes);
      CHECK(std::memcmp(x.data, y.data, x.bytes) == 0);
    }
  }
}

struct round_trip_options {
  bool same_file = true;  // what is written is what was read
  bool any_type = false;  // … but for the type of its numbers
  bool write = true;
};

// Reads a folder into a model, compares outputs, writes the model's adapter, reads that and compares
// again.
template <class Model, class Load>
void check_peft_folder(const std::string& family, const std::string& which, const Load& load,
                       const round_trip_options& options = {}) {
  const std::string name = family + "." + which;
  INFO(name);
  const scratch_folder scratch;
  const tensor_entry& entry = *expected_outputs().find(name);
  std::vector<double> expected(element_count(entry));
  convert_to(entry.type, entry.data, expected.size(), expected.data());
  const auto check = [&](const std::string& folder) {
    Model model = load(folder);
    const auto found = outputs_of(model, family);
    REQUIRE(found.size() == expected.size());
    double far = 0;
    for (std::size_t i = 0; i < found.size(); ++i)
      far = std::max(far, std::abs(found[i] - expected[i]));
    CHECK(far <= 1e-5);
    return model;
  };
  const Model model = check(peft_folders + "/" + name);
  if (!options.write)
    return;
  const std::string again = written_folder(scratch, name);
  save_peft(model, again, {.base_model = family});
  if (options.same_file)
    check_same_file(again, peft_folders + "/" + name, options.any_type);
  check(again);
}

template <tuning T, norm_order Order = norm_order::after>
void check_classes(const std::string& family, const std::string& which,
                   const round_trip_options& options = {}) {
  const std::string base = golden_path(family);
  check_peft_folder<bert_classifier<B32, T, Order>>(
      family, which,
      [&](const std::string& folder) {
        return load_with_adapter<B32, T, Order>(base, folder);
      },
      options);
}

// The mean over each text's tokens.
template <norm_order Order>
void check_encoder(const std::string& family) {
  const std::string name = family + ".lora_encoder";
  INFO(name);
  const tensor_entry& entry = *expected_outputs().find(name);
  const index_t width = entry.shape[1];
  std::vector<double> rows(element_count(entry));
  convert_to(entry.type, entry.data, rows.size(), rows.data());
  const tensor_entry& ids = *expected_outputs().find(family + ".ids");
  const scratch_folder scratch;
  const std::string again = written_folder(scratch, name), base = golden_path(family);
  for (const std::string& folder : {peft_folders + "/" + name, again}) {
    const auto model = load_encoder_with_adapter<B32, strategies::encoder_lora_slots, Order>(base, folder);
    const auto found = outputs_of(model, family);
    index_t row = 0;
    for (index_t s = 0; s < ids.shape[0]; ++s) {
      std::vector<double> mean(static_cast<std::size_t>(width));
      int tokens = 0;
      for (index_t t = 0; t < ids.shape[1]; ++t) {
        std::int64_t id = 0;
        std::memcpy(&id, ids.data + static_cast<std::size_t>(s * ids.shape[1] + t) * 8, 8);
        tokens += id >= 0;
        for (index_t j = 0; id >= 0 && j < width; ++j)
          mean[static_cast<std::size_t>(j)] += rows[static_cast<std::size_t>(row * width + j)];
        row += id >= 0;
      }
      for (index_t j = 0; j < width; ++j)
        CHECK(std::abs(found[static_cast<std::size_t>(s * width + j)] -
                       mean[static_cast<std::size_t>(j)] / tokens) <= 1e-5);
    }
    if (folder != again) {
      save_peft(model, again, {.base_model = family});
      check_same_file(again, folder, false);
    }
  }
}

const std::vector<std::string> slot_cases{
    "lora",        "lora_all",    "lora_linear",     "lora_root",     "lora_patterns", "lora_bias",
    "lora_only",   "lora_layers", "lora_excluded",   "lora_words",    "lora_regression",
    "lora_words_of", "lora_answers", "lora_no_head"};

template <norm_order Order>
void check_slots(const std::string& family) {
  for (const std::string& which : slot_cases)
    check_classes<strategies::lora_slots, Order>(family, which);
  check_classes<strategies::lora_slots, Order>(family, "lora_half", {.any_type = true});
  check_classes<strategies::lora_slots, Order>(family, "lora_bfloat", {.any_type = true});
  check_classes<strategies::lora_slots, Order>(family, "adalora", {.same_file = false});
  check_classes<strategies::lora_slots, Order>(family, "lora_biases", {.same_file = false});
  check_classes<strategies::lora_slots, Order>(family, "lora_tokens", {.same_file = false});
  check_classes<strategies::lora_slots, Order>(family, "tokens", {.write = false});
  check_encoder<Order>(family);
}

template <norm_order Order>
void check_methods(const std::string& family) {
  check_classes<dora_of_peft, Order>(family, "dora");
  check_classes<dora_of_peft, Order>(family, "dora_root");
  check_classes<vera_of_peft, Order>(family, "vera");
  check_classes<prompt_of_peft, Order>(family, "prompt");
  check_classes<prompt_of_peft, Order>(family, "p_tuning");
}

}  // namespace

TEST_CASE("slots are filled from PEFT's folders of LoRA and AdaLoRA") {
  for (const char* family : {"bert", "roberta", "distilbert"})
    check_slots<norm_order::after>(family);
  check_slots<norm_order::before>("roberta_prelayernorm");
}

TEST_CASE("DoRA, VeRA, IA3, prompts and prefixes come from PEFT and go back") {
  for (const char* family : {"bert", "roberta", "distilbert"})
    check_methods<norm_order::after>(family);
  check_methods<norm_order::before>("roberta_prelayernorm");
  for (const char* family : {"bert", "roberta"}) {
    check_classes<prefix_of_peft>(family, "prefix");
    check_classes<ia3_of_peft>(family, "ia3");
  }
  check_classes<ia3_of_peft, norm_order::before>("roberta_prelayernorm", "ia3");
  check_classes<ia3_of_distilbert>("distilbert", "ia3");
}

}  // namespace graft_test
