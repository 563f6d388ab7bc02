// SPDX-License-Identifier: MIT
// io/combine.hpp with io/combination.hpp and io/low_rank_update.hpp, against PEFT and by its laws.
#include <graft/backend/cpu.hpp>
#include <graft/backend/reference.hpp>
#include <graft/io/combine.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "support/catch.hpp"
#include "support/golden.hpp"

namespace graft_test::combine_tests {

namespace {

using Catch::Matchers::Contains;
using B = cpu<double>;
using matrix = std::vector<double>;

const std::string query = "layer.0.attention.query", value = "layer.0.attention.value";

std::vector<combination> all_ways() {
  std::vector<combination> all;
  for (const auto& [name, how] : combination_names)
    all.push_back(how);
  return all;
}

// Options with what the way must be given.
combine_options by(combination how, double density = 0.6) {
  return {.how = how, .density = density};
}

adapter_data combined(const std::vector<const adapter_data*>& adapters,
                      const std::vector<double>& weights, const combine_options& options = {}) {
  return combine<B>(adapters, weights, options);
}

// Puts a lora of random values at a place.
template <class T = double>
void decorate(adapter_data& data, const std::string& path, int rank, index_t out, index_t in,
              double alpha, bool over_root = false) {
  random_stream random(7, hash_of(data.source + path));
  const auto drawn = [&](index_t rows, index_t cols) {
    std::vector<T> values(static_cast<std::size_t>(rows * cols));
    for (T& v : values)
      v = static_cast<T>(random.normal());
    return stored(rows, cols, values);
  };
  data.decorations[path]["lora"].numbers = {{"rank", rank},
                                            {"alpha", alpha},
                                            {"over_root", over_root},
                                            {"dropout", 0.1},
                                            {"b_rate", 1}};
  data.decorations[path]["lora"].form = {
      {"gating", "false"}, {"init", "pissa"}, {"scaling", "alpha/sqrt(rank)"}};
  data.tensors[path + ".lora.a"] = drawn(rank, in);
  data.tensors[path + ".lora.b"] = drawn(out, rank);
}

template <class T = double>
adapter_data adapter(const std::string& source, int rank, double alpha, bool over_root = false) {
  adapter_data data;
  data.source = source;
  decorate<T>(data, query, rank, 6, 5, alpha, over_root);
  return data;
}

// s B A of an adapter at a place; of a table [width, entries].
matrix update(const adapter_data& data, const std::string& path) {
  const bool table = data.tensors.contains(path + ".lora.embedding_a");
  const std::string name = path + (table ? ".lora.embedding_" : ".lora.");
  const auto &a = data.tensors.at(name + "a"), &b = data.tensors.at(name + "b");
  const auto left = values_of<double>(b), right = values_of<double>(a);
  const auto& numbers = data.decorations.at(path).at("lora").numbers;
  const double r = *numbers.find("rank");
  const double divisor = *numbers.find("over_root") == 1 ? std::sqrt(r) : r;
  const double scale = *numbers.find("alpha") / divisor;
  const index_t rank = b.cols, in = table ? a.rows : a.cols;
  matrix w;
  for (index_t i = 0; i < b.rows; ++i)
    for (index_t j = 0; j < in; ++j) {
      double sum = 0;
      for (index_t k = 0; k < rank; ++k)
        sum += left[static_cast<std::size_t>(i * rank + k)] *
               right[static_cast<std::size_t>(table ? j * rank + k : k * in + j)];
      w.push_back(scale * sum);
    }
  return w;
}

matrix sum(const matrix& x, double s, const matrix& y, double t) {
  matrix z = x;
  for (std::size_t i = 0; i < z.size(); ++i)
    z[i] = s * x[i] + t * y[i];
  return z;
}

double distance(const matrix& found, const matrix& expected) {
  return error_of(std::span<const double>(found), expected);
}

bool same_bytes(const stored_matrix& a, const stored_matrix& b) {
  return a.type == b.type && a.rows == b.rows && a.cols == b.cols &&
         std::memcmp(a.data, b.data, static_cast<std::size_t>(a.size()) * size_of(a.type)) == 0;
}

// Are two adapters equal to the last bit?
bool identical(const adapter_data& a, const adapter_data& b) {
  const auto same = [](const auto& x, const auto& y) {
    return x.first == y.first && same_bytes(x.second, y.second);
  };
  const auto same_place = [](const auto& x, const auto& y) {
    return x.first == y.first && x.second.size() == y.second.size() &&
           x.second.at("lora").numbers == y.second.at("lora").numbers &&
           x.second.at("lora").form == y.second.at("lora").form;
  };
  return std::equal(a.tensors.begin(), a.tensors.end(), b.tensors.begin(), b.tensors.end(), same) &&
         std::equal(a.decorations.begin(), a.decorations.end(), b.decorations.begin(),
                    b.decorations.end(), same_place) &&
         a.source == b.source && a.task == b.task && a.labels == b.labels &&
         a.departed == b.departed && a.seed == b.seed && a.base.fingerprint == b.base.fingerprint;
}

// The adapters of the golden file, as doubles.
std::map<std::string, adapter_data> golden_adapters(const safetensors_file& file) {
  std::map<std::string, adapter_data> all;
  const auto configs = nlohmann::json::parse(file.metadata().at("adapters"));
  for (const auto& [name, config] : configs.items()) {
    adapter_data& data = all[name];
    data.source = name;
    for (const tensor_entry& t : file.entries()) {
      if (!t.name.starts_with(name + "."))
        continue;
      const std::string path = t.name.substr(name.size() + 1);
      const stored_matrix floats{t.type, t.shape[0], t.shape[1], t.data, file.owner()};
      data.tensors[path] = stored(floats.rows, floats.cols, values_of<double>(floats));
      data.decorations[path.substr(0, path.find(".lora."))]["lora"].numbers = {
          {"rank", config["r"]},
          {"alpha", config["lora_alpha"]},
          {"over_root", config.value("use_rslora", false)}};
    }
  }
  return all;
}

combine_options golden_options(const nlohmann::json& run) {
  combine_options options;
  options.how = combination_named(run["combination_type"].get<std::string>());
  options.density = run.value("density", 0.0);
  if (run.value("majority_sign_method", "total") == "frequency")
    options.elect = majority_sign::frequency;
  if (run.contains("svd_rank"))
    options.svd_rank = run["svd_rank"].get<int>();
  return options;
}

}  // namespace

TEMPLATE_TEST_CASE("adapters are combined as PEFT does it", "", cpu<double>, cpu<float>) {
  const double tolerance = sizeof(typename TestType::scalar) == 8 ? 1e-12 : 1e-5;
  const auto file = safetensors_file::open(golden_path("combined.safetensors"));
  const auto adapters = golden_adapters(file);
  const auto runs = nlohmann::json::parse(file.metadata().at("combinations"));
  CHECK(runs.size() == 14);
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const nlohmann::json& run = runs[i];
    INFO(run.dump());
    std::vector<const adapter_data*> given;
    for (const auto& name : run["adapters"])
      given.push_back(&adapters.at(name));
    const auto made = combine<TestType>(given, run["weights"].get<std::vector<double>>(),
                                        golden_options(run));
    CHECK(made.decorations.size() == 7);
    for (const auto& [path, methods] : made.decorations) {
      INFO(path);
      adapter_data peer;
      for (const char* end : {".lora.a", ".lora.b", ".lora.embedding_a", ".lora.embedding_b"})
        if (const tensor_entry* t = file.find(std::to_string(i) + "." + path + end))
          peer.tensors[path + end] = {t->type, t->shape[0], t->shape[1], t->data, file.owner()};
      REQUIRE(peer.tensors.size() == 2);
      peer.decorations[path]["lora"].numbers = {{"rank", 1}, {"alpha", 1}, {"over_root", 0}};
      CHECK(distance(update(made, path), update(peer, path)) < tolerance);
      CHECK(*methods.at("lora").numbers.find("alpha") ==
            *methods.at("lora").numbers.find("rank"));
    }
  }
}

