// SPDX-License-Identifier: MIT
// The pool of threads: every piece once, one caller at a time, and nobody waited for who has begun nothing.
#include <graft/backend/thread_pool.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <set>
#include <thread>
#include <vector>

#include "support/catch.hpp"

namespace graft_test::pool {

using namespace graft;
using graft::index_t;

// With n threads while it lives.
struct with_threads {
  index_t before = threads();
  explicit with_threads(index_t n) { set_threads(n); }
  ~with_threads() { set_threads(before); }
};

// How often each of n blocks was done; no thread had a number of `most` or more.
std::vector<int> times_done(index_t n, index_t work, index_t most) {
  std::vector<std::atomic<int>> times(static_cast<std::size_t>(n));
  std::atomic<bool> fine{true};
  detail::for_each_task(n, work, [&](index_t b, index_t thread) {
    ++times[static_cast<std::size_t>(b)];
    if (n == 7)  // long enough for every thread to come
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    if (thread < 0 || thread >= most)
      fine = false;
  });
  CHECK(fine);
  return {times.begin(), times.end()};
}

TEST_CASE("every block is done once, however many threads there are") {
  for (const index_t all : {1, 2, 5, 3})
    for (const index_t n : {0, 1, 2, 7, 100, 1001}) {
      const with_threads some(all);
      for (int again = 0; again < 20; ++again)
        CHECK(times_done(n, detail::worth_threads, all) == std::vector<int>(static_cast<std::size_t>(n), 1));
    }
}

TEST_CASE("work is shared, unless it is small") {
  const with_threads two(2);
  std::set<std::thread::id> seen;
  std::atomic<bool> other{false};
  const auto caller = std::this_thread::get_id();
  // The caller holds its first block until somebody else has begun one, and gives up after a while.
  const auto share = [&](index_t work) {
    other = false;
    detail::for_each_block(2, work, [&](index_t) {
      if (std::this_thread::get_id() != caller)
        other = true;
      const auto end = std::chrono::steady_clock::now() +
                       std::chrono::milliseconds(work < detail::worth_threads ? 200 : 5000);
      while (!other && std::chrono::steady_clock::now() < end)
        std::this_thread::yield();
    });
    return other.load();
  };
  CHECK(share(detail::worth_threads));
  CHECK_FALSE(share(detail::worth_threads - 1));
}

TEST_CASE("a loop within a loop runs on its caller's thread") {
  const with_threads two(2);
  std::atomic<int> strangers{0}, done{0};
  detail::for_each_block(8, detail::worth_threads, [&](index_t) {
    const auto here = std::this_thread::get_id();
    detail::for_each_block(8, detail::worth_threads, [&](index_t) {
      strangers += std::this_thread::get_id() != here;
      ++done;
    });
  });
  CHECK(strangers == 0);
  CHECK(done == 64);
}

TEST_CASE("of several callers one has the pool, and all get their work done") {
  const with_threads three(3);
  std::atomic<int> at_once{0}, most{0};
  std::vector<std::thread> callers;
  std::vector<int> wrong(4);
  for (std::size_t c = 0; c < wrong.size(); ++c)
    callers.emplace_back([&, c] {
      for (int again = 0; again < 300; ++again) {
        std::vector<int> times(64);
        detail::for_each_block(64, detail::worth_threads, [&](index_t b) {
          const int now = ++at_once;
          for (int before = most; before < now && !most.compare_exchange_weak(before, now);) {
          }
          ++times[static_cast<std::size_t>(b)];
          --at_once;
        });
        for (const int t : times)
          wrong[c] += t != 1;
      }
    });
  for (std::thread& t : callers)
    t.join();
  CHECK(wrong == std::vector<int>(4));
  CHECK(most <= 4 + 2);  // the callers, and the pool's two
}

TEST_CASE("a thread that never gets to run is not waited for") {
  const with_threads two(2);
  detail::for_each_block(2, detail::worth_threads, [](index_t) {});  // there is a worker now
  std::atomic<bool> held{false}, release{false};
  // Another caller's worker is held within a block; this caller goes on alone meanwhile.
  std::thread other([&] {
    const auto caller = std::this_thread::get_id();
    detail::for_each_block(2, detail::worth_threads, [&](index_t) {
      if (std::this_thread::get_id() != caller)
        held = true;
      while (!release)
        std::this_thread::yield();
    });
  });
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!held && std::chrono::steady_clock::now() < end)
    std::this_thread::yield();
  CHECK(held);
  CHECK(times_done(50, detail::worth_threads, 2) == std::vector<int>(50, 1));
  release = true;
  other.join();
}

}  // namespace graft_test::pool
