// SPDX-License-Identifier: MIT
// A step of a device's work, put down while the host walks through it and launched as one: the second time
// as a graph that is captured then, and replayed from then on.
#pragma once

#include <graft/backend/cuda/command_list.hpp>
#include <graft/backend/workspace.hpp>
#include <graft/core/reading.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <list>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace graft {

// For one thread. Between begin() and end() nothing is launched but by flush(), in pieces then: calls are
// added to a list, what the host tells the device (put) lies in a letter that is sent at once from pinned
// memory, numbers that the device tells the host (answer) come back in one piece. All of these have the same
// places in every step that asks for them in the same order, so that equal lists are equal work, whatever the
// letter says. The host runs ahead of the device by up to `ahead` steps.
//
// Runtime (of which every thread has a queue): what recorded_device.hpp says.
template <class Runtime>
class step_recorder {
 public:
  static constexpr std::size_t ahead = 4;
  static constexpr std::size_t most_graphs = 64;  // the least recently used goes

  static step_recorder& of_this_thread() {
    thread_local step_recorder recorder;
    return recorder;
  }
  step_recorder(const step_recorder&) = delete;
  step_recorder& operator=(const step_recorder&) = delete;
  ~step_recorder() {
    for (round& r : rounds_)
      try {
        if (r.open)
          settle(r);
      } catch (...) {  // what was not heard is no number
      }
    for (round& r : rounds_)
      if (r.told)
        r.told->over = true;
    for (letter_page& p : pages_)
      p.release();
    for (round& r : rounds_)
      if (r.answers)
        Runtime::release_pinned(r.answers);
    if (answers_)
      Runtime::release(answers_);
  }

  bool recording() const { return recording_; }
  // The one in the middle of a step, or null. (To be asked at any time, the end of the thread among them.)
  static step_recorder* recording_in_this_thread() { return in_step_; }
  // What operations need for their own length, inside of steps and outside: free again in the order of
  // the launches.
  workspace_over<Runtime>& room() { return room_; }

  // `again`: the same work is likely to come again, and is to be replayed then.
  void begin(bool again) {
    round& r = rounds_[step_ % ahead];
    if (r.open)
      settle(r);  // waits where the host is too far ahead
    if (!answers_)
      answers_ = static_cast<float*>(Runtime::allocate(answer_bytes));
    if (!r.answers)
      r.answers = static_cast<float*>(Runtime::allocate_pinned(answer_bytes));
    r.told = std::make_shared<told>();
    list_.clear();
    put_.clear();
    made_.clear();
    for (letter_page& p : pages_)
      p.used = p.sent = 0;
    page_ = 0;
    again_ = again;
    recording_ = true;
    in_step_ = this;
  }

  template <class Arguments>
  void add(void (*function)(const Arguments&), const Arguments& arguments) {
    list_.add(function, arguments);
  }

  // The host's bytes, where the device will find them until the step's end. What many operations tell,
  // the same bytes from the same place, is sent once where they say so.
  const void* put(const void* from, std::size_t bytes, bool often) {
    if (often)
      for (const placed& p : put_)
        if (p.from == from && p.bytes == bytes && std::memcmp(p.here, from, bytes) == 0)
          return p.there;
    const std::size_t size = (bytes + place - 1) / place * place;
    while (page_ < pages_.size() && pages_[page_].used + size > pages_[page_].bytes)
      ++page_;
    if (page_ == pages_.size())
      pages_.emplace_back(std::max(size, least_page));
    letter_page& p = pages_[page_];
    std::byte* here = p.here[step_ % ahead] + p.used;
    const std::byte* there = p.there + p.used;
    std::memcpy(here, from, bytes);
    p.used += size;
    if (often)
      put_.push_back({from, here, there, bytes});
    return there;
  }

  // What make() makes of what lies at `from` on the device, once.
  template <class F>
  const void* put_made(const void* from, const F& make) {
    for (const auto& [key, there] : made_)
      if (key == from)
        return there;
    const auto values = make();
    const void* there = put(values.data(), values.size() * sizeof(values[0]), false);
    made_.emplace_back(from, there);
    return there;
  }

  // Room for a number on the device, and what will be read there.
  std::pair<float*, reading> answer() {
    round& r = rounds_[step_ % ahead];
    if (r.told->asked == most_answers) {
      settle(step_);
      r.told = std::make_shared<told>();
    }
    const std::size_t i = r.told->asked++;
    return {answers_ + i, reading(std::make_shared<told_number>(this, step_, r.told, i))};
  }

  // Launches what there is so far.
  void flush() {
    if (recording_)
      launch();
  }

  // Launches the rest, which is all where nobody asked for anything in between.
  void end() {
    launch();
    fetch(rounds_[step_ % ahead]);
    recording_ = false;
    in_step_ = nullptr;
    ++step_;
  }
  // Forgets what was not launched.
  void abandon() noexcept {
    rounds_[step_ % ahead].told->over = true;
    recording_ = false;
    in_step_ = nullptr;
  }

  std::size_t graphs() const {
    return static_cast<std::size_t>(
        std::count_if(known_.begin(), known_.end(), [](const known& k) { return k.graph.has_value(); }));
  }
  std::size_t replays() const { return replays_; }