TEST_CASE("one adapter of weight 1 is itself, bit for bit, whatever the way") {
  auto one = adapter<float>("one", 3, 7, true);
  decorate<float>(one, value, 2, 4, 4, 1);
  one.tensors["head.classifier.weight"] = stored(1, 2, std::vector<float>{1, 2});
  one.task = task_kind::classification;
  one.labels = {"x", "y"};
  one.departed = {"layer.0.feed_forward.input.weight"};
  one.seed = 12;
  one.base = {"base", "abc"};
  for (const combination how : all_ways()) {
    INFO(name_of(how));
    CHECK(identical(combined({&one}, {1}, by(how, 0.1)), one));
    CHECK_FALSE(identical(combined({&one}, {0.5}, by(how, 0.1)), one));
    // What has no weight is not there.
    const auto other = adapter("other", 9, 1);
    CHECK(identical(combined({&other, &one}, {0, 1}, by(how, 0.1)), one));
  }
}

TEST_CASE("one adapter gets the rank that is asked for") {
  const auto one = adapter("one", 3, 7);
  CHECK(identical(combined({&one}, {1}, {.how = combination::svd, .svd_rank = 3}), one));
  const auto four = combined({&one}, {1}, {.how = combination::svd, .svd_rank = 4});
  CHECK(four.tensors.at(query + ".lora.a").rows == 4);
  CHECK(distance(update(four, query), update(one, query)) < 1e-12);
  const auto most = combined({&one}, {1}, {.how = combination::svd, .svd_rank = 100});
  CHECK(most.tensors.at(query + ".lora.b").cols == 5);
  const auto two = combined({&one}, {1}, {.how = combination::svd, .svd_rank = 2});
  CHECK(two.tensors.at(query + ".lora.b").cols == 2);
  CHECK(*two.decorations.at(query).at("lora").numbers.find("rank") == 2);
  CHECK(distance(update(two, query), update(one, query)) > 1e-2);
}

