// SPDX-License-Identifier: MIT
// Texts that many threads ask about, computed together by one.
#pragma once

#include "support/bank.hpp"
#include "support/refusal.hpp"

#include <graft/train/examples.hpp>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace programs {

// | batch | sequences that are computed at once                                              |
// | queue | … that may wait                                                                  |
// | wait  | how long a batch that is not full waits for company                              |
struct batch_limits {
  std::size_t batch = 64, queue = 1024;
  std::chrono::milliseconds wait{2};
};

// What a queue has done so far, and how many sequences wait now.
struct batch_counts {
  std::uint64_t requests = 0, sequences = 0, batches = 0, refused = 0;
  std::size_t waiting = 0;
};

// Those who wait are served in turn, a sequence of each at a time: a small request does not wait
// until a large one has all its answers.
class batching_queue {
 public:
  using outputs = std::vector<std::vector<float>>;
  using compute =
      std::function<outputs(std::span<const graft::example>, std::span<const bank::handle>)>;

  explicit batching_queue(const batch_limits& limits) : limits_(limits) {}

  // The outputs of all examples, once they are computed. For any thread. Throws refusal when they
  // can never be queued (413), cannot now (429) or the queue is closed (503), and what the
  // computing threw.
  outputs ask(graft::example_list examples, bank::handle under);

  // Computes what is asked until the queue is closed and nothing waits. For one thread.
  void run(const compute& f);

  // What is queued is still answered.
  void close();
  bool closed() const;

  batch_counts counts() const;

 private:
  struct job;
  struct part {
    std::shared_ptr<job> of;
    std::size_t index = 0;
  };
  struct batch {
    std::vector<part> parts;
    graft::example_list examples;
    std::vector<bank::handle> under;
  };

  batch take();
  void answer(const batch& taken, const compute& f);

  const batch_limits limits_;
  mutable std::mutex in_use_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<job>> jobs_;  // that have sequences which nobody computes yet
  batch_counts counts_;
  bool closed_ = false;
};

}  // namespace programs
