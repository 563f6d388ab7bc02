// SPDX-License-Identifier: MIT
#include "support/batching.hpp"

#include <algorithm>
#include <exception>
#include <future>
#include <string>
#include <utility>

namespace programs {

using std::chrono::steady_clock;

// `taken` is the queue's, under its lock; the rest is the computing thread's once it is queued.
struct batching_queue::job {
  graft::example_list examples;
  bank::handle under;
  steady_clock::time_point since = steady_clock::now();
  std::size_t taken = 0, answered = 0;
  bool failed = false;
  outputs answers = outputs(examples.size());
  std::promise<outputs> all{};
};

batching_queue::outputs batching_queue::ask(graft::example_list examples, bank::handle under) {
  const std::size_t count = examples.size();
  if (count == 0)
    return {};
  const auto asked = std::make_shared<job>(job{std::move(examples), std::move(under)});
  std::future<outputs> answers = asked->all.get_future();
  {
    const std::lock_guard lock(in_use_);
    const auto refuse = [&](int status, const std::string& why) {
      ++counts_.refused;
      throw refusal(status, why);
    };
    if (closed_)
      refuse(503, "the server is shutting down");
    if (count > limits_.queue)
      refuse(413, "expected at most " + std::to_string(limits_.queue) +
                      " sequences in a request, found " + std::to_string(count));
    if (counts_.waiting + count > limits_.queue)
      refuse(429, "too many texts are waiting");
    jobs_.push_back(asked);
    counts_.waiting += count;
    ++counts_.requests;
  }
  changed_.notify_one();
  return answers.get();
}

void batching_queue::run(const compute& f) {
  std::unique_lock lock(in_use_);
  for (;;) {
    changed_.wait(lock, [&] { return closed_ || !jobs_.empty(); });
    if (jobs_.empty())
      return;
    changed_.wait_until(lock, jobs_.front()->since + limits_.wait,
                        [&] { return closed_ || counts_.waiting >= limits_.batch; });
    const batch taken = take();
    lock.unlock();
    answer(taken, f);
    lock.lock();
    for (const auto& j : jobs_)
      if (j->failed)
        counts_.waiting -= j->examples.size() - j->taken;
    std::erase_if(jobs_, [](const auto& j) { return j->failed; });
  }
}

batching_queue::batch batching_queue::take() {
  batch taken;
  while (taken.parts.size() < limits_.batch && !jobs_.empty()) {
    const std::shared_ptr<job> next = std::move(jobs_.front());
    jobs_.pop_front();
    taken.parts.push_back({next, next->taken});
    taken.examples.push_back(std::move(next->examples[next->taken]));
    taken.under.push_back(next->under);
    if (++next->taken < next->examples.size())
      jobs_.push_back(next);
  }
  counts_.waiting -= taken.parts.size();
  counts_.sequences += taken.parts.size();
  ++counts_.batches;
  return taken;
}

void batching_queue::answer(const batch& taken, const compute& f) {
  try {
    outputs found = f(taken.examples, taken.under);
    for (std::size_t i = 0; i < taken.parts.size(); ++i)
      taken.parts[i].of->answers[taken.parts[i].index] = std::move(found.at(i));
  } catch (...) {
    for (const part& p : taken.parts)
      if (!std::exchange(p.of->failed, true))
        p.of->all.set_exception(std::current_exception());
    return;
  }
  for (const part& p : taken.parts)
    if (++p.of->answered == p.of->answers.size())
      p.of->all.set_value(std::move(p.of->answers));
}

void batching_queue::close() {
  {
    const std::lock_guard lock(in_use_);
    closed_ = true;
  }
  changed_.notify_all();
}

bool batching_queue::closed() const {
  const std::lock_guard lock(in_use_);
  return closed_;
}

batch_counts batching_queue::counts() const {
  const std::lock_guard lock(in_use_);
  return counts_;
}

}  // namespace programs