TEST_CASE("cat and svd are the weighted sum of updates, whatever ranks and scales") {
  const auto a = adapter("a", 2, 3), b = adapter("b", 1, 5, true), c = adapter("c", 4, 1, true);
  const matrix two = sum(update(a, query), 0.5, update(b, query), -2);
  const matrix expected = sum(two, 1, update(c, query), 3);
  const auto cat = combined({&a, &b, &c}, {0.5, -2, 3});
  CHECK(cat.tensors.at(query + ".lora.a").rows == 7);
  CHECK(distance(update(cat, query), expected) < 1e-13);
  const auto svd = combined({&a, &b, &c}, {0.5, -2, 3}, {.how = combination::svd, .svd_rank = 5});
  CHECK(distance(update(svd, query), expected) < 1e-12);
  CHECK(*cat.decorations.at(query).at("lora").numbers.find("dropout") == 0.1);
  CHECK(*cat.decorations.at(query).at("lora").numbers.find("over_root") == 0);
  CHECK(cat.decorations.at(query).at("lora").form.size() == 1);
  CHECK(cat.decorations.at(query).at("lora").form.at("gating") == "false");
  CHECK(cat.source == "cat of a, b, c");
}

TEST_CASE("linear has the terms between adapters too") {
  const auto a = adapter("a", 2, 2), b = adapter("b", 2, 2);
  const auto made = combined({&a, &b}, {1, 1}, {.how = combination::linear});
  const matrix factor_a = sum(values_of<double>(a.tensors.at(query + ".lora.a")), 1,
                              values_of<double>(b.tensors.at(query + ".lora.a")), 1);
  CHECK(values_of<double>(made.tensors.at(query + ".lora.a")) == factor_a);
  CHECK(distance(update(made, query), sum(update(a, query), 1, update(b, query), 1)) > 0.1);
  // One adapter has none.
  const auto minus = combined({&a}, {-3}, {.how = combination::linear});
  CHECK(distance(update(minus, query), sum(update(a, query), -3, update(a, query), 0)) < 1e-14);
}

