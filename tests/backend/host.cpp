// SPDX-License-Identifier: MIT
// The workspace and what lives in it. Counts every allocation of the program.
#include <graft/backend/host.hpp>
#include <graft/core/random.hpp>

#include <cstdint>
#include <cstdlib>
#include <map>
#include <new>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace {
std::size_t allocations = 0;
}

void* operator new(std::size_t bytes) {
  ++allocations;
  if (void* p = std::malloc(bytes ? bytes : 1))
    return p;
  throw std::bad_alloc();
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  ++allocations;
  return std::malloc(bytes ? bytes : 1);
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }

namespace graft_test {

using namespace graft;
using graft::index_t;
using space = host<float>;

TEST_CASE("a workspace hands out aligned memory that does not overlap") {
  host_workspace w;
  auto [a, la] = w.take(1);
  auto [b, lb] = w.take(65);
  auto [c, lc] = w.take(0);
  for (void* p : {a, b, c})
    CHECK(reinterpret_cast<std::uintptr_t>(p) % host_workspace::alignment == 0);
  CHECK(static_cast<std::byte*>(b) - static_cast<std::byte*>(a) == 64);
  CHECK(static_cast<std::byte*>(c) - static_cast<std::byte*>(b) == 128);
  CHECK(w.bytes_in_use() == 64 + 128 + 64);
}

TEST_CASE("a workspace fills the lowest free address that is large enough") {
  host_workspace w;
  auto a = w.take(64), b = w.take(128), c = w.take(64);
  void *first = a.first, *second = b.first;
  a.second = {};
  b.second = {};  // joins the hole before it: 192 bytes
  auto small = w.take(64);
  CHECK(small.first == first);
  auto large = w.take(128);
  CHECK(large.first == second);
  auto beyond = w.take(64);
  CHECK(beyond.first > c.first);
}

TEST_CASE("neighbours join in whatever order they come back") {
  const std::vector<std::vector<int>> orders{{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                             {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  for (const auto& order : orders) {
    host_workspace w;
    std::pair<void*, host_workspace::lease> held[3] = {w.take(64), w.take(64), w.take(64)};
    auto guard = w.take(64);
    void* start = held[0].first;
    for (int i : order)
      held[i].second = {};
    CHECK(w.bytes_in_use() == 64);
    CHECK(w.take(192).first == start);
  }
}

TEST_CASE("copies share memory and the last share gives it back") {
  host_workspace w;
  {
    space::tensor t = space::make(w, 3, 5);
    CHECK(t.unique());
    space::tensor copy = t;
    CHECK_FALSE(t.unique());
    CHECK_FALSE(copy.unique());
    space::tensor slice = copy.columns(1, 2);
    CHECK(slice.data == t.data + 1);
    CHECK(slice.stride == 5);
    copy = {};
    CHECK_FALSE(t.unique());
    t = {};
    CHECK(slice.unique());
    CHECK(w.bytes_in_use() == 64);
    space::tensor moved = std::move(slice);
    CHECK(moved.unique());
    CHECK_FALSE(slice.unique());
    CHECK(w.bytes_in_use() == 64);
  }
  CHECK(w.bytes_in_use() == 0);
}

TEST_CASE("a tensor may be assigned to itself and over another") {
  host_workspace w;
  space::tensor a = space::make(w, 2, 2), b = space::make(w, 4, 4);
  a(1, 1) = 7;
  const space::tensor& same = a;
  a = same;
  CHECK(a.unique());
  CHECK(a(1, 1) == 7);
  b = a;
  CHECK(w.bytes_in_use() == 64);
  CHECK(b(1, 1) == 7);
}

TEST_CASE("a tensor without a share is a plain view") {
  float values[4] = {1, 2, 3, 4};
  const space::tensor t(matrix_view<float>(values, 2, 2));
  CHECK(t(1, 0) == 3);
  CHECK_FALSE(t.unique());
}

TEST_CASE("peak and reserved bytes are counted, and a chunk grows with the request") {
  host_workspace w;
  CHECK(w.reserved_bytes() == 0);
  {
    const auto a = space::make(w, 16, 1), b = space::make(w, 32, 1);
    CHECK(w.peak_bytes() == 192);
  }
  CHECK(w.bytes_in_use() == 0);
  CHECK(w.peak_bytes() == 192);
  w.reset_peak();
  CHECK(w.peak_bytes() == 0);
  const std::size_t reserved = w.reserved_bytes();
  const auto huge = space::make(w, index_t(reserved), 1);  // four times the chunk
  CHECK(w.reserved_bytes() >= 5 * reserved);
  CHECK(w.bytes_in_use() == 4 * reserved);
}

TEST_CASE("a warm workspace allocates nothing") {
  host_workspace w;
  const auto step = [&w] {
    space::tensor held[8];
    for (int round = 0; round < 50; ++round)
      for (index_t i = 0; i < 8; ++i)
        held[(i * 3 + round) % 8] = space::make(w, 1 + (i * 37 + round * 11) % 90, 13);
  };
  step();
  const std::size_t before = allocations, reserved = w.reserved_bytes();
  step();
  CHECK(allocations == before);
  CHECK(w.reserved_bytes() == reserved);
}

TEST_CASE("random taking and giving back agrees with a plain model") {
  random_stream rng(1);
  host_workspace w;
  struct held {
    std::byte* data;
    std::size_t bytes;
    unsigned char mark;
    host_workspace::lease lease;
  };
  std::vector<held> all;
  std::size_t in_use = 0;
  bool intact = true, lowest = true, apart = true;
  std::byte* base = nullptr;
  for (int i = 0; i < 4000; ++i) {
    if (all.empty() || (all.size() < 60 && rng.below(2) == 0)) {
      const std::size_t bytes = 1 + rng.below(5000), room = (bytes + 63) / 64 * 64;
      auto [p, lease] = w.take(bytes);
      auto* data = static_cast<std::byte*>(p);
      base = base ? base : data;
      // All fits into the first chunk: the model takes the first gap between what is held.
      std::map<std::byte*, std::size_t> by_address;
      for (const held& h : all)
        by_address[h.data] = h.bytes;
      std::byte* expected = base;
      for (const auto& [at, size] : by_address) {
        if (at >= expected + room)
          break;
        expected = at + size;
      }
      lowest = lowest && data == expected;
      for (const held& h : all)
        apart = apart && (data + room <= h.data || h.data + h.bytes <= data);
      const auto mark = static_cast<unsigned char>(rng.below(256));
      std::fill_n(data, room, std::byte{mark});
      all.push_back({data, room, mark, std::move(lease)});
      in_use += room;
    } else {
      const std::size_t which = rng.below(all.size());
      const held& h = all[which];
      for (std::size_t b = 0; b < h.bytes; ++b)
        intact = intact && h.data[b] == std::byte{h.mark};
      in_use -= h.bytes;
      std::swap(all[which], all.back());
      all.pop_back();
    }
    CHECK(w.bytes_in_use() == in_use);
  }
  CHECK(intact);
  CHECK(lowest);
  CHECK(apart);
  CHECK(w.reserved_bytes() == std::size_t{1} << 24);
  all.clear();
  CHECK(w.bytes_in_use() == 0);
  CHECK(w.take(w.reserved_bytes()).first == base);  // everything has joined again
}

TEST_CASE("a parameter starts at zero and its copies share their values") {
  host_parameter<float> p(2, 3);
  CHECK(p.size() == 6);
  for (index_t i = 0; i < 6; ++i)
    CHECK(p.data[i] == 0);
  host_parameter<float> copy = p;
  copy(1, 2) = 5;
  CHECK(p(1, 2) == 5);
  const host_weight<float> frozen(p);
  p = {};
  copy = {};
  CHECK(frozen(1, 2) == 5);  // kept alive by the weight
  CHECK(host_parameter<float>(0, 4).data == nullptr);
}

}  // namespace graft_test
