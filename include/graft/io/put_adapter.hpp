// SPDX-License-Identifier: MIT
// Adapters into models and out of them.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/part_list.hpp>
#include <graft/core/plain.hpp>
#include <graft/io/adapter_data.hpp>
#include <graft/io/adapter_sizes.hpp>
#include <graft/io/fill_network.hpp>
#include <graft/io/recipe_text.hpp>
#include <graft/tuning/occupant.hpp>

#include <algorithm>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace graft {

// Throws graft::error where data_of would: for frozen values that are not the checkpoint's and are
// quantised.
template <class Model>
void expect_savable(Model& model) {
  for (const auto& p : list_parts(model.network).parameters)
    if (!p.trained && !p.has_values() && model.departed.contains(p.path))
      throw error("save_adapter: " + p.path +
                  ": expected values to save, since they are not the checkpoint's; found them "
                  "quantised");
}

// A parameter's values, where they are.
template <class B>
stored_matrix stored_at(const listed_parameter<B>& p) {
  const listed_values<B> found(p);
  return stored_at(found.values().data(), p.rows(), p.cols(), found.owner());
}

namespace detail {

template <class B>
stored_matrix stored_from(typename B::parameter p) {
  return stored_at(listed_parameter<B>{.path = {}, .parameter = &p});
}

// Is it a parameter that a checkpoint may hold, rather than an adapter's?
template <class B>
bool is_base_parameter(const part_list<B>& parts, const listed_parameter<B>& p) {
  if (p.shared || adapted_path(p.path) != p.path ||
      (!p.path.ends_with(".weight") && !p.path.ends_with(".bias")))
    return false;
  return std::none_of(parts.layers.begin(), parts.layers.end(), [&](const listed_layer<B>& l) {
    return !l.may->method.empty() && p.path.starts_with(joined(l.path, l.may->method) + ".");
  });
}

}  // namespace detail

// drawn: also the frozen values that follow from a seed (LoRA-FA's A, VeRA's matrices), which graft's own
// files leave out (io/drawn_values.hpp draws them where there is no model).
struct data_options {
  bool drawn = false;
};

// The trained part of a model, and of its frozen values those that are not the checkpoint's
// (model.departed); they stay where they are, and the model must live and not be trained meanwhile. A
// decorated layer whose file holds something else than its trained parameters says so: saved_parts(f)
// calls f(tag, parameter) for what takes their place, saved_numbers() are the numbers that go with it.
template <class Model>
adapter_data data_of(const Model& model, const data_options& options = {}) {
  using B = typename Model::backend_type;
  expect_savable(model);
  adapter_data a;
  a.departed = model.departed;
  const auto parts = list_parts(model.network);
  [[maybe_unused]] const index_t layers = detail::layers_of(parts);
  std::map<std::string, typename B::parameter> others;
  for (const auto& l : parts.layers) {
    if (!l.may->numbers || detail::stands_empty(l))
      continue;
    // Over a base that travels along, what was taken out of it stays out.
    const bool as_update =
        l.may->saved_numbers && !model.departed.contains(detail::joined(l.path, at::weight.name));
    auto& d = a.decorations[l.path][std::string(l.may->method)];
    d.numbers = as_update ? l.may->saved_numbers(l.layer) : l.may->numbers(l.layer);
    if constexpr (requires { typename Model::tuning_type; })
      if (auto form =
              detail::form_at<typename Model::tuning_type>(l.path, l.may->method, layers))
        d.form = std::move(*form);
    if (as_update)
      l.may->saved_parts(l.layer, [&](std::string_view tag, auto p) {
        others.emplace(detail::joined(l.path, tag), std::move(p));
      });
  }
  for (const segment& s : model.parameters.segments)
    if (const auto other = others.find(s.path); other != others.end()) {
      a.tensors[s.path] = detail::stored_from<B>(other->second);
    } else {
      a.tensors[s.path] = detail::stored_from<B>(detail::piece<B>(model.parameters.values, s));
    }
  for (const auto& p : parts.parameters) {
    if (p.trained)
      continue;
    const bool drawn =
        options.drawn && p.has_values() && (p.shared || (p.parameter && !detail::is_base_parameter(parts, p)));
    if (!drawn && !model.departed.contains(p.path))
      continue;
    a.tensors[p.path] = stored_at(p);
    a.departed.insert(p.path);
  }
  a.seed = model.initial_seed;
  if constexpr (requires { model.labels; model.config.task; }) {
    a.task = model.config.task;
    a.labels = model.labels;
  }
  if constexpr (requires { model.tasks; })
    a.tasks = model.tasks;
  return a;
}

