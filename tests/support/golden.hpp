// SPDX-License-Identifier: MIT
// The golden files (golden/README.md): what the peers computed, under the names that graft has for
// it.
#pragma once

#include <graft/backend/cpu.hpp>
#include <graft/io/pretrained.hpp>
#include <graft/train/loss.hpp>
#include <graft/train/optimizer.hpp>
#include <graft/tuning/step_hooks.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <random>
#include <set>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "support/scratch_folder.hpp"

namespace graft_test {

using namespace graft;
using graft::index_t;  // <strings.h> has one too

inline std::string golden_path(const std::string& name) {
  return std::string(GRAFT_TEST_DATA) + "/models/" + name;
}

// The peer's name for the trained parameter at a path of ours: the checkpoint's name, and for
// adapters the module they are grafted on with PEFT's or AdapterHub's ending.
inline std::string peer_name(bert_family family, const std::string& path,
                             task_kind task = task_kind::classification) {
  using namespace std::literals;
  const auto without = [](const std::string& name, std::string_view ending) {
    return name.substr(0, name.size() - ending.size());
  };
  for (const auto& [ours, theirs] :
       {std::pair{"lora.a"sv, "lora_A.weight"sv}, std::pair{"lora.b"sv, "lora_B.weight"sv}})
    if (path.ends_with(ours)) {
      const auto base = checkpoint_name(family, without(path, ours) + "weight");
      return without(base.value(), "weight") + std::string(theirs);
    }
  if (const std::size_t at = path.find(".adapter."); at != std::string::npos) {
    const std::string site = path.substr(0, at);  // layer.N.attention, …feed_forward, …_join
    const std::string layer = site.substr(0, site.rfind('.'));
    const bool attention = site.find("attention") != std::string::npos;
    const std::string join = layer + (attention ? ".attention_join" : ".feed_forward_join");
    const std::string norm = checkpoint_name(family, join + ".norm.weight").value();
    std::string module;
    if (family == bert_family::distilbert)
      module = norm.substr(0, norm.rfind('.', norm.rfind('.') - 1) + 1) +
               (attention ? "attention_adapters" : "output_adapters");
    else
      module = without(norm, ".LayerNorm.weight");
    const std::string part = path.substr(at + ".adapter."s.size());
    return module + ".adapters.a." + (part.starts_with("down") ? "adapter_down.0" : "adapter_up") +
           part.substr(part.rfind('.'));
  }
  return checkpoint_name(family, path, task).value();
}

// A part of a tensor whose peers keep in one what we keep apart: of every `stride` elements in a
// row, `count` from `first` on. Its name is the tensor's with these numbers.
inline std::string part_name(const std::string& tensor, std::size_t first, std::size_t count,
                             std::size_t stride) {
  return tensor + "{" + std::to_string(first) + " " + std::to_string(count) + " " +
         std::to_string(stride) + "}";
}

// One run of a peer. Remembers what was asked for, so that a test can say that it used all.
class golden {
 public:
  explicit golden(const std::string& name)
      : file_(safetensors_file::open(golden_path(name + ".safetensors"))) {}
  golden(const std::string& model, const std::string& method) : golden(model + "/" + method) {}

  bool has(const std::string& name) const {
    return file_.find(name.substr(0, name.find('{'))) != nullptr;
  }

  // Those of a tensor, or of a part of it (part_name).
  std::vector<double> values(const std::string& name) {
    if (const std::size_t brace = name.find('{'); brace != std::string::npos)
      return part_of(values(name.substr(0, brace)), name.substr(brace + 1));
    const tensor_entry& entry = find(name);
    std::vector<double> v(element_count(entry));
    convert_to(entry.type, entry.data, v.size(), v.data());
    return transposed_.empty() || !name.ends_with(transposed_) ? v : transposed(v, entry.shape[0]);
  }
  // From now on, tensors whose names end so are read with their rows as columns.
  void transpose(const std::string& ending) { transposed_ = ending; }
  std::vector<std::int32_t> integers(const std::string& name) {
    const tensor_entry& entry = find(name);
    std::vector<std::int64_t> v(element_count(entry));
    std::memcpy(v.data(), entry.data, entry.bytes);
    return {v.begin(), v.end()};
  }
  double number(const std::string& name) const { return std::stod(file_.metadata().at(name)); }

  std::vector<std::string> unused() const {
    std::vector<std::string> names;
    for (const tensor_entry& entry : file_.entries())
      if (!used_.contains(entry.name))
        names.push_back(entry.name);
    return names;
  }