 private:
  static constexpr std::size_t most_answers = 64, answer_bytes = most_answers * sizeof(float);
  static constexpr std::size_t least_page = std::size_t{1} << 20, place = 256;

  step_recorder() = default;

  // A piece of the letter: pinned for each step on its way, in front of the device likewise, and where
  // the device reads it.
  struct letter_page {
    std::array<std::byte*, ahead> here{}, via{};
    std::byte* there = nullptr;
    std::size_t bytes, used = 0, sent = 0;

    explicit letter_page(std::size_t size) : bytes(size) {
      try {
        for (std::byte*& h : here)
          h = static_cast<std::byte*>(Runtime::allocate_pinned(bytes));
        for (std::byte*& v : via)
          v = static_cast<std::byte*>(Runtime::allocate(rounded(bytes)));
        there = static_cast<std::byte*>(Runtime::allocate(rounded(bytes)));
      } catch (...) {
        release();
        throw;
      }
    }
    void release() noexcept {
      for (std::byte* h : here)
        if (h)
          Runtime::release_pinned(h);
      for (std::byte* v : via)
        if (v)
          Runtime::release(v);
      if (there)
        Runtime::release(there);
    }
    static std::size_t rounded(std::size_t size) {
      return (size + Runtime::alignment - 1) / Runtime::alignment * Runtime::alignment;
    }
  };
  struct placed {
    const void* from;
    const std::byte *here, *there;
    std::size_t bytes;
  };

  // The answers of a step.
  struct told {
    std::vector<float> numbers;  // those that have come
    std::size_t asked = 0;
    bool over = false;  // no more will
  };
  // One step on its way.
  struct round {
    std::shared_ptr<struct told> told;
    float* answers = nullptr;  // pinned
    typename Runtime::mark mark;
    bool open = false;  // launched, and its answers not taken
  };
  struct told_number : reading::source {
    step_recorder* recorder;
    std::uint64_t step;
    std::shared_ptr<struct told> told;
    std::size_t index;
    told_number(step_recorder* r, std::uint64_t s, std::shared_ptr<struct told> t, std::size_t i)
        : recorder(r), step(s), told(std::move(t)), index(i) {}
    bool arrived() const override {
      return index < told->numbers.size() || told->over || recorder->has_answered(step);
    }
    double value() override {
      if (index >= told->numbers.size() && !told->over)
        recorder->settle(step);
      return index < told->numbers.size() ? static_cast<double>(told->numbers[index])
                                          : std::numeric_limits<double>::quiet_NaN();
    }
  };
  friend told_number;

  struct known {
    command_list list;
    std::optional<typename Runtime::graph> graph;
    bool captured = false;  // or tried to be
  };

  void send() {
    for (letter_page& p : pages_)
      if (p.used > p.sent) {
        const std::size_t k = step_ % ahead;
        Runtime::send(p.there + p.sent, p.via[k] + p.sent, p.here[k] + p.sent, p.used - p.sent);
        p.sent = p.used;
      }
  }
  void fetch(round& r) {
    Runtime::fetch(r.answers, answers_, r.told->asked * sizeof(float));
    r.mark.record();
    r.open = true;
  }
  void settle(round& r) {
    r.mark.wait();
    r.told->numbers.assign(r.answers, r.answers + r.told->asked);
    r.open = false;
  }
  void settle(std::uint64_t step) {
    round& r = rounds_[step % ahead];
    if (step == step_ && recording_) {
      flush();
      fetch(r);
    }
    if (r.open)
      settle(r);
  }
  bool has_answered(std::uint64_t step) const {
    const round& r = rounds_[step % ahead];
    return step != step_ && r.open && r.mark.passed();
  }

  void launch() {
    send();
    if (again_ && !list_.empty())
      launch_known();
    else
      list_.run();
    list_.clear();
  }
  // Singly at first; the second time a graph is made of it.
  void launch_known() {
    const auto found = std::find_if(known_.begin(), known_.end(),
                                    [&](const known& k) { return k.list == list_; });
    if (found == known_.end()) {
      if (known_.size() == most_graphs)
        known_.pop_back();
      known_.push_front({list_, std::nullopt});
      list_.run();
      return;
    }
    known_.splice(known_.begin(), known_, found);
    known& k = known_.front();
    if (!k.captured) {
      k.captured = true;
      k.graph = Runtime::capture(k.list);
    }
    if (k.graph) {
      k.graph->launch();
      ++replays_;
    } else {
      list_.run();
    }
  }

  workspace_over<Runtime> room_;
  command_list list_;
  std::vector<letter_page> pages_;
  std::vector<placed> put_;
  std::vector<std::pair<const void*, const void*>> made_;
  std::size_t page_ = 0;
  float* answers_ = nullptr;
  std::array<round, ahead> rounds_;
  // Of the last lists, those used last in front.
  std::list<known> known_;
  std::uint64_t step_ = 0, replays_ = 0;
  bool recording_ = false, again_ = true;
  inline static thread_local step_recorder* in_step_ = nullptr;
};

}  // namespace graft