TEST_CASE("the order of the adapters does not matter, nor do those of weight 0") {
  const auto a = adapter("a", 2, 3), b = adapter("b", 2, 5, true), c = adapter("c", 2, 1);
  for (const combination how : all_ways()) {
    INFO(name_of(how));
    const matrix made = update(combined({&a, &b, &c}, {0.5, -2, 3}, by(how)), query);
    CHECK(distance(update(combined({&c, &a, &b}, {3, 0.5, -2}, by(how)), query), made) < 1e-12);
    CHECK(update(combined({&a, &b, &c}, {0.5, 0, 3}, by(how)), query) ==
          update(combined({&a, &c}, {0.5, 3}, by(how)), query));
  }
}

TEST_CASE("TIES: what is small goes, a sign is elected, what has it is averaged") {
  // A and B of one number each to choose, the rest of B ones.
  const auto with = [](const std::string& source, const std::vector<double>& a) {
    adapter_data data;
    data.source = source;
    data.decorations[query]["lora"].numbers = {{"rank", 1}, {"alpha", 1}, {"over_root", 0}};
    data.tensors[query + ".lora.a"] = stored(1, static_cast<index_t>(a.size()), a);
    data.tensors[query + ".lora.b"] = stored(1, 1, std::vector<double>{1});
    return data;
  };
  const auto x = with("x", {4, -1, 3, -9, 0.5}), y = with("y", {2, 5, -7, 4, 0.1}),
             z = with("z", {-1, 2, -1, 3, 6});
  const auto made = [&](combination how, double density, majority_sign elect) {
    return values_of<double>(
        combined({&x, &y, &z}, {1, 1, 1}, {.how = how, .density = density, .elect = elect})
            .tensors.at(query + ".lora.a"));
  };
  using enum majority_sign;
  CHECK(distance(made(combination::ties, 1, total), {3, 3.5, -4, -9, 2.2}) < 1e-14);
  CHECK(distance(made(combination::ties, 1, frequency), {3, 3.5, -4, 3.5, 2.2}) < 1e-14);
  // ⌊0.4 · 5⌋ = 2 of A stay: 4 and -9 of x, 5 and -7 of y, 3 and 6 of z.
  auto pruned = combined({&x}, {4}, {.how = combination::magnitude_prune_svd, .density = 0.4});
  CHECK(distance(update(pruned, query), {16, 0, 0, -36, 0}) < 1e-14);
  pruned = combined({&x, &y, &z}, {1, 1, 1}, {.how = combination::ties_svd, .density = 0.4});
  CHECK(distance(update(pruned, query), {4, 5, -7, -9, 6}) < 1e-14);
  // Equal numbers: the first stay.
  const auto equal = with("equal", {1, -1, 1, 1, 1});
  pruned = combined({&equal}, {2}, {.how = combination::magnitude_prune_svd, .density = 0.4});
  CHECK(distance(update(pruned, query), {2, -2, 0, 0, 0}) < 1e-14);
}

