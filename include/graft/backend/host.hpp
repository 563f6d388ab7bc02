// SPDX-License-Identifier: MIT
// Storage in the memory of the processor: a workspace, tensors that live in it, parameters, and
// frozen weights. Shared by the backends that compute on the CPU.
#pragma once

#include <graft/core/view.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace graft {

// Memory for the tensors of a step. Room is handed out at the lowest free address of large chunks and
// joined again when it comes back, so that a warm step allocates nothing and a tensor's memory is
// free the moment nobody holds it. A workspace outlives its tensors (declare it before the caches that
// hold them); one thread at a time may use them.
class host_workspace {
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
  static constexpr std::size_t alignment = 64;

  host_workspace() = default;
  host_workspace(const host_workspace&) = delete;
  host_workspace& operator=(const host_workspace&) = delete;
  ~host_workspace() {
    for (chunk& c : chunks_)
      std::free(c.data);
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
    friend class host_workspace;
    lease(host_workspace* home, std::size_t slot) : home_(home), slot_(slot) {}
    host_workspace* home_ = nullptr;
    std::size_t slot_ = 0;
  };

  // `bytes` of uninitialised memory, aligned to 64.
  std::pair<void*, lease> take(std::size_t bytes) {
    bytes = (std::max<std::size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
    for (std::size_t c = 0; c < chunks_.size(); ++c)
      for (std::size_t r = 0; r < chunks_[c].free.size(); ++r)
        if (chunks_[c].free[r].bytes >= bytes)
          return cut(c, r, bytes);
    add_chunk(bytes);
    return cut(chunks_.size() - 1, 0, bytes);
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
    auto* data = static_cast<std::byte*>(std::aligned_alloc(alignment, size));
    if (!data)
      throw std::bad_alloc();
    chunks_.push_back({data, size, {}});
    chunks_.back().free.reserve(256);
    chunks_.back().free.push_back({0, size});
  }

  std::vector<chunk> chunks_;
  std::vector<hold> holds_;
  std::vector<std::size_t> unused_;
  std::size_t in_use_ = 0, peak_ = 0;
};

// A matrix of a step: a view with a share in the workspace that holds it. Copies share; nobody writes
// into a tensor that may have another holder (see `unique`). Without a share it is a plain view over
// memory that somebody else keeps alive.
template <class T>
struct host_tensor : matrix_view<T> {
  host_workspace::lease memory;

  host_tensor() = default;
  host_tensor(matrix_view<T> v) : matrix_view<T>(v) {}
  host_tensor(matrix_view<T> v, host_workspace::lease m)
      : matrix_view<T>(v), memory(std::move(m)) {}

  bool unique() const { return memory.unique(); }
  host_tensor columns(index_t from, index_t count) const {
    return {matrix_view<T>::columns(from, count), memory};
  }
  host_tensor rows_of(index_t from, index_t count) const {
    return {matrix_view<T>::rows_of(from, count), memory};
  }
};

// A trained matrix, contiguous. Copies share their values. A model's parameters are pieces of its one
// flat store; a layer made by hand owns its own, zero at first.
template <class T>
struct host_parameter {
  using value_type = T;
  T* data = nullptr;
  index_t rows = 0;
  index_t cols = 0;
  std::shared_ptr<void> owner;

  host_parameter() = default;
  host_parameter(index_t r, index_t c) : rows(r), cols(c) {
    if (r * c == 0)
      return;
    owner.reset(std::calloc(static_cast<std::size_t>(r * c), sizeof(T)), std::free);
    if (!owner)
      throw std::bad_alloc();
    data = static_cast<T*>(owner.get());
  }
  host_parameter(T* d, index_t r, index_t c, std::shared_ptr<void> o)
      : data(d), rows(r), cols(c), owner(std::move(o)) {}

  index_t size() const { return rows * cols; }
  T& operator()(index_t i, index_t j) const { return data[i * cols + j]; }
  operator matrix_view<T>() const { return {data, rows, cols}; }
  operator matrix_view<const T>() const { return {data, rows, cols}; }
};

// A matrix that is never trained: it may lie in a file that is mapped read-only, shared by any number
// of models. Sizes may be known before the values are.
template <class T>
struct host_weight {
  using value_type = T;
  const T* data = nullptr;
  index_t rows = 0;
  index_t cols = 0;
  std::shared_ptr<const void> owner;

  host_weight() = default;
  host_weight(index_t r, index_t c) : rows(r), cols(c) {}
  host_weight(const T* d, index_t r, index_t c, std::shared_ptr<const void> o)
      : data(d), rows(r), cols(c), owner(std::move(o)) {}
  host_weight(const host_parameter<T>& p)
      : data(p.data), rows(p.rows), cols(p.cols), owner(p.owner) {}

  index_t size() const { return rows * cols; }
  const T& operator()(index_t i, index_t j) const { return data[i * cols + j]; }
  operator matrix_view<const T>() const { return {data, rows, cols}; }
};

// The three kinds of storage and how to make a tensor: what both host backends have in common.
template <class T>
struct host {
  using scalar = T;
  using workspace = host_workspace;
  using tensor = host_tensor<T>;
  using parameter = host_parameter<T>;
  using frozen_weight = host_weight<T>;
  using view = matrix_view<T>;
  using const_view = matrix_view<const T>;

  // An uninitialised [rows, cols].
  static tensor make(workspace& w, index_t rows, index_t cols) {
    auto [data, lease] = w.take(static_cast<std::size_t>(rows * cols) * sizeof(T));
    return {view{static_cast<T*>(data), rows, cols}, std::move(lease)};
  }
};

}  // namespace graft