namespace detail {

// Throws checkpoint_error where a model's decorations and an adapter's are not at the same places.
// T is the model's tuning, or void.
template <class T, class B>
void expect_same_decorations(const part_list<B>& parts, const adapter_data& a) {
  std::set<std::pair<std::string, std::string>> places;
  std::vector<std::string> wrong;
  const index_t layers = layers_of(parts);
  for (const listed_layer<B>& l : parts.layers) {
    if (!l.may->numbers)
      continue;
    const std::string method(l.may->method);
    places.emplace(l.path, method);
    const auto at_place = a.decorations.find(l.path);
    const bool there = at_place != a.decorations.end() && at_place->second.contains(method);
    if (!there && !(l.may->optional && l.may->optional(l.layer)))
      wrong.push_back("expected the numbers of " + method + " at " + l.path + ", found none");
    if constexpr (!std::is_void_v<T>)
      if (there && !at_place->second.at(method).form.empty())
        if (const auto form = form_at<T>(l.path, method, layers))
          for (const auto& [option, value] : at_place->second.at(method).form)
            if (const auto ours = form->find(option); ours != form->end() && ours->second != value)
              wrong.push_back(l.path + ": " + method + "." + option + ": expected " + ours->second +
                              " as in the recipe, found " + value);
  }
  for (const auto& [path, methods] : a.decorations)
    for (const auto& [method, decoration] : methods)
      if (!places.contains({path, method}))
        wrong.push_back("no place for " + method + " at " + path);
  if (!wrong.empty())
    throw checkpoint_error(a.source + ": " + listed_names(wrong) +
                           "\nA recipe that holds it:\n" + recipe_text(a, layers));
}

// Gives a decorated layer its numbers.
template <class B>
void take_numbers(const listed_layer<B>& l, const adapter_data& a) {
  const std::string method(l.may->method);
  const auto at_place = a.decorations.find(l.path);
  const decoration_numbers none{{"rank", 0}};  // of one that may be empty
  const decoration_numbers& numbers =
      at_place == a.decorations.end() || !at_place->second.contains(method)
          ? none
          : at_place->second.at(method).numbers;
  const decoration_numbers known = l.may->numbers(l.layer);
  for (const auto& number : numbers)
    if (!known.find(number.first))
      throw checkpoint_error(a.source + ": " + l.path + ": " + method + " has no number \"" +
                             number.first + "\"");
  try {
    l.may->renumber(l.layer, numbers);
  } catch (const error& e) {
    throw checkpoint_error(a.source + ": " + l.path + ": " + text_of(e));
  }
}

// Writes values where they belong: into a parameter, or in place of frozen ones. What several layers
// list is one matrix, made once.
template <class B>
class value_writer {
 public:
  using scalar = typename B::scalar;

  void write(const listed_parameter<B>& p, const stored_matrix& m) {
    put(p, [&] { return graft::values_of<scalar>(m); });
  }
  // The parameter as it is, but for some rows.
  void write(const listed_parameter<B>& p, const replaced_rows& r) {
    put(p, [&] {
      const listed_values<B> found(p);
      std::vector<scalar> all(found.values().begin(), found.values().end());
      const std::vector<scalar> rows = graft::values_of<scalar>(r.rows);
      for (std::size_t i = 0; i < r.entries.size(); ++i)
        std::copy_n(rows.data() + static_cast<index_t>(i) * p.cols(), p.cols(),
                    all.data() + r.entries[i] * p.cols());
      return all;
    });
  }

 private:
  using numbers = std::shared_ptr<std::vector<scalar>>;