TEST_CASE("DARE leaves a share, scaled so that the expectation stays") {
  adapter_data one, other;
  one.source = "one";
  other.source = "other";
  for (adapter_data* data : {&one, &other})
    for (const std::string& path : {query, value})
      decorate(*data, path, 40, 40, 40, 40);
  for (const char* name : {".lora.a", ".lora.b"})
    one.tensors[value + name] = one.tensors[query + name];  // … and yet another mask
  const matrix whole = update(one, query);
  combine_options options{.how = combination::dare_linear_svd, .density = 0.3, .svd_rank = 40};
  const auto made = combined({&one}, {2}, options);
  const auto masked = [&](const adapter_data& result, const std::string& path,
                          const adapter_data& of) {
    std::vector<bool> kept;
    const matrix before = update(of, path), after = update(result, path);
    for (std::size_t i = 0; i < before.size(); ++i) {
      kept.push_back(std::abs(after[i]) > std::abs(before[i]));
      const double expected = kept.back() ? 2 * before[i] / 0.3 : 0;
      if (std::abs(after[i] - expected) > 1e-9)
        FAIL("value " << i << " is neither kept nor 0");
    }
    return kept;
  };
  const auto share = [](const std::vector<bool>& kept) {
    return static_cast<double>(std::count(kept.begin(), kept.end(), true)) /
           static_cast<double>(kept.size());
  };
  const auto kept = masked(made, query, one);
  CHECK(share(kept) == Approx(0.3).margin(5 * std::sqrt(0.3 * 0.7 / 1600)));
  // Each place, seed and adapter has its own mask; the same has the same.
  const auto both = [&](const std::vector<bool>& a, const std::vector<bool>& b) {
    std::vector<bool> c;
    for (std::size_t i = 0; i < a.size(); ++i)
      c.push_back(a[i] && b[i]);
    return share(c);
  };
  CHECK(masked(combined({&one}, {2}, options), query, one) == kept);
  CHECK(both(kept, masked(combined({&other}, {2}, options), query, other)) < 0.15);
  CHECK(both(kept, masked(made, value, one)) < 0.15);
  options.seed = 1;
  CHECK(both(kept, masked(combined({&one}, {2}, options), query, one)) < 0.15);

  SECTION("over many seeds, the sum") {
    matrix mean(1600);
    for (options.seed = 0; options.seed < 60; ++options.seed)
      mean = sum(mean, 1, update(combined({&one, &other}, {2, -1}, options), query), 1.0 / 60);
    const matrix expected = sum(whole, 2, update(other, query), -1);
    double error = 0, size = 0;
    for (std::size_t i = 0; i < mean.size(); ++i) {
      error += (mean[i] - expected[i]) * (mean[i] - expected[i]);
      size += expected[i] * expected[i];
    }
    // A mean of n has the variance x² (1 - p) / (p n) of each x.
    CHECK(error / size == Approx(0.7 / 0.3 / 60).epsilon(0.15));
  }
  SECTION("A and B by themselves") {
    options.how = combination::dare_linear;
    const auto factors = combined({&one}, {2}, options);
    for (const char* name : {".lora.a", ".lora.b"}) {
      const matrix before = values_of<double>(one.tensors.at(query + name)),
                   after = values_of<double>(factors.tensors.at(query + name));
      std::size_t left = 0;
      for (std::size_t i = 0; i < before.size(); ++i) {
        const bool zero = after[i] == 0;
        left += !zero;
        if (!zero && std::abs(after[i] - std::sqrt(2) * before[i] / 0.3) > 1e-12)
          FAIL("value " << i << " is neither kept nor 0");
      }
      CHECK(static_cast<double>(left) / 1600 == Approx(0.3).margin(0.06));
    }
  }
  SECTION("of density 1, all") {
    const auto ways = {std::pair{combination::dare_linear, combination::linear},
                       std::pair{combination::dare_linear_svd, combination::svd}};
    for (const auto& [dare, plain] : ways)
      CHECK(update(combined({&one, &other}, {2, -1}, by(dare, 1)), query) ==
            update(combined({&one, &other}, {2, -1}, by(plain, 1)), query));
  }
}

TEST_CASE("a place that only some adapters decorate is combined from those") {
  auto a = adapter("a", 2, 3), b = adapter("b", 2, 5);
  decorate(b, value, 2, 4, 4, 1);
  decorate(a, "layer.1.attention.key", 2, 4, 4, 1);
  a.decorations[value]["lora"].numbers = {{"rank", 0}, {"alpha", 1}};  // nothing is there
  const auto made = combined({&a, &b}, {2, 3});
  CHECK(made.decorations.size() == 3);
  CHECK(distance(update(made, value), sum(update(b, value), 3, update(b, value), 0)) < 1e-14);
  const matrix key = update(a, "layer.1.attention.key");
  CHECK(distance(update(made, "layer.1.attention.key"), sum(key, 2, key, 0)) < 1e-14);
}

