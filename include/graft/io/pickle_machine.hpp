// SPDX-License-Identifier: MIT
// The machine under a pickle: its bytes, its stack and its memo, and what may lie on them.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/view.hpp>
#include <graft/io/dtype.hpp>
#include <graft/io/json.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace graft {

// A tensor over a storage of the file, element [i, j, …] at offset + i · strides[0] + j ·
// strides[1] …; every element lies within the storage.
struct pickled_tensor {
  dtype type = dtype::f32;
  std::span<const std::byte> storage;
  std::size_t offset = 0;  // in elements
  std::vector<index_t> shape, strides;
};

inline constexpr std::size_t pickle_bytes_limit = std::size_t{1} << 24;
inline constexpr std::size_t pickle_values_limit = 1'000'000;
inline constexpr std::size_t tensor_rank_limit = 8;

namespace detail {

// The only names that a pickle may ask for.
enum class torch_global { ordered_dict, rebuild_tensor, rebuild_parameter, storage };
struct known_global {
  std::string_view module, name;
  torch_global what;
  dtype type = dtype::f32;  // of a storage
};
inline constexpr std::array<known_global, 13> known_globals{{
    {"collections", "OrderedDict", torch_global::ordered_dict},
    {"torch._utils", "_rebuild_tensor_v2", torch_global::rebuild_tensor},
    {"torch._utils", "_rebuild_parameter", torch_global::rebuild_parameter},
    {"torch", "DoubleStorage", torch_global::storage, dtype::f64},
    {"torch", "FloatStorage", torch_global::storage, dtype::f32},
    {"torch", "HalfStorage", torch_global::storage, dtype::f16},
    {"torch", "BFloat16Storage", torch_global::storage, dtype::bf16},
    {"torch", "LongStorage", torch_global::storage, dtype::i64},
    {"torch", "IntStorage", torch_global::storage, dtype::i32},
    {"torch", "ShortStorage", torch_global::storage, dtype::i16},
    {"torch", "CharStorage", torch_global::storage, dtype::i8},
    {"torch", "ByteStorage", torch_global::storage, dtype::u8},
    {"torch", "BoolStorage", torch_global::storage, dtype::boolean},
}};

// Values refer to each other by their number, so nothing is nested in memory; each takes a byte of
// the pickle or more, and there are at most pickle_values_limit of them. Errors name the opcode's
// place.
class pickle_machine {
 public:
  pickle_machine(std::string_view text, const std::string& file) : text_(text), file_(file) {}

 protected:
  using number = std::uint32_t;  // of a value
  struct none {};
  struct tuple {
    std::vector<number> items;
  };
  struct dict {
    std::vector<std::pair<number, number>> items;
  };
  struct storage {
    dtype type;
    std::span<const std::byte> bytes;
  };
  using value = std::variant<none, bool, std::int64_t, std::string_view, tuple, dict,
                             const known_global*, storage, pickled_tensor>;

  [[noreturn]] void refuse(const std::string& what) const {
    throw checkpoint_error(file_ + ", byte " + std::to_string(opcode_at_) + ": " + what);
  }

  template <class T>
  const T* get_if(number n) const {
    return std::get_if<T>(&values_[n]);
  }
  template <class T>
  const T& get(number n, const char* what) const {
    const T* found = get_if<T>(n);
    if (!found)
      refuse("expected " + std::string(what) + ", found something else");
    return *found;
  }
  std::size_t count(number n, const char* what) const {
    const auto found = get<std::int64_t>(n, what);
    if (found < 0)
      refuse("expected " + std::string(what) + " of at least 0, found " + std::to_string(found));
    return static_cast<std::size_t>(found);
  }

  void push(value v) {
    if (values_.size() >= pickle_values_limit)
      refuse("expected at most " + std::to_string(pickle_values_limit) + " values, found more");
    stack_.push_back(static_cast<number>(values_.size()));
    values_.push_back(std::move(v));
  }
  // What a MARK is under belongs to those after it.
  number top() const {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back()))
      refuse("expected a value on the stack, found none");
    return stack_.back();
  }
  number pop() {
    const number n = top();
    stack_.pop_back();
    return n;
  }
  // The last n values, or all since the last MARK, which goes with them.
  std::vector<number> pop_last(std::size_t n) {
    std::vector<number> items(n);
    for (std::size_t i = n; i > 0; --i)
      items[i - 1] = pop();
    return items;
  }
  std::vector<number> pop_marked() {
    if (marks_.empty())
      refuse("expected a MARK before this, found none");
    auto items = pop_last(stack_.size() - marks_.back());
    marks_.pop_back();
    return items;
  }

  std::string_view take(std::size_t size) {
    if (size > text_.size() - at_)
      refuse("expected " + std::to_string(size) + " more bytes of the pickle, found " +
             std::to_string(text_.size() - at_));
    at_ += size;
    return text_.substr(at_ - size, size);
  }
  std::uint32_t unsigned_number(std::size_t bytes) {
    std::uint32_t n = 0;
    const std::string_view from = take(bytes);
    for (std::size_t i = 0; i < bytes; ++i)
      n |= static_cast<std::uint32_t>(static_cast<unsigned char>(from[i])) << (8 * i);
    return n;
  }
  // Two's complement, as long as the byte before says.
  std::int64_t long_number() {
    const std::size_t bytes = unsigned_number(1);
    if (bytes > 8)
      refuse("expected a number of at most 8 bytes, found " + std::to_string(bytes));
    std::uint64_t n = 0;
    const std::string_view from = take(bytes);
    for (std::size_t i = 0; i < bytes; ++i)
      n |= std::uint64_t{static_cast<unsigned char>(from[i])} << (8 * i);
    if (bytes > 0 && bytes < 8 && (n >> (8 * bytes - 1)) != 0)
      n |= ~std::uint64_t{0} << (8 * bytes);
    return static_cast<std::int64_t>(n);
  }
  std::string_view line() {
    const std::size_t end = text_.find('\n', at_);
    if (end == std::string_view::npos)
      refuse("expected a line, found the end of the pickle");
    const auto found = take(end - at_);
    take(1);
    return found;
  }

  void recall(std::uint32_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end())
      refuse("expected a value that was stored before, found none with the number " +
             std::to_string(key));
    stack_.push_back(found->second);
  }
  template <class T>
  T* change_if(number n) {
    return std::get_if<T>(&values_[n]);
  }
  void mark() { marks_.push_back(stack_.size()); }
  void remember(std::uint32_t key) { memo_[key] = top(); }

  // The next opcode, whose place errors name from now on.
  char opcode() {
    opcode_at_ = at_;
    return take(1)[0];
  }
  bool at_end() const { return marks_.empty() && at_ == text_.size(); }
  bool empty() const { return stack_.empty(); }
  std::size_t size() const { return text_.size(); }

 private:
  std::string_view text_;
  const std::string& file_;
  std::size_t at_ = 0, opcode_at_ = 0;
  std::vector<value> values_;
  std::vector<number> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint32_t, number> memo_;
};

}  // namespace detail

}  // namespace graft
