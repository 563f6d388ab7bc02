// SPDX-License-Identifier: MIT
// Several adapters at one place against AdapterHub.
#include <graft/tuning/composition.hpp>
#include <graft/tuning/recipe.hpp>

#include "support/adapter_places.hpp"
#include "support/adapterhub_names.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"

namespace graft_test {

namespace {

constexpr bottleneck six{.width = 6};
constexpr compose::fuse fusion{.adapters = 3, .each = six, .regularization = 0};
constexpr compose::fuse regularised{.adapters = 3, .each = six};

template <class T>
void check_composition(const std::string& name) {
  check_classifier<cpu<double>, T>("bert", name, {},
                                   [](const std::string& path) { return adapterhub_name(path); });
}

}  // namespace

TEST_CASE("a stack of adapters computes and learns what AdapterHub's does") {
  check_composition<in_joins<compose::stack{.adapters = 3, .each = six}>>("stack");
}

TEST_CASE("static fusion computes and learns what AdapterHub's does") {
  constexpr compose::fuse without_value{.adapters = 3, .each = six, .value = false};
  check_composition<in_joins<without_value>>("fuse_static");
}

namespace {

// The golden with the regulariser's value, once a fusion with λ = 0.01 has shown that it has it too.
template <class T>
void check_fusion(const std::string& name) {
  golden peer("bert", name);
  const auto names = [](const std::string& path) { return adapterhub_name(path); };
  {
    auto model = bert_classifier<cpu<double>, in_joins<regularised>>::load(golden_path("bert"), {});
    start_from(peer, names_of(bert_family::bert, names), model.network);
    auto gradient = make_gradient(model.network, model.parameters);
    CHECK(add_penalties(model.network, gradient.gradient) ==
          Approx(peer.values("regulariser").at(0)).epsilon(1e-12));
  }
  auto model = bert_classifier<cpu<double>, T>::load(golden_path("bert"), {});
  check_parity(model, peer, golden_batch(peer, model.config), names);
}

}  // namespace

TEST_CASE("fusion computes and learns what AdapterHub's does, with its regulariser and without") {
  check_fusion<in_joins<fusion>>("fuse");
  check_fusion<in_joins<regularised>>("fuse_regularised");
}

// AdapterHub normalises the weights and then divides by the number of adapters once more: half the
// mean of two, residual included. Weights half as large, taken as they are, do the same.
TEST_CASE(
    "an average computes and learns what AdapterHub's does, once its second division is in the "
    "weights") {
  constexpr compose::average halved{
      .each = six, .weights = {0.25f / 2, 0.75f / 2}, .normalize = false};
  check_composition<in_joins<halved>>("average");
}

TEST_CASE("adapters that split sequences compute and learn what AdapterHub's do") {
  check_composition<in_joins<compose::split{.each = six}>>("split");
}

TEST_CASE("adapters that split a batch compute and learn what AdapterHub's do") {
  check_composition<in_joins<compose::batch_split{.each = six, .sizes = {2}}>>("batch_split");
}

TEST_CASE("adapters and heads of two tasks compute and learn what AdapterHub's parallel ones do") {
  using T = in_joins<compose::by_task{.each = six}>;
  golden peer("bert", "tasks");
  const std::vector<task> tasks{{"a", {"0", "1", "2"}}, {"b", {"0", "1"}}};
  auto model = load_task_classifier<cpu<double>, T>(golden_path("bert"), tasks);
  check_parity(model, peer, golden_batch(peer, model.config), [](const std::string& path) {
    for (const auto& [ours, theirs] :
         {std::pair{"head.0.classifier", "heads.a.1"}, std::pair{"head.1.classifier", "heads.b.1"}})
      if (path.starts_with(ours))
        return theirs + path.substr(std::string_view(ours).size());
    return adapterhub_name(path);
  });
}

TEST_CASE("adapters over copies of a batch compute what AdapterHub's parallel ones do") {
  using T = in_joins<compose::batch_split{.each = six}>;
  golden peer("bert", "parallel_composition");
  auto model = bert_classifier<cpu<double>, T>::load(golden_path("bert"), {});
  start_from(
      peer,
      names_of(bert_family::bert, [](const std::string& path) { return adapterhub_name(path); }),
      model.network);
  const token_batch once = golden_batch(peer, model.config);
  token_batch twice = once;
  for (index_t s = 0; s < once.rows.sequences(); ++s)
    twice.append(std::span(once.ids).subspan(static_cast<std::size_t>(once.rows.first(s)),
                                             static_cast<std::size_t>(once.rows.length(s))),
                 {}, static_cast<std::uint32_t>(s), model.config.first_position);
  host_workspace memory;
  const context<cpu<double>> k{memory, twice.rows};
  CHECK(error_of(elements(model.predict(twice, k)), peer.values("logits")) <= 1e-9);
}

}  // namespace graft_test
