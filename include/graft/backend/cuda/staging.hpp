// SPDX-License-Identifier: MIT
// What an operation needs on the device for its own length: room, and what the host tells it.
#pragma once

#include <graft/backend/cuda/device_view.hpp>
#include <graft/backend/cuda/kernels/dropout_mask.hpp>
#include <graft/backend/cuda/kernels/sequences.hpp>
#include <graft/core/layout.hpp>
#include <graft/core/random.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

namespace graft::detail {

// A matrix, uninitialised.
template <class Device>
class scratch_matrix : public device_view {
 public:
  scratch_matrix(index_t r, index_t c, number_type t)
      : device_view(nullptr, r, c, c, t),
        memory_(static_cast<std::size_t>(r * c) * static_cast<std::size_t>(bytes_of(t))) {
    data = memory_.data();
  }
  float* floats() const { return static_cast<float*>(data); }
  // Of floats, in their order, once they are there.
  double sum() const {
    std::vector<float> all(static_cast<std::size_t>(size()));
    Device::download(all.data(), data, all.size() * sizeof(float));
    return std::accumulate(all.begin(), all.end(), 0.0);
  }

 private:
  typename Device::temporary memory_;
};

// The host's values.
template <class Device, class U>
class staged_values {
 public:
  explicit staged_values(std::span<const U> values, bool often = false)
      : memory_(values.data(), values.size_bytes(), often) {}
  explicit staged_values(const std::vector<U>& values, bool often = false)
      : staged_values(std::span<const U>(values), often) {}
  // make() of other values, staged.
  template <class V, class F>
  staged_values(const staged_values<Device, V>& of, const F& make) : memory_(of.memory(), make) {}
  explicit staged_values(const U& value) : staged_values(std::span<const U>(&value, 1)) {}
  const U* data() const { return static_cast<const U*>(memory_.data()); }
  const typename Device::staged& memory() const { return memory_; }

 private:
  typename Device::staged memory_;
};

// What dropout draws with.
template <class Device>
class staged_mask {
 public:
  staged_mask(float rate, const dropout_key& k)
      : rate_(rate), key_(kernels::mask_key{{k.key[0], k.key[1]}, k.place}) {}
  kernels::dropout_mask mask() const { return {rate_, key_.data()}; }

 private:
  float rate_;
  staged_values<Device, kernels::mask_key> key_;
};

// The sequence of each row, every sequence having `more` rows in front.
inline std::vector<std::int32_t> sequence_of_rows(const layout& rows, index_t more = 0) {
  std::vector<std::int32_t> of;
  of.reserve(static_cast<std::size_t>(rows.rows() + more * rows.sequences()));
  for (index_t s = 0; s < rows.sequences(); ++s)
    of.insert(of.end(), static_cast<std::size_t>(rows.length(s) + more),
              static_cast<std::int32_t>(s));
  return of;
}

// What adds rows to entries of a table, in a fixed order: the rows of each entry as a run of `order`, run r
// being of entry ids[r] and from starts[r] on, up to the next. There are as many runs as rows, the last ones
// empty: the launch is the same for all ids.
struct id_runs {
  std::vector<std::int32_t> ids, starts, order;

  explicit id_runs(std::span<const std::int32_t> entry_of_row) : order(entry_of_row.size()) {
    const auto entry = [&](std::int32_t row) { return entry_of_row[static_cast<std::size_t>(row)]; };
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::int32_t a, std::int32_t b) { return entry(a) < entry(b); });
    for (std::size_t i = 0; i < order.size(); ++i)
      if (ids.empty() || ids.back() != entry(order[i])) {
        ids.push_back(entry(order[i]));
        starts.push_back(static_cast<std::int32_t>(i));
      }
    ids.resize(order.size());
    starts.resize(order.size() + 1, static_cast<std::int32_t>(order.size()));
  }
};

// The rows of every sequence in tiles of at most `height`, to meet the sequence of `others` with the same
// number. How many entries there are depends on the numbers of rows and sequences alone; those that are
// not needed come last.
inline std::vector<kernels::row_tile> tiles_of_rows(const layout& rows, const layout& others,
                                                    index_t height) {
  const index_t most = (rows.rows() + height - 1) / height + rows.sequences();
  std::vector<kernels::row_tile> tiles;
  tiles.reserve(static_cast<std::size_t>(most));
  for (index_t s = 0; s < rows.sequences(); ++s)
    for (index_t first = 0; first < rows.length(s); first += height)
      tiles.push_back({static_cast<std::int32_t>(rows.first(s) + first),
                       static_cast<std::int32_t>(std::min(height, rows.length(s) - first)),
                       static_cast<std::int32_t>(first), static_cast<std::int32_t>(others.first(s)),
                       static_cast<std::int32_t>(others.length(s))});
  tiles.resize(static_cast<std::size_t>(most));
  return tiles;
}

// How rows fall into sequences.
template <class Device>
class staged_rows {
 public:
  explicit staged_rows(const layout& rows)
      : offsets_(rows.offsets, true), of_(offsets_, [&] { return sequence_of_rows(rows); }) {}
  kernels::sequence_map map() const { return {offsets_.data(), of_.data()}; }

 private:
  staged_values<Device, index_t> offsets_;
  staged_values<Device, std::int32_t> of_;
};

}  // namespace graft::detail