 private:
  static std::vector<double> part_of(const std::vector<double>& whole, const std::string& part) {
    std::istringstream numbers(part);
    std::size_t first = 0, count = 0, stride = 0;
    numbers >> first >> count >> stride;
    if (count == 0 || first + count > stride || whole.size() % stride != 0)
      throw std::out_of_range("golden: no part " + part);
    std::vector<double> some;
    for (std::size_t row = first; row < whole.size(); row += stride)
      some.insert(some.end(), whole.begin() + static_cast<std::ptrdiff_t>(row),
                  whole.begin() + static_cast<std::ptrdiff_t>(row + count));
    return some;
  }
  const tensor_entry& find(const std::string& name) {
    const tensor_entry* entry = file_.find(name);
    if (!entry)
      throw std::out_of_range("golden: no tensor " + name);
    used_.insert(name);
    return *entry;
  }
  static std::vector<double> transposed(const std::vector<double>& from, index_t row_count) {
    std::vector<double> v;
    const auto rows = static_cast<std::size_t>(row_count), cols = from.size() / rows;
    for (std::size_t j = 0; j < cols; ++j)
      for (std::size_t i = 0; i < rows; ++i)
        v.push_back(from[i * cols + j]);
    return v;
  }

  safetensors_file file_;
  std::string transposed_;
  std::set<std::string> used_;
};

// The batch of a run, with token types where they are given.
inline token_batch golden_batch(golden& peer, const bert_config& config,
                                const std::vector<std::int32_t>& types = {}) {
  const auto ids = peer.integers("input.ids"), offsets = peer.integers("input.offsets");
  const auto tasks =
      peer.has("input.tasks") ? peer.integers("input.tasks") : std::vector<std::int32_t>{};
  token_batch batch;
  for (std::size_t s = 0; s + 1 < offsets.size(); ++s) {
    const auto from = static_cast<std::size_t>(offsets[s]);
    const auto length = static_cast<std::size_t>(offsets[s + 1]) - from;
    batch.append(std::span(ids).subspan(from, length),
                 types.empty() ? std::span<const std::int32_t>{}
                               : std::span<const std::int32_t>(types).subspan(from, length),
                 static_cast<std::uint32_t>(s), config.first_position,
                 tasks.empty() ? 0 : static_cast<std::uint32_t>(tasks[s]));
  }
  return batch;
}

// What a model makes of the texts that a golden model was run on.
template <class Model>
std::vector<typename Model::backend_type::scalar> golden_logits(const Model& model,
                                                                const std::string& name = "bert") {
  golden peer(name, "full");
  const token_batch batch = golden_batch(peer, model.config);
  host_workspace memory;
  const auto y = model.predict(batch, {memory, batch.rows});
  return {y.data, y.data + y.size()};
}

// The largest error, absolute where |expected| < 1 and relative above; infinite for a NaN, for an
// infinity that is not expected and for another number of values.
template <class T>
double error_of(std::span<const T> found, const std::vector<double>& expected) {
  if (found.size() != expected.size())
    return INFINITY;
  double worst = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (std::isinf(expected[i]) && static_cast<double>(found[i]) == expected[i])
      continue;
    const double error = std::abs(static_cast<double>(found[i]) - expected[i]) /
                         std::max(1.0, std::abs(expected[i]));
    if (!(error <= worst))
      worst = std::isnan(error) ? INFINITY : error;
  }
  return worst;
}

template <class T>
std::span<const T> elements(const host_tensor<T>& x) {
  return {x.data, static_cast<std::size_t>(x.size())};
}

template <class T>
std::span<const T> piece_of(const host_parameter<T>& values, const segment& s) {
  return {values.data + s.offset, static_cast<std::size_t>(s.size())};
}

// The peer's name for what is grafted at a path of ours, where peer_name does not know it; empty
// for the rest.
using renaming = std::function<std::string(const std::string& path)>;

// … for parameters whose last steps stand for `theirs` behind the peer's name of the layer they are
// grafted on.
inline renaming endings(bert_family family,
                        std::vector<std::pair<std::string, std::string>> ours_and_theirs) {
  return [=](const std::string& path) -> std::string {
    for (const auto& [ours, theirs] : ours_and_theirs)
      if (path.ends_with("." + ours)) {
        const std::string base = path.substr(0, path.size() - ours.size()) + "weight";
        const std::string name = checkpoint_name(family, base).value();
        return name.substr(0, name.size() - std::string_view("weight").size()) + theirs;
      }
    return {};
  };
}

inline renaming names_of(bert_family family, const renaming& special = {},
                         task_kind task = task_kind::classification) {
  return [=](const std::string& path) {
    const std::string name = special ? special(path) : std::string();
    return name.empty() ? peer_name(family, path, task) : name;
  };
}

// Gives every parameter, trained or grafted and frozen, the value from which the peer began.
template <class Network>
void start_from(golden& peer, const renaming& name_of, Network& network) {
  using value = typename Network::backend_type::scalar;
  for (const auto& p : list_parts(network).parameters) {
    const std::string name = "init." + name_of(p.path);
    if (!peer.has(name))
      continue;
    INFO(p.path << " = " << name);
    const auto values = peer.values(name);
    REQUIRE(values.size() == static_cast<std::size_t>(p.size()));
    std::transform(values.begin(), values.end(), const_cast<value*>(p.data()),
                   [](double v) { return static_cast<value>(v); });
  }
}