TEST_CASE("a table's update is combined as a matrix") {
  const std::string word = "embeddings.word";
  const auto with = [&](const std::string& source) {
    adapter_data data;
    data.source = source;
    decorate(data, word, 2, 5, 9, 3);
    auto node = data.tensors.extract(word + ".lora.a");
    data.tensors[word + ".lora.embedding_a"] =
        stored(9, 2, values_of<double>(node.mapped()));
    node = data.tensors.extract(word + ".lora.b");
    node.key() = word + ".lora.embedding_b";
    data.tensors.insert(std::move(node));
    return data;
  };
  const auto a = with("a"), b = with("b");
  const matrix expected = sum(update(a, word), 0.5, update(b, word), 2);
  for (const combination how : {combination::cat, combination::svd}) {
    const auto made = combined({&a, &b}, {0.5, 2}, {.how = how, .svd_rank = 4});
    CHECK(made.tensors.at(word + ".lora.embedding_a").rows == 9);
    CHECK(made.tensors.at(word + ".lora.embedding_a").cols == 4);
    CHECK(distance(update(made, word), expected) < 1e-12);
  }
  adapter_data line;
  line.source = "line";
  decorate(line, word, 2, 5, 9, 3);
  CHECK_THROWS_WITH(combined({&a, &line}, {1, 1}),
                    Contains("combine: embeddings.word: expected updates of one shape, found "
                             "[5, 9] of a table in a and [5, 9] in line"));
}

TEST_CASE("a convolution's A and B may be added, in groups too") {
  const auto with = [&](const std::string& source, index_t groups) {
    adapter_data data;
    data.source = source;
    decorate(data, "conv", 4, 6, 18, 4);
    data.tensors["conv.lora.b"] = stored(6, 4 / groups, matrix(std::size_t(24 / groups), 1.5));
    return data;
  };
  const auto a = with("a", 2), b = with("b", 2), whole = with("whole", 1);
  const auto made = combined({&a, &b}, {1, 4}, {.how = combination::linear});
  CHECK(made.tensors.at("conv.lora.b").cols == 2);
  CHECK(values_of<double>(made.tensors.at("conv.lora.b")) == matrix(12, 4.5));
  for (const combination how : {combination::cat, combination::svd, combination::ties_svd})
    CHECK_THROWS_WITH(combined({&a, &b}, {1, 4}, by(how)),
                      Contains("combine: conv: " + std::string(name_of(how)) +
                               " expects an update that is one matrix, found a convolution of 2 "
                               "groups"));
  CHECK_THROWS_WITH(combined({&a, &whole}, {1, 1}, {.how = combination::linear}),
                    Contains("[6, 18] in 2 groups in a and [6, 18] in whole"));
}

TEST_CASE("an update that is zero stays zero") {
  auto a = adapter("a", 2, 3), b = adapter("b", 2, 3);
  for (adapter_data* data : {&a, &b})
    data->tensors[query + ".lora.b"] = stored(6, 2, matrix(12));
  const std::vector<const adapter_data*> given{&a, &b};
  const std::vector<double> weights{1, 2};
  for (const auto& made : {combine<cpu<double>>(given, weights, {.how = combination::svd}),
                           combine<reference<double>>(given, weights, {.how = combination::svd})})
    CHECK(update(made, query) == matrix(30));
}

