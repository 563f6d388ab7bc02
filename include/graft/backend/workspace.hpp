// SPDX-License-Identifier: MIT
// Memory that is handed out and taken back without asking the system.
#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <map>
#include <memory>
#include <typeindex>
#include <utility>
#include <vector>

namespace graft {

// Memory for the tensors of a step. Room is handed out at the lowest free address of large chunks and
// joined again when it comes back, so that a warm step allocates nothing and a tensor's memory is
// free the moment nobody holds it. A workspace outlives its tensors (declare it before the caches that
// hold them); one thread at a time may use them.
//
// Memory::allocate(bytes), for multiples of Memory::alignment, throws or returns memory that
// Memory::release takes.
template <class Memory>
class workspace_over {
  struct hold {
    std::size_t chunk = 0, offset = 0, bytes = 0;
    int holders = 0;
  };
  struct range {
    std::size_t offset, bytes;
  };
  struct chunk {
    std::byte* data;
    std::size_t bytes;
    std::vector<range> free;  // by offset, never adjacent
  };

 public:
  static constexpr std::size_t alignment = Memory::alignment;

  workspace_over() = default;
  workspace_over(const workspace_over&) = delete;
  workspace_over& operator=(const workspace_over&) = delete;
  ~workspace_over() {
    for (chunk& c : chunks_)
      Memory::release(c.data);
  }

  // A share in a piece of the workspace; the piece is free again when the last share is gone.
  class lease {
   public:
    lease() = default;
    lease(const lease& other) : home_(other.home_), slot_(other.slot_) {
      if (home_)
        ++home_->holds_[slot_].holders;
    }
    lease(lease&& other) noexcept
        : home_(std::exchange(other.home_, nullptr)), slot_(other.slot_) {}
    lease& operator=(lease other) noexcept {
      std::swap(home_, other.home_);
      std::swap(slot_, other.slot_);
      return *this;
    }
    ~lease() {
      if (home_ && --home_->holds_[slot_].holders == 0)
        home_->give_back(slot_);
    }
    bool unique() const { return home_ && home_->holds_[slot_].holders == 1; }

   private:
    friend class workspace_over;
    lease(workspace_over* home, std::size_t slot) : home_(home), slot_(slot) {}
    workspace_over* home_ = nullptr;
    std::size_t slot_ = 0;
  };

  // `bytes` of uninitialised memory, aligned.
  std::pair<void*, lease> take(std::size_t bytes) {
    bytes = (std::max<std::size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
    for (std::size_t c = 0; c < chunks_.size(); ++c)
      for (std::size_t r = 0; r < chunks_[c].free.size(); ++r)
        if (chunks_[c].free[r].bytes >= bytes)
          return cut(c, r, bytes);
    add_chunk(bytes);
    return cut(chunks_.size() - 1, 0, bytes);
  }

  // Of another memory, for the same steps. It lives as long as this one.
  template <class Other>
  Other& beside() {
    auto& found = beside_[typeid(Other)];
    if (!found)
      found = std::make_shared<Other>();
    return *static_cast<Other*>(found.get());
  }

  std::size_t bytes_in_use() const { return in_use_; }
  std::size_t peak_bytes() const { return peak_; }
  std::size_t reserved_bytes() const {
    std::size_t n = 0;
    for (const chunk& c : chunks_)
      n += c.bytes;
    return n;
  }
  void reset_peak() { peak_ = in_use_; }

 private:
  static constexpr std::size_t least_chunk = std::size_t{1} << 24;

  std::pair<void*, lease> cut(std::size_t c, std::size_t r, std::size_t bytes) {
    chunk& from = chunks_[c];
    const std::size_t offset = from.free[r].offset;
    from.free[r].offset += bytes;
    from.free[r].bytes -= bytes;
    if (from.free[r].bytes == 0)
      from.free.erase(from.free.begin() + static_cast<std::ptrdiff_t>(r));
    std::size_t slot;
    if (unused_.empty()) {
      slot = holds_.size();
      holds_.push_back({});
      unused_.reserve(holds_.capacity());
    } else {
      slot = unused_.back();
      unused_.pop_back();
    }
    holds_[slot] = {c, offset, bytes, 1};
    in_use_ += bytes;
    peak_ = std::max(peak_, in_use_);
    return {from.data + offset, lease(this, slot)};
  }

  void give_back(std::size_t slot) {
    const hold h = holds_[slot];
    unused_.push_back(slot);
    in_use_ -= h.bytes;
    auto& free = chunks_[h.chunk].free;
    auto after = std::lower_bound(free.begin(), free.end(), h.offset,
                                  [](const range& r, std::size_t o) { return r.offset < o; });
    const bool joins_next = after != free.end() && h.offset + h.bytes == after->offset;
    if (after != free.begin() && std::prev(after)->offset + std::prev(after)->bytes == h.offset) {
      auto before = std::prev(after);
      before->bytes += h.bytes;
      if (joins_next) {
        before->bytes += after->bytes;
        free.erase(after);
      }
    } else if (joins_next) {
      after->offset = h.offset;
      after->bytes += h.bytes;
    } else {
      free.insert(after, {h.offset, h.bytes});
    }
  }

  void add_chunk(std::size_t bytes) {
    std::size_t size = std::max({bytes, least_chunk, reserved_bytes() / 2});
    size = (size + alignment - 1) / alignment * alignment;
    auto* data = static_cast<std::byte*>(Memory::allocate(size));
    chunks_.push_back({data, size, {}});
    chunks_.back().free.reserve(256);
    chunks_.back().free.push_back({0, size});
  }

  std::vector<chunk> chunks_;
  std::vector<hold> holds_;
  std::vector<std::size_t> unused_;
  std::map<std::type_index, std::shared_ptr<void>> beside_;
  std::size_t in_use_ = 0, peak_ = 0;
};

}  // namespace graft
