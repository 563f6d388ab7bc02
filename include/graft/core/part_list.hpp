// SPDX-License-Identifier: MIT
// What a model consists of, as plain data: a layer's listing (core/parts.hpp) read once into two
// tables, which everything that goes over a whole model works on. Only the reading is compiled anew
// for every type of layer.
#pragma once

#include <graft/core/layer.hpp>
#include <graft/core/layer_hooks.hpp>
#include <graft/core/parts.hpp>
#include <graft/core/plain.hpp>
#include <graft/core/site.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace graft {

enum class parameter_kind : unsigned char { weight, bias, norm_weight };

// One matrix of a model, in the layer that owns it.
template <class B>
struct listed_parameter {
  using scalar = typename B::scalar;

  std::string path;
  parameter_kind kind = parameter_kind::weight;
  bool decays = true;   // weight decay acts on it unless the user says otherwise
  bool shared = false;  // other layers may list it too, under the same path
  bool trained = false;
  // One of these two is it; a parameter that is not `trained` is drawn once and left alone.
  typename B::parameter* parameter = nullptr;
  typename B::frozen_weight* weight = nullptr;
  typename B::parameter* gradient =
      nullptr;  // of what is trained, where a gradient was listed along

  index_t rows() const { return parameter ? parameter->rows : weight->rows; }
  index_t cols() const { return parameter ? parameter->cols : weight->cols; }
  index_t size() const { return rows() * cols(); }
  typename B::const_view view() const {
    return parameter ? typename B::const_view(*parameter) : typename B::const_view(*weight);
  }
  // Where the host can read its values; null where they are nowhere, or beyond its reach.
  const scalar* data() const {
    if constexpr (std::is_same_v<typename B::parameter::value_type, scalar>)
      return parameter ? parameter->data : weight->data;
    else
      return parameter ? nullptr : weight->data;
  }
  bool has_values() const { return data() || view().data; }
};

// A parameter's values for the host: where they are, or a copy of what is beyond its reach.
template <class B>
class listed_values {
 public:
  using scalar = typename B::scalar;
  explicit listed_values(const listed_parameter<B>& p) {
    if (p.data()) {
      values_ = {p.data(), static_cast<std::size_t>(p.size())};
    } else if (p.has_values()) {
      copy_ = std::make_shared<std::vector<scalar>>(B::on_host(p.view()));
      values_ = *copy_;
    }
    owner_ = copy_ ? copy_ : p.parameter ? std::shared_ptr<const void>(p.parameter->owner) : p.weight->owner;
  }
  // Empty where there are none.
  std::span<const scalar> values() const { return values_; }
  // What keeps them.
  const std::shared_ptr<const void>& owner() const { return owner_; }

 private:
  std::shared_ptr<std::vector<scalar>> copy_;
  std::span<const scalar> values_;
  std::shared_ptr<const void> owner_;
};

// One layer of a model, and what may be asked of it.
template <class B>
struct listed_layer {
  std::string path;
  const layer_hooks<B>* may = nullptr;
  void* layer = nullptr;
  void* gradient = nullptr;  // null where it has none, or none was listed along
  // Its parameters and those of the layers inside it: [first_parameter, next_parameter) of the list.
  std::size_t first_parameter = 0, next_parameter = 0;
};

// Parameters that have rows, in the order of the listing, a shared one each time it is listed;
// layers, innermost first: who fills the layers inside it has the last word. The pointers hold
// while nothing is moved.
template <class B>
struct part_list {
  std::vector<listed_parameter<B>> parameters;
  std::vector<listed_layer<B>> layers;
};

namespace detail {

// The visitor of `parts`: f(tag, part), or f(tag, part, gradient).
template <class B>
class part_lister {
 public:
  explicit part_lister(part_list<B>& to) : to_(to) {}

  template <class Tag, class Part>
  void operator()(const Tag& tag, Part& part) {
    if constexpr (parameter_like<Part>) {
      add_parameter(tag, part, nullptr);
    } else {
      const step inside(*this, tag.name, shared_tag<Tag>);
      list(part);
    }
  }
  template <class Tag, class Part, class G>
  void operator()(const Tag& tag, Part& part, G& gradient) {
    if constexpr (std::is_same_v<G, nothing>) {
      (*this)(tag, part);
    } else if constexpr (parameter_like<Part>) {
      add_parameter(tag, part, &gradient);
    } else {
      const step inside(*this, tag.name, shared_tag<Tag>);
      list(part, gradient);
    }
  }