  template <class F>
  void put(const listed_parameter<B>& p, const F& make) {
    if (p.trained) {
      B::from_host(*p.parameter, make());
      return;
    }
    numbers& values = made_[p.path];
    if (!values)
      values = std::make_shared<std::vector<scalar>>(make());
    if (p.weight) {
      *p.weight = {values->data(), p.rows(), p.cols(), values};
    } else {
      typename B::parameter fresh(p.rows(), p.cols());  // clones share the old one
      B::from_host(fresh, *values);
      *p.parameter = std::move(fresh);
    }
  }
  std::map<std::string, numbers> made_;
};

// Is it the bias of a low-rank update that may be empty, and so zero where a file does not tell it?
template <class B>
bool is_optional_bias(const part_list<B>& parts, std::string_view path) {
  return path.ends_with("lora.bias") &&
         std::any_of(parts.layers.begin(), parts.layers.end(), [&](const listed_layer<B>& l) {
           return l.may->optional && l.may->optional(l.layer) && joined(l.path, "lora.bias") == path;
         });
}

template <class B>
bool trains(const part_list<B>& parts, std::string_view path) {
  return std::any_of(parts.parameters.begin(), parts.parameters.end(),
                     [&](const auto& p) { return p.trained && p.path == path; });
}

// Why a matrix is none for a parameter of this shape; nothing where it is one.
GRAFT_PLAIN std::optional<std::string> misfit_of(const stored_matrix& m, const std::string& path,
                                                 index_t rows,
                                                 index_t cols);

// … why some rows of a parameter cannot be others.
template <class B>
std::optional<std::string> misfit_of(const replaced_rows& r, const listed_parameter<B>& p) {
  if (!p.has_values())
    return p.path + ": expected values of which some rows are others, found them quantised";
  for (const index_t entry : r.entries)
    if (entry < 0 || entry >= p.rows())
      return p.path + ": expected rows below " + std::to_string(p.rows()) + ", found " +
             std::to_string(entry);
  return misfit_of(r.rows, p.path, static_cast<index_t>(r.entries.size()), p.cols());
}

// Which parameters of a model an adapter has values for. Throws checkpoint_error for values that have no
// place, another shape or another type, and for trained parameters without values.
template <class B>
void expect_values(const part_list<B>& parts, const adapter_data& a) {
  std::vector<std::string> wrong;
  std::set<std::string> taken;
  const auto note = [&](std::optional<std::string> misfit) {
    if (misfit)
      wrong.push_back(std::move(*misfit));
  };
  for (const listed_parameter<B>& p : parts.parameters) {
    if (!taken.insert(p.path).second || !(p.trained || a.departed.contains(p.path)))
      continue;
    const auto matrix = a.tensors.find(p.path);
    const auto rows = a.rows.find(p.path);
    if (matrix != a.tensors.end())
      note(misfit_of(matrix->second, p.path, p.rows(), p.cols()));
    if (rows != a.rows.end())
      note(misfit_of(rows->second, p));
    const bool base_has_it = a.partial && is_base_parameter(parts, p);
    if (matrix == a.tensors.end() && rows == a.rows.end() && !base_has_it &&
        !is_optional_bias(parts, p.path))
      wrong.push_back(p.path + ": missing");
  }
  for (const auto& [path, matrix] : a.tensors)
    if (!taken.contains(path) || (!a.departed.contains(path) && !trains(parts, path)))
      wrong.push_back(path + ": no place in this model");
  for (const auto& [path, rows] : a.rows)
    if (!taken.contains(path))
      wrong.push_back(path + ": no place in this model");
  if (!wrong.empty())
    throw checkpoint_error(a.values + ": " + listed_names(wrong) +
                           "\nA recipe that holds it:\n" + recipe_text(a, layers_of(parts)));
}

}  // namespace detail

// Puts an adapter into a model whose tuning decorates the same places: numbers first, then values.
// Decorations that may be empty and that it does not mention become so. Throws checkpoint_error, with
// the names and the recipe that would hold it, where places, numbers or shapes differ, or values are
// missing or too many; the model is then as it was.
template <class Model>
void put_adapter(Model& model, const adapter_data& a) {
  using B = typename Model::backend_type;
  detail::expect_modest_sizes(a);
  Model next = model.clone();
  {
    const auto parts = list_parts(next.network);
    if constexpr (requires { typename Model::tuning_type; })
      detail::expect_same_decorations<typename Model::tuning_type>(parts, a);
    else
      detail::expect_same_decorations<void>(parts, a);
    for (const auto& l : parts.layers)
      if (l.may->numbers)
        detail::take_numbers(l, a);
  }
  initialize_decorations(next.network, a.seed);  // sizes may be others now
  next.parameters = gather(next.network);
  const auto parts = list_parts(next.network);
  detail::expect_values(parts, a);
  detail::value_writer<B> writer;
  std::set<std::string> departed;
  for (const listed_parameter<B>& p : parts.parameters) {
    if (const auto found = a.tensors.find(p.path); found != a.tensors.end())
      writer.write(p, found->second);
    else if (const auto rows = a.rows.find(p.path); rows != a.rows.end())
      writer.write(p, rows->second);
    else
      continue;
    if (!p.trained)
      departed.insert(p.path);
  }
  next.departed = std::move(departed);
  detail::base_filled(parts);  // what is kept in another form is made of the values just read
  model = std::move(next);
}

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

namespace detail {

GRAFT_PLAIN std::optional<std::string> misfit_of(const stored_matrix& m, const std::string& path,
                                                 index_t rows,
                                                 index_t cols) {
  if (m.rows == rows && m.cols == cols && is_number(m.type))
    return std::nullopt;
  return path + ": expected [" + std::to_string(rows) + ", " + std::to_string(cols) + "], found [" +
         std::to_string(m.rows) + ", " + std::to_string(m.cols) + "] " + std::string(name_of(m.type));
}

}  // namespace detail

}  // namespace graft

#endif
