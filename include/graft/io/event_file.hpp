// SPDX-License-Identifier: MIT
// Scalars as TensorBoard shows them: an event file, which is protocol buffers (Event, in
// tensorflow/core/util/event.proto) in frames (TFRecord). Only what scalars need of the two.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/io/file.hpp>

#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>

namespace graft {

// Seconds since 1970, UTC.
inline double unix_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

namespace detail {

// The remainder of each byte by Castagnoli's polynomial, bits reversed.
inline constexpr std::array<std::uint32_t, 256> crc32c_table = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t remainder = byte;
    for (int bit = 0; bit < 8; ++bit)
      remainder = remainder >> 1 ^ (remainder % 2 == 1 ? 0x82f63b78u : 0u);
    table[byte] = remainder;
  }
  return table;
}();

// CRC-32C.  RFC 3720, 12.1 and B.4.
constexpr std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t crc = 0xffffffffu;
  for (const char c : bytes)
    crc = crc >> 8 ^ crc32c_table[(crc ^ static_cast<unsigned char>(c)) & 0xffu];
  return ~crc;
}

// What a field begins with: its number and how its value is written.
enum class wire : unsigned { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

GRAFT_PLAIN void append_bytes(std::string& out, unsigned field, std::string_view bytes);

// Event{1: wall_time, 2: step}, to which the caller appends what happened. A step of 0 is left out,
// as it is the default.
GRAFT_PLAIN std::string event_at(double wall_time, std::int64_t step);

// Summary{1: Value{1: tag, 2: simple_value}}
GRAFT_PLAIN std::string scalar_summary(std::string_view tag, float value);

// length (8 bytes), its check sum (4), the data, their check sum (4). A check sum c is stored as
// (c rotated right by 15) + 0xa282ead8, so that data may hold check sums of their own.
GRAFT_PLAIN std::string framed(std::string_view data);

}  // namespace detail

// A new event file in `folder`, which is made if need be. TensorBoard takes the folder for the run,
// whatever the number of files: a training that goes on after a stop opens one more.
class event_file {
 public:
  // `opened` is when, in seconds since 1970: a part of the file's name.
  explicit event_file(const std::filesystem::path& folder, double opened = unix_time());

  // The point (step, value) of the curve `tag`: UTF-8; the part before a '/' names a group of
  // curves. The value is kept as float; NaN and infinity are fine. The point is in the file, for
  // others to read, when this returns; after an error the file's end is in an unknown state.
  void scalar(std::string_view tag, std::int64_t step, double value,
              double wall_time = unix_time()) {
    std::string event = detail::event_at(wall_time, step);
    detail::append_bytes(event, 5, detail::scalar_summary(tag, static_cast<float>(value)));
    write(event);
  }

  const std::filesystem::path& path() const { return path_; }

 private:
  void write(std::string_view event) {
    const std::string frame = detail::framed(event);
    if (std::fwrite(frame.data(), 1, frame.size(), file_.get()) != frame.size() ||
        std::fflush(file_.get()) != 0)
      detail::throw_errno("write", path_);
  }

  std::filesystem::path path_;
  detail::unique_file file_;
};

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

namespace detail {

// Numbers as protocol buffers and frames have them: little-endian, or 7 bits at a time, the lowest
// first, with the top bit on all but the last byte.
inline void append_fixed(std::string& out, std::uint64_t number, int bytes) {
  for (int i = 0; i < bytes; ++i)
    out += static_cast<char>(number >> 8 * i & 0xffu);
}

inline void append_varint(std::string& out, std::uint64_t number) {
  for (; number >= 0x80u; number >>= 7)
    out += static_cast<char>((number & 0x7fu) | 0x80u);
  out += static_cast<char>(number);
}

inline void append_key(std::string& out, unsigned field, wire type) {
  append_varint(out, field << 3 | static_cast<unsigned>(type));
}

GRAFT_PLAIN void append_bytes(std::string& out, unsigned field, std::string_view bytes) {
  append_key(out, field, wire::bytes);
  append_varint(out, bytes.size());
  out += bytes;
}

GRAFT_PLAIN std::string event_at(double wall_time, std::int64_t step) {
  std::string event;
  append_key(event, 1, wire::fixed64);
  append_fixed(event, std::bit_cast<std::uint64_t>(wall_time), 8);
  if (step != 0) {
    append_key(event, 2, wire::varint);
    append_varint(event, static_cast<std::uint64_t>(step));
  }
  return event;
}

GRAFT_PLAIN std::string scalar_summary(std::string_view tag, float value) {
  std::string inner;
  append_bytes(inner, 1, tag);
  append_key(inner, 2, wire::fixed32);
  append_fixed(inner, std::bit_cast<std::uint32_t>(value), 4);
  std::string summary;
  append_bytes(summary, 1, inner);
  return summary;
}

GRAFT_PLAIN std::string framed(std::string_view data) {
  const auto append_check_sum = [](std::string& out, std::string_view of) {
    append_fixed(out, std::rotr(crc32c(of), 15) + 0xa282ead8u, 4);
  };
  std::string frame;
  append_fixed(frame, data.size(), 8);
  append_check_sum(frame, frame);
  frame += data;
  append_check_sum(frame, data);
  return frame;
}

}  // namespace detail

GRAFT_PLAIN event_file::event_file(const std::filesystem::path& folder, double opened) {
  create_folder(folder);
  // TensorBoard reads the files of a folder in the order of their names. Another one of this second
  // takes a number.
  char name[64];
  std::snprintf(name, sizeof name, "events.out.tfevents.%010lld.graft",
                static_cast<long long>(opened));
  constexpr int attempts = 1000;
  for (int number = 0; number < attempts && !file_; ++number) {
    path_ = folder / name;
    if (number > 0)
      (path_ += ".") += std::to_string(number);
    file_.reset(std::fopen(path_.string().c_str(), "wbx"));
    if (!file_ && errno != EEXIST)
      break;
  }
  if (!file_)
    detail::throw_errno("write", path_);

  std::string event = detail::event_at(opened, 0);
  detail::append_bytes(event, 3, "brain.Event:2");
  write(event);
}

}  // namespace graft

#endif
