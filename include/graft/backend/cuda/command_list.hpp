// SPDX-License-Identifier: MIT
// What is to be launched, put down: to be done once all is known, and compared with what was done before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>
#include <vector>

namespace graft {

// Calls of functions with a plain argument each, in their order. Two lists are equal when they call the
// same functions with the same bytes.
class command_list {
 public:
  // function(arguments) when its turn comes.
  template <class Arguments>
  void add(void (*function)(const Arguments&), const Arguments& arguments) {
    static_assert(std::is_trivially_copyable_v<Arguments> &&
                  alignof(Arguments) <= alignof(std::max_align_t));
    struct call {
      void (*function)(const Arguments&);
      Arguments arguments;
    };
    constexpr std::size_t size = rounded(sizeof(header) + rounded(sizeof(call)));
    const std::size_t at = bytes_.size();
    bytes_.resize(at + size / sizeof(unit));
    call c{function, arguments};
    without_padding(c);
    const header h{&do_call<call>, size};
    std::memcpy(&bytes_[at], &h, sizeof h);
    std::memcpy(&bytes_[at] + rounded(sizeof h) / sizeof(unit), &c, sizeof c);
    for (std::size_t i = at; i < bytes_.size(); ++i)
      for (const std::uint64_t word : bytes_[i].words)
        hash_ = (hash_ ^ word) * 0x9E3779B97F4A7C15u + (hash_ >> 29);
    ++count_;
  }

  void run() const {
    for (std::size_t at = 0; at < bytes_.size();) {
      header h;
      std::memcpy(&h, &bytes_[at], sizeof h);
      h.done(&bytes_[at] + rounded(sizeof h) / sizeof(unit));
      at += h.size / sizeof(unit);
    }
  }
  void clear() {
    bytes_.clear();
    hash_ = 0;
    count_ = 0;
  }

  bool empty() const { return count_ == 0; }
  std::size_t count() const { return count_; }
  std::uint64_t hash() const { return hash_; }
  friend bool operator==(const command_list& a, const command_list& b) {
    return a.hash_ == b.hash_ && a.bytes_.size() == b.bytes_.size() &&
           (a.bytes_.empty() ||
            std::memcmp(a.bytes_.data(), b.bytes_.data(), a.bytes_.size() * sizeof(unit)) == 0);
  }

 private:
  struct alignas(std::max_align_t) unit {
    std::uint64_t words[sizeof(std::max_align_t) / sizeof(std::uint64_t)];
  };
  struct header {
    void (*done)(const void*);
    std::size_t size;  // with this
  };

  static constexpr std::size_t rounded(std::size_t bytes) {
    return (bytes + sizeof(unit) - 1) / sizeof(unit) * sizeof(unit);
  }
  template <class Call>
  static void do_call(const void* c) {
    const auto* call = static_cast<const Call*>(c);
    call->function(call->arguments);
  }
  // Bytes that belong to no member would make equal calls unlike. (Without the builtin, lists are
  // seldom equal: slower, not wrong.)
  template <class Call>
  static void without_padding([[maybe_unused]] Call& c) {
#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
    __builtin_clear_padding(&c);
#endif
#endif
  }

  std::vector<unit> bytes_;
  std::uint64_t hash_ = 0;
  std::size_t count_ = 0;
};

}  // namespace graft
