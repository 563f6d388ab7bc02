// SPDX-License-Identifier: MIT
// The threads of the CPU backend: one pool for the whole program.
//
// Whoever has work to share takes part in it, and waits at its end only for those who have begun a piece: a
// thread that is held up by other programs holds up one piece, and one that does not get to run at all nothing.
// (OpenMP's teams wait for every member, at the end of every loop, and spin meanwhile: beside two busy
// compilers training fell from 7500 tokens a second to 435.)
#pragma once

#include <graft/core/plain.hpp>
#include <graft/core/view.hpp>

#include <algorithm>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace graft {

// How many threads the CPU backend computes with, for all callers together: at first OMP_NUM_THREADS, which other
// libraries obey as well, or as many as the process may run at once. Results depend on it in their last bits, and
// on no other circumstance.
GRAFT_PLAIN index_t threads();
GRAFT_PLAIN void set_threads(index_t n);

namespace detail {

// While it lives, libraries that the calling thread uses have one thread, where they ask OpenMP.
class one_thread {
 public:
#ifdef _OPENMP
  one_thread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~one_thread() { omp_set_num_threads(before_); }
#else
  one_thread() = default;
#endif
  one_thread(const one_thread&) = delete;
  one_thread& operator=(const one_thread&) = delete;

 private:
#ifdef _OPENMP
  int before_;
#endif
};

// task(context, from, until, thread): pieces from … until - 1, by thread 0, the caller, or one below `threads`.
using pool_task = void (*)(const void* context, index_t from, index_t until, index_t thread);

// 0 … n - 1 in pieces, by the program's pool. False where another caller has it, or the caller is one of its
// threads.
GRAFT_PLAIN bool run_on_pool(index_t n, index_t piece, index_t threads, pool_task what, const void* context);

// Elements below which a second thread costs more than it brings.
inline constexpr index_t worth_threads = 32768;

// f(b, thread) for b = 0 … n - 1, in any order, thread < threads(); on all threads when `work` elements are
// touched in total, and on the caller's alone where other callers are at work. Libraries that f calls have one
// thread each. f throws nothing.
template <class F>
void for_each_task(index_t n, index_t work, const F& f) {
  const auto range = [](const void* context, index_t from, index_t until, index_t thread) {
    for (index_t b = from; b < until; ++b)
      (*static_cast<const F*>(context))(b, thread);
  };
  [[maybe_unused]] const one_thread libraries;
  const index_t all = threads();
  if (n > 1 && work >= worth_threads && all > 1 &&
      run_on_pool(n, std::max<index_t>(n / (8 * all), 1), all, range, &f))
    return;
  range(&f, 0, n, 0);
}

// f(b), likewise.
template <class F>
void for_each_block(index_t n, index_t work, const F& f) {
  for_each_task(n, work, [&f](index_t b, index_t) { f(b); });
}

}  // namespace detail

}  // namespace graft

#if GRAFT_BODIES

#include <atomic>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <system_error>
#include <thread>

namespace graft {

namespace detail {

inline index_t first_threads() {
  if (const char* text = std::getenv("OMP_NUM_THREADS")) {
    const std::string_view all(text);
    int n = 0;
    if (std::from_chars(all.data(), all.data() + all.size(), n).ec == std::errc() && n > 0)
      return n;
  }
  return std::max<index_t>(static_cast<index_t>(std::thread::hardware_concurrency()), 1);
}

inline std::atomic<index_t>& thread_count() {
  static std::atomic<index_t> n{first_threads()};
  return n;
}

class thread_pool {
 public:
  // Never destroyed: a process may end, or fork, while its threads sleep.
  static thread_pool& of_program() {
    static auto* const pool = new thread_pool;
    return *pool;
  }
  thread_pool(const thread_pool&) = delete;

  bool run(index_t n, index_t piece, index_t threads, pool_task what, const void* context) {
    if (inside_task() || taken_.exchange(true, std::memory_order_acquire))
      return false;
    for (; workers_ < threads - 1; ++workers_)
      std::thread([this, number = workers_ + 1] { work(number); }).detach();
    n_ = n;
    piece_ = piece;
    threads_ = threads;
    run_ = what;
    context_ = context;
    next_.store(0, std::memory_order_relaxed);
    open_.store(true);
    jobs_.fetch_add(1);
    jobs_.notify_all();
    inside_task() = true;
    take_part(0);
    inside_task() = false;
    open_.store(false);
    // Who comes from here on finds it closed; who has come is waited for.
    for (int busy = busy_.load(), times = 0; busy != 0; busy = busy_.load())
      wait(busy_, busy, times);
    taken_.store(false, std::memory_order_release);
    return true;
  }

 private:
  thread_pool() = default;

  static bool& inside_task() {
    thread_local bool inside = false;
    return inside;
  }

  // Looks a few times before it sleeps: the next piece of a step is microseconds away.
  template <class T>
  static void wait(std::atomic<T>& what, T while_it_is, int& times) {
    if (++times < 256)
      std::this_thread::yield();
    else
      what.wait(while_it_is);
  }

  void work(index_t number) {
    inside_task() = true;
    [[maybe_unused]] const one_thread libraries;
    std::uint32_t seen = 0;
    for (;;) {
      for (int times = 0; jobs_.load() == seen;)
        wait(jobs_, seen, times);
      seen = jobs_.load();
      busy_.fetch_add(1);
      if (open_.load() && number < threads_)
        take_part(number);
      if (busy_.fetch_sub(1) == 1)
        busy_.notify_all();
    }
  }

  void take_part(index_t thread) {
    for (;;) {
      const index_t from = next_.fetch_add(piece_, std::memory_order_relaxed);
      if (from >= n_)
        return;
      run_(context_, from, std::min(from + piece_, n_), thread);
    }
  }

  // The job, which changes only while it is closed and nobody is busy.
  index_t n_ = 0, piece_ = 1, threads_ = 1;
  pool_task run_ = nullptr;
  const void* context_ = nullptr;
  index_t workers_ = 0;
  std::atomic<bool> taken_{false};
  alignas(64) std::atomic<index_t> next_{0};
  alignas(64) std::atomic<std::uint32_t> jobs_{0};
  std::atomic<bool> open_{false};
  alignas(64) std::atomic<int> busy_{0};
};

GRAFT_PLAIN bool run_on_pool(index_t n, index_t piece, index_t threads, pool_task what, const void* context) {
  return thread_pool::of_program().run(n, piece, threads, what, context);
}

}  // namespace detail

GRAFT_PLAIN index_t threads() { return detail::thread_count().load(std::memory_order_relaxed); }

GRAFT_PLAIN void set_threads(index_t n) {
  detail::thread_count().store(std::max<index_t>(n, 1), std::memory_order_relaxed);
}

}  // namespace graft

#endif