  template <class L>
  void list(L& layer) {
    if constexpr (is_vector<L>) {
      for (std::size_t i = 0; i < layer.size(); ++i) {
        const step inside(*this, std::to_string(i), false);
        list(layer[i]);
      }
    } else {
      const std::size_t first = to_.parameters.size();
      L::parts(*this, layer);
      to_.layers.push_back(
          {path_, &hooks_of<B, L>, &layer, nullptr, first, to_.parameters.size()});
    }
  }
  template <class L, class G>
  void list(L& layer, G& gradient) {
    if constexpr (std::is_same_v<G, nothing>) {
      list(layer);
    } else if constexpr (is_vector<L>) {
      for (std::size_t i = 0; i < layer.size(); ++i) {
        const step inside(*this, std::to_string(i), false);
        list(layer[i], gradient[i]);
      }
    } else {
      if constexpr (requires { layer.shape(gradient); })
        layer.shape(gradient);  // one that holds vectors gets its length
      const std::size_t first = to_.parameters.size();
      L::parts(*this, layer, gradient);
      to_.layers.push_back(
          {path_, &hooks_of<B, L>, &layer, &gradient, first, to_.parameters.size()});
    }
  }

 private:
  // One step down the path, taken back at the end of its life.
  class step {
   public:
    step(part_lister& of, std::string_view name, bool shared)
        : of_(of), path_(std::move(of.path_)), shared_(of.shared_) {
      of_.path_ = shared ? std::string(name) : joined(path_, name);
      of_.shared_ = shared_ || shared;
    }
    ~step() {
      of_.path_ = std::move(path_);
      of_.shared_ = shared_;
    }
    step(const step&) = delete;
    step& operator=(const step&) = delete;

   private:
    part_lister& of_;
    std::string path_;
    bool shared_;
  };

  template <class Tag, class P>
  void add_parameter(const Tag& tag, P& p, typename B::parameter* gradient) {
    constexpr parameter_kind kind = std::is_same_v<Tag, at::bias_t> ? parameter_kind::bias
                                    : std::is_same_v<Tag, at::norm_weight_t>
                                        ? parameter_kind::norm_weight
                                        : parameter_kind::weight;
    if constexpr (std::is_same_v<P, typename B::parameter>)
      add(tag.name, shared_tag<Tag>, kind, Tag::decays, &p, nullptr, gradient);
    else
      add(tag.name, shared_tag<Tag>, kind, Tag::decays, nullptr, &p, nullptr);
  }
  void add(std::string_view name, bool shared, parameter_kind kind, bool decays,
           typename B::parameter* p, typename B::frozen_weight* w,
           typename B::parameter* gradient) {
    listed_parameter<B> listed{.path = shared ? std::string(name) : joined(path_, name),
                               .kind = kind,
                               .decays = decays,
                               .shared = shared_ || shared,
                               .trained = gradient != nullptr,
                               .parameter = p,
                               .weight = w,
                               .gradient = gradient};
    if (listed.rows() > 0)
      to_.parameters.push_back(std::move(listed));
  }

  part_list<B>& to_;
  std::string path_;
  bool shared_ = false;
};

}  // namespace detail

// The parts of a layer and of its gradient.
template <lists_parts L>
part_list<typename L::backend_type> list_parts(L& layer, gradient_t<L>& gradient) {
  part_list<typename L::backend_type> parts;
  detail::part_lister(parts).list(layer, gradient);
  return parts;
}

// … of a layer alone.
template <lists_parts L>
part_list<typename L::backend_type> list_parts(L& layer) {
  gradient_t<L> shape{};
  auto parts = list_parts(layer, shape);
  for (auto& p : parts.parameters)
    p.gradient = nullptr;
  for (auto& l : parts.layers)
    l.gradient = nullptr;
  return parts;
}

// … of a layer that must not be written to: the table is there to be read.
template <lists_parts L>
const part_list<typename L::backend_type> list_parts(const L& layer) {
  return list_parts(const_cast<L&>(layer));
}

namespace detail {

// The number of the layer that a path lies in: layer.3.feed_forward -> 3.
GRAFT_PLAIN std::optional<index_t> layer_of(std::string_view path);

// Is it a decoration that may be empty, and is?
template <class B>
bool stands_empty(const listed_layer<B>& l) {
  return l.may->optional && l.may->optional(l.layer) && l.may->numbers(l.layer).find("rank") == 0.0;
}

// The number of layers that a network's paths name.
template <class B>
index_t layers_of(const part_list<B>& parts) {
  index_t layers = 0;
  for (const listed_parameter<B>& p : parts.parameters)
    layers = std::max(layers, layer_of(p.path).value_or(-1) + 1);
  return layers;
}

}  // namespace detail

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

namespace detail {

GRAFT_PLAIN std::optional<index_t> layer_of(std::string_view path) {
  constexpr std::string_view step = "layer.";
  if (!path.starts_with(step))
    return std::nullopt;
  index_t number = 0;
  const char *first = path.data() + step.size(), *last = path.data() + path.size();
  if (std::from_chars(first, last, number).ec != std::errc{})
    return std::nullopt;
  return number;
}

}  // namespace detail

}  // namespace graft

#endif