// Sizes other than a recipe's.
inline decoration_numbers with_rank(int rank, float alpha) {
  return {{"rank", rank}, {"alpha", alpha}};
}
inline decoration_numbers with_width(int width) { return {{"width", width}}; }

// One matrix of the store's shape against the tensors of the peer that begin with `kind`.
template <class T>
void expect_same(golden& peer, const std::string& kind, const renaming& name_of,
                 const std::vector<segment>& segments, const host_parameter<T>& values,
                 double tolerance) {
  for (const segment& s : segments) {
    const std::string name = kind + name_of(s.path);
    INFO(s.path << " = " << name);
    REQUIRE(peer.has(name));
    CHECK(error_of(piece_of(values, s), peer.values(name)) <= tolerance);
  }
}

// Logits, loss, every gradient, and ten steps of AdamW with what the method does beside them. In
// float what depends on nothing but rounding (golden/README.md) is left out: there the losses stand
// for the gradients. A parameter's rate is the golden's times the segment's factor. loss(outputs, k)
// gives a loss_result.
template <class Model, class Batch, class Loss>
void check_training(Model& model, golden& peer, const Batch& batch, const Loss& loss,
                    const renaming& special = {}) {
  using B = typename Model::backend_type;
  constexpr bool exact = sizeof(typename B::scalar) == 8;
  const renaming name_of = names_of(model.config.family, special, model.config.task);
  start_from(peer, name_of, model.network);

  typename B::workspace memory;
  const context<B> k{memory, batch.rows};
  const auto logits = peer.values("logits");
  CHECK(error_of(elements(model.predict(batch, k)), logits) <= (exact ? 1e-9 : 1e-5));

  typename Model::training_cache cache;
  auto gradient = make_gradient(model.network, model.parameters);
  optimizer<B> method(adamw{.rate = peer.number("learning_rate"),
                            .epsilon = peer.number("eps"),
                            .decay = peer.number("weight_decay")},
                      model.parameters);
  std::vector<double> losses;
  for (int step = 0; step <= 10; ++step) {
    gradient.clear();
    const auto outputs = model.network.template forward<training_demand>(batch, cache, k);
    auto r = loss(outputs, k);
    model.network.template backward<training_demand>(std::move(r.gradient), cache,
                                                     &gradient.gradient, k);
    losses.push_back(r.loss + add_penalties(model.network, gradient.gradient));
    if (step == 0) {
      CHECK(error_of(elements(outputs), logits) <= (exact ? 1e-9 : 1e-5));
      if (exact)
        expect_same(peer, "grad.", name_of, model.parameters.segments, gradient.values, 1e-9);
    }
    if (step < 10) {
      method.step(model.parameters, gradient.values);
      after_step<typename Model::tuning_type>(model.network, gradient.gradient, {step + 1, 10});
    }
  }
  const auto expected = peer.values("losses");
  if (exact) {
    CHECK(std::abs(losses.front() - peer.values("loss").at(0)) <= 1e-9);
    CHECK(error_of(std::span<const double>(losses), expected) <= 1e-8);
    expect_same(peer, "final.", name_of, model.parameters.segments, model.parameters.values, 1e-8);
    CHECK(peer.unused() == std::vector<std::string>{});
  } else {
    REQUIRE(losses.size() == expected.size());
    CHECK(losses.front() == Approx(expected.front()).epsilon(1e-5));
    CHECK(losses.back() == Approx(expected.back()).epsilon(1e-4));
  }
  CHECK(expected.back() < expected.front());  // the run is one in which something is learned
}

// … with the mean cross-entropy of "input.labels", one for each row of the outputs.
template <class Model, class Batch>
void check_parity(Model& model, golden& peer, const Batch& batch, const renaming& special = {}) {
  using B = typename Model::backend_type;
  const auto labels = peer.integers("input.labels");
  const auto loss = [&](const typename B::tensor& outputs, const context<B>& k) {
    return cross_entropy{}.template operator()<B>(outputs, labels, k);
  };
  check_training(model, peer, batch, loss, special);
}

// A classifier under tuning T against one golden run.
template <class B, class T>
void check_classifier(const std::string& name, const std::string& method,
                      const decoration_numbers& numbers = {}, const renaming& special = {}) {
  INFO(name << "/" << method);
  golden peer(name, method);
  auto model = bert_classifier<B, T>::load(golden_path(name), {.numbers = numbers});
  check_parity(model, peer, golden_batch(peer, model.config), special);
}

}  // namespace graft_test