TEST_CASE("the result has the wider of the types") {
  const auto a = adapter<float>("a", 2, 3), b = adapter<float>("b", 2, 3), c = adapter("c", 2, 3);
  CHECK(combined({&a, &b}, {1, 2}).tensors.at(query + ".lora.a").type == dtype::f32);
  CHECK(combined({&a, &c}, {1, 2}).tensors.at(query + ".lora.a").type == dtype::f64);
  // Half a number: 1, 0.5, -2 in bfloat16.
  static const std::uint16_t bits[] = {0x3f80, 0x3f00, 0xc000, 0x3f80};
  auto half = adapter<float>("half", 2, 2);
  half.tensors[query + ".lora.a"] = {
      dtype::bf16, 2, 2, reinterpret_cast<const std::byte*>(bits), {}};
  half.tensors[query + ".lora.b"] = stored(1, 2, std::vector<float>{1, 0});
  const auto made = combined({&half}, {2});
  CHECK(made.tensors.at(query + ".lora.a").type == dtype::f32);
  CHECK(update(made, query) == matrix{2, 1});
}

TEST_CASE("what is no low-rank update must be the same, or comes from the first that has it") {
  auto a = adapter("a", 2, 3), b = adapter("b", 2, 5), c = adapter("c", 2, 5);
  b.tensors["head.classifier.bias"] = stored(1, 2, matrix{1, 2});
  c.tensors["head.classifier.bias"] = stored(1, 2, std::vector<float>{1, 2});
  b.task = c.task = task_kind::classification;
  b.labels = c.labels = {"x", "y"};
  c.departed = {"q", "p"};
  b.departed = {"p"};
  b.rows["embeddings.word"] = {{3}, stored(1, 2, matrix{5, 6})};
  c.rows["embeddings.word"] = {{3}, stored(1, 2, matrix{5, 6})};
  a.notes = {"one"};
  c.notes = {"two"};
  b.base = {"base", "abc"};
  a.seed = 4;
  b.partial = true;
  const auto made = combined({&a, &b, &c}, {1, 2, 3});
  CHECK(same_bytes(made.tensors.at("head.classifier.bias"), b.tensors.at("head.classifier.bias")));
  CHECK(made.labels == b.labels);
  CHECK(made.task == task_kind::classification);
  CHECK(made.departed == std::set<std::string>{"p", "q"});
  CHECK(made.rows.at("embeddings.word").entries == std::vector<index_t>{3});
  CHECK(made.notes == std::vector<std::string>{"one", "two"});
  CHECK(made.base.fingerprint == "abc");
  CHECK(made.base.name == "base");
  CHECK(made.seed == 4);
  CHECK(made.partial);
  CHECK_FALSE(combined({&a, &c}, {1, 3}).partial);

  const auto agreed_b = b, agreed_c = c;
  using change = std::function<void()>;
  for (const auto& [what, differ] : std::vector<std::pair<std::string, change>>{
           {"head.classifier.bias",
            [&] { c.tensors["head.classifier.bias"] = stored(1, 2, matrix{1, 3}); }},
           {"embeddings.word", [&] { c.rows["embeddings.word"].entries = {4}; }},
           {"labels", [&] { c.labels = {"y", "x"}; }},
           {"task", [&] { c.task = task_kind::regression; }},
           {"tasks", [&] {
              b.tasks = {{"one", {"x"}}};
              c.tasks = {{"one", {"y"}}};
            }}}) {
    INFO(what);
    b = agreed_b;
    c = agreed_c;
    differ();
    CHECK_THROWS_WITH(combined({&a, &b, &c}, {1, 2, 3}),
                      Contains("combine: " + what +
                               ": expected the same of all adapters that have it, found another in c"));
    const auto first = combined({&a, &b, &c}, {1, 2, 3}, {.head = rest_of_adapters::first});
    CHECK(same_bytes(first.tensors.at("head.classifier.bias"), b.tensors.at("head.classifier.bias")));
    CHECK(first.labels == b.labels);
    CHECK(first.task == b.task);
    CHECK(first.tasks.size() == b.tasks.size());
    CHECK(first.rows.at("embeddings.word").entries == std::vector<index_t>{3});
  }
  const auto other = combined({&c, &b}, {1, 2}, {.head = rest_of_adapters::first});
  CHECK(other.labels == c.labels);
}

