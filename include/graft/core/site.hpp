// SPDX-License-Identifier: MIT
// Names of places: tags for the sites of a model, whose occupant a tuning may change, and for the
// parts of a layer. A tag that derives from another is selected with it.
#pragma once

#include <concepts>
#include <string_view>

namespace graft {

namespace at {

// The root of all sites. A tag's name is its step in the path of a checkpoint entry, its label what
// recipes are called by in files.
struct everything_t {
  static constexpr std::string_view label = "everything";
  static constexpr std::string_view name = "";
};
inline constexpr everything_t everything{};

// A Transformer layer, and the two sub-layers in it.
struct layer_t : everything_t {
  static constexpr std::string_view label = "layer";
  static constexpr std::string_view name = "layer";
};
struct attention_t : everything_t {
  static constexpr std::string_view label = "attention";
  static constexpr std::string_view name = "attention";
};
struct feed_forward_t : everything_t {
  static constexpr std::string_view label = "feed_forward";
  static constexpr std::string_view name = "feed_forward";
};
inline constexpr layer_t layer{};
inline constexpr attention_t attention{};
inline constexpr feed_forward_t feed_forward{};

// The dense maps of a Transformer layer; `projection` are the four of attention.
struct linear_t : everything_t {
  static constexpr std::string_view label = "linear";
};
struct projection_t : linear_t {
  static constexpr std::string_view label = "projection";
};
struct query_t : projection_t {
  static constexpr std::string_view label = "query";
  static constexpr std::string_view name = "query";
};
struct key_t : projection_t {
  static constexpr std::string_view label = "key";
  static constexpr std::string_view name = "key";
};
struct value_t : projection_t {
  static constexpr std::string_view label = "value";
  static constexpr std::string_view name = "value";
};
struct attention_output_t : projection_t {
  static constexpr std::string_view label = "attention_output";
  static constexpr std::string_view name = "output";
};
struct feed_forward_input_t : linear_t {
  static constexpr std::string_view label = "feed_forward_input";
  static constexpr std::string_view name = "input";
};
struct feed_forward_output_t : linear_t {
  static constexpr std::string_view label = "feed_forward_output";
  static constexpr std::string_view name = "output";
};
// Where keys and values may be added to those of the tokens.
struct memory_t : everything_t {
  static constexpr std::string_view label = "memory";
  static constexpr std::string_view name = "memory";
};
inline constexpr memory_t memory{};
inline constexpr linear_t linear{};
inline constexpr projection_t projection{};
inline constexpr query_t query{};
inline constexpr key_t key{};
inline constexpr value_t value{};
inline constexpr attention_output_t attention_output{};
inline constexpr feed_forward_input_t feed_forward_input{};
inline constexpr feed_forward_output_t feed_forward_output{};

// The joins, where a sub-layer's output meets the residual.
struct join_t : everything_t {
  static constexpr std::string_view label = "join";
};
struct attention_join_t : join_t {
  static constexpr std::string_view label = "attention_join";
  static constexpr std::string_view name = "attention_join";
};
struct feed_forward_join_t : join_t {
  static constexpr std::string_view label = "feed_forward_join";
  static constexpr std::string_view name = "feed_forward_join";
};
inline constexpr join_t join{};
inline constexpr attention_join_t attention_join{};
inline constexpr feed_forward_join_t feed_forward_join{};

// Normalisations.
struct norm_t : everything_t {
  static constexpr std::string_view label = "norm";
};
struct embedding_norm_t : norm_t {
  static constexpr std::string_view label = "embedding_norm";
  static constexpr std::string_view name = "norm";
};
struct attention_norm_t : norm_t {
  static constexpr std::string_view label = "attention_norm";
  static constexpr std::string_view name = "norm";
};
struct feed_forward_norm_t : norm_t {
  static constexpr std::string_view label = "feed_forward_norm";
  static constexpr std::string_view name = "norm";
};
inline constexpr norm_t norm{};
inline constexpr embedding_norm_t embedding_norm{};
inline constexpr attention_norm_t attention_norm{};
inline constexpr feed_forward_norm_t feed_forward_norm{};

// Embeddings: the whole, and its tables.
struct embeddings_t : everything_t {
  static constexpr std::string_view label = "embeddings";
  static constexpr std::string_view name = "embeddings";
};
struct embedding_table_t : everything_t {
  static constexpr std::string_view label = "embedding_table";
};
struct word_t : embedding_table_t {
  static constexpr std::string_view label = "word";
  static constexpr std::string_view name = "word";
};
struct position_t : embedding_table_t {
  static constexpr std::string_view label = "position";
  static constexpr std::string_view name = "position";
};
struct token_type_t : embedding_table_t {
  static constexpr std::string_view label = "token_type";
  static constexpr std::string_view name = "token_type";
};
inline constexpr embeddings_t embeddings{};
inline constexpr embedding_table_t embedding_table{};
inline constexpr word_t word{};
inline constexpr position_t position{};
inline constexpr token_type_t token_type{};

// What stands on the encoder.
struct pooler_t : everything_t {
  static constexpr std::string_view label = "pooler";
  static constexpr std::string_view name = "pooler";
};
struct head_t : everything_t {
  static constexpr std::string_view label = "head";
  static constexpr std::string_view name = "head";
};
struct head_dense_t : everything_t {
  static constexpr std::string_view label = "head_dense";
  static constexpr std::string_view name = "dense";
};
struct head_norm_t : norm_t {
  static constexpr std::string_view label = "head_norm";
  static constexpr std::string_view name = "norm";
};
struct classifier_t : everything_t {
  static constexpr std::string_view label = "classifier";
  static constexpr std::string_view name = "classifier";
};
inline constexpr pooler_t pooler{};
inline constexpr head_t head{};
inline constexpr head_dense_t head_dense{};
inline constexpr head_norm_t head_norm{};
inline constexpr classifier_t classifier{};

// Parts that are no sites. `decays` says whether weight decay acts on a parameter by default.
struct base_t {
  static constexpr std::string_view name = "";
};
struct encoder_t {
  static constexpr std::string_view name = "";
};
struct weight_t {
  static constexpr std::string_view name = "weight";
  static constexpr bool decays = true;
};
struct bias_t {
  static constexpr std::string_view name = "bias";
  static constexpr bool decays = false;
};
struct norm_weight_t {
  static constexpr std::string_view name = "weight";
  static constexpr bool decays = false;
};
inline constexpr base_t base{};
inline constexpr encoder_t encoder{};
inline constexpr weight_t weight{};
inline constexpr bias_t bias{};
inline constexpr norm_weight_t norm_weight{};

}  // namespace at

template <class S>
concept site = std::derived_from<S, at::everything_t>;

// Several sites at once: at::query | at::value.
template <site... Tags>
struct selection {
  template <class S>
  static constexpr bool selects = (std::derived_from<S, Tags> || ...);
};

namespace at {

// Beside the tags, so that it is found wherever they are named.
template <site A, site B>
consteval selection<A, B> operator|(A, B) {
  return {};
}
template <site... A, site B>
consteval selection<A..., B> operator|(selection<A...>, B) {
  return {};
}

}  // namespace at

}  // namespace graft