TEST_CASE("what cannot be combined is refused by name") {
  const auto a = adapter("a", 2, 3), b = adapter("b", 3, 5);
  auto other = adapter("other", 2, 3);
  const auto message = [&](const adapter_data& x, const combine_options& options = {}) {
    return message_of<error>([&] { combined({&a, &x}, {1, 1}, options); });
  };

  CHECK_THROWS_WITH(combined({}, {}),
                    Contains("combine: expected at least one adapter, found none"));
  CHECK_THROWS_WITH(combined({&a, &b}, {1}),
                    Contains("combine: weights: expected one for each of 2 adapters, found 1"));
  CHECK_THROWS_WITH(combined({&a, &b}, {1, std::numeric_limits<double>::quiet_NaN()}),
                    Contains("weights: expected finite numbers, found nan for b"));
  CHECK_THROWS_WITH(combined({&a, &b}, {0, 0}),
                    Contains("combine: weights: expected one that is not 0, found none"));
  for (const double density : {0.0, -0.5, 1.5, std::numeric_limits<double>::quiet_NaN()})
    CHECK_THAT(message(other, by(combination::ties, density)),
               Contains("combine: density: expected above 0 and at most 1 for ties, found"));
  CHECK_THAT(message(other, {.how = combination::svd, .svd_rank = 0}),
             Contains("combine: svd_rank: expected at least 1, found 0"));
  CHECK_THAT(message(other, {.how = static_cast<combination>(99)}),
             Contains("combine: how: expected one of the combinations"));

  for (const combination how : {combination::linear, combination::ties, combination::dare_ties,
                                combination::dare_linear, combination::magnitude_prune})
    CHECK_THAT(message(b, by(how)),
               Contains("combine: " + query + ": " + std::string(name_of(how)) +
                        " expects adapters of one rank, found 2 in a and 3 in b"));
  auto wide = adapter_data{};
  wide.source = "wide";
  decorate(wide, query, 2, 6, 7, 3);
  CHECK_THAT(message(wide), Contains("combine: " + query + ": expected updates of one shape, found "
                                     "[6, 5] in a and [6, 7] in wide"));

  SECTION("another method") {
    other.decorations[value]["bottleneck"];
    CHECK_THAT(message(other), Contains("combine: other: " + value +
                                        ": expected lora and nothing else, found bottleneck"));
  }
  SECTION("a lora that is more than A and B") {
    other.tensors[query + ".lora.bias"] = stored(1, 6, matrix(6));
    CHECK_THAT(message(other), Contains("combine: other: " + query +
                                        ": expected a plain lora of A and B, found " + query +
                                        ".lora.bias too"));
  }
  SECTION("one without A") {
    other.tensors.erase(query + ".lora.a");
    CHECK_THAT(message(other),
               Contains("expected " + query + ".lora.a, found no such tensor"));
  }
  SECTION("one of another rank than it says") {
    other.decorations[query]["lora"].numbers.set("rank", 3);
    CHECK_THAT(message(other), Contains("other: " + query + ": expected A and B of rank 3, found "
                                        "[2, 5] and [6, 2]"));
  }
  SECTION("one without alpha") {
    other.decorations[query]["lora"].numbers = {{"rank", 2}};
    CHECK_THAT(message(other),
               Contains("expected the numbers rank and alpha of lora, found no alpha"));
  }
  SECTION("another base") {
    auto based = a;
    based.base = {"cased", "1"};
    other.base = {"uncased", "2"};
    CHECK_THROWS_WITH(combined({&based, &other}, {1, 1}),
                      Contains("expected adapters of one base, found that of other (uncased) to be "
                               "another than cased"));
  }
}

TEST_CASE("combinations have names") {
  for (const combination how : all_ways())
    CHECK(combination_named(name_of(how)) == how);
  CHECK_THROWS_WITH(combination_named("mean"),
                    Contains("combination: expected one of cat, svd, linear, ") &&
                        Contains("dare_ties_svd, found \"mean\""));
}

}  // namespace graft_test::combine_tests
