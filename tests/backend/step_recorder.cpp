// SPDX-License-Identifier: MIT
#include <graft/backend/cuda/command_list.hpp>
#include <graft/core/reading.hpp>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/emulated_device.hpp"

namespace graft_test::step_recorder_tests {

using namespace graft;

namespace {

struct entry {
  std::string* text;
  char letter;  // and bytes that belong to nothing
};
void write(const entry& e) { *e.text += e.letter; }
void write_twice(const entry& e) { e.text->append(2, e.letter); }

entry with_dirt(std::string& text, char letter, unsigned char dirt) {
  alignas(entry) unsigned char bytes[sizeof(entry)];
  std::memset(bytes, dirt, sizeof bytes);
  auto* e = new (bytes) entry;
  e->text = &text;
  e->letter = letter;
  return *e;
}

using device = emulated_device;
using B = emulated<float>;

// y = x times what the host says, on the device.
struct scaled_by_letter {
  float *y, *x;
  const float* s;
  void operator()(index_t, index_t j) const { y[j] = x[j] * *s; }
};

}  // namespace

TEST_CASE("calls that were put down are done in their order") {
  std::string text;
  command_list list;
  CHECK(list.empty());
  list.add(write, entry{&text, 'a'});
  list.add(write_twice, entry{&text, 'b'});
  list.add(write, entry{&text, 'c'});
  CHECK(text.empty());
  list.run();
  list.run();
  CHECK(text == "abbcabbc");
  CHECK(list.count() == 3);
  list.clear();
  list.run();
  CHECK(text == "abbcabbc");
}

TEST_CASE("lists are equal that call the same with the same, whatever lies between") {
  std::string text;
  const auto list_of = [&](void (*f)(const entry&), char letter, unsigned char dirt) {
    command_list list;
    list.add(write, with_dirt(text, 'x', dirt));
    list.add(f, with_dirt(text, letter, dirt));
    return list;
  };
  const command_list list = list_of(write, 'a', 0);
  CHECK(list == list_of(write, 'a', 0));
  CHECK_FALSE(list == list_of(write, 'b', 0));
  CHECK_FALSE(list == list_of(write_twice, 'a', 0));
  CHECK_FALSE(list == command_list{});
#if defined(__GNUC__) && !defined(__clang__)
  CHECK(list == list_of(write, 'a', 0xff));
  CHECK(list.hash() == list_of(write, 'a', 0xff).hash());
#endif
}

TEST_CASE("a step is launched when it ends, and replayed with what the host says then") {
  auto& recorder = device::recorder();
  std::vector<float> x{1, 2, 3}, y(3, -1);
  const std::size_t graphs = recorder.graphs(), replays = recorder.replays();
  std::vector<reading> told;
  for (int step = 0; step < 10; ++step) {
    device_step<device> work;
    const float s = static_cast<float>(step + 1);
    const std::vector<float> before = y;
    const device::staged letter(&s, sizeof s);
    device::each(1, 3, scaled_by_letter{y.data(), x.data(), static_cast<const float*>(letter.data())});
    const auto [where, what] = recorder.answer();
    device::each(1, 1, scaled_by_letter{where, x.data() + 2, static_cast<const float*>(letter.data())});
    told.push_back(what);
    CHECK(y == before);
    CHECK_FALSE(what.arrived());
    work.end();
    CHECK(y == std::vector<float>{s, 2 * s, 3 * s});
  }
  CHECK(recorder.graphs() - graphs == 1);
  CHECK(recorder.replays() - replays == 9);  // all but the first
  for (int step = 0; step < 10; ++step)
    CHECK(told[static_cast<std::size_t>(step)].value() == 3 * (step + 1));
}

TEST_CASE("who asks within a step has what was put down so far done") {
  const std::size_t graphs = device::recorder().graphs();
  std::vector<float> x{1, 2, 3}, y(3, 0), z(3, 0);
  for (const float s : {2.0f, 4.0f, 5.0f}) {
    const float three = 3;
    z = {0, 0, 0};
    device_step<device> work;
    const device::staged a(&s, sizeof s);
    device::each(1, 3, scaled_by_letter{y.data(), x.data(), static_cast<const float*>(a.data())});
    std::vector<float> seen(3);
    device::download(seen.data(), y.data(), 3 * sizeof(float));
    CHECK(seen == std::vector<float>{s, 2 * s, 3 * s});
    const auto [where, what] = device::recorder().answer();
    const device::staged b(&three, sizeof three);
    device::each(1, 1, scaled_by_letter{where, y.data() + 2, static_cast<const float*>(b.data())});
    CHECK(what.value() == 9 * s);
    device::each(1, 3, scaled_by_letter{z.data(), y.data(), static_cast<const float*>(b.data())});
    CHECK(z[0] == 0);
    work.end();
    CHECK(z == std::vector<float>{3 * s, 6 * s, 9 * s});
    CHECK(what.value() == 9 * s);
  }
  CHECK(device::recorder().graphs() - graphs == 3);  // of the pieces
}

TEST_CASE("what many operations tell is sent once, and again where it is another") {
  std::vector<float> x{1}, y{0}, z{0};
  float s = 2;
  device_step<device> work;
  const device::staged first(&s, sizeof s, true), same(&s, sizeof s, true), alone(&s, sizeof s);
  CHECK(first.data() == same.data());
  CHECK(first.data() != alone.data());
  s = 3;
  const device::staged other(&s, sizeof s, true);
  CHECK(first.data() != other.data());
  device::each(1, 1, scaled_by_letter{y.data(), x.data(), static_cast<const float*>(first.data())});
  device::each(1, 1, scaled_by_letter{z.data(), x.data(), static_cast<const float*>(other.data())});
  work.end();
  CHECK(y[0] == 2);
  CHECK(z[0] == 3);
}

TEST_CASE("what a step was told of may be released before its end") {
  typename B::parameter y(1, 300);
  {
    device_step<device> work;
    {
      const typename B::parameter x(1, 300);
      B::fill(x, 3);
      B::add_scaled(y, x, 2);
    }
    B::scale(y, 2);
    work.end();
  }
  CHECK(B::on_host(y) == std::vector<float>(300, 12));
}

TEST_CASE("a step that does not come to its end does not happen") {
  std::vector<float> x{1}, y{5};
  const float two = 2;
  reading never;
  {
    device_step<device> work;
    const device::staged a(&two, sizeof two);
    device::each(1, 1, scaled_by_letter{y.data(), x.data(), static_cast<const float*>(a.data())});
    never = device::recorder().answer().second;
  }
  CHECK_FALSE(device::in_step());
  CHECK(std::isnan(never.value()));
  CHECK(y[0] == 5);
}

TEST_CASE("the host may say more than a letter holds, and ask for more than is told at once") {
  auto& recorder = device::recorder();
  std::vector<float> large(700000, 0.5f), x(200, 3), y(200, 0);
  for (int round = 0; round < 3; ++round) {
    std::vector<reading> told;
    device_step<device> work;
    std::vector<const float*> said;
    for (int i = 0; i < 3; ++i) {
      large.back() = static_cast<float>(i);
      const device::staged letter(large.data(), large.size() * sizeof(float));
      said.push_back(static_cast<const float*>(letter.data()) + large.size() - 1);
    }
    for (int i = 0; i < 200; ++i) {
      const auto [where, what] = recorder.answer();
      device::each(1, 1, scaled_by_letter{where, x.data() + i, said[static_cast<std::size_t>(i % 3)]});
      told.push_back(what);
    }
    work.end();
    for (int i = 0; i < 200; ++i)
      REQUIRE(told[static_cast<std::size_t>(i)].value() == 3 * (i % 3));
  }
}

TEST_CASE("readings outlive the thread whose work they are of") {
  std::vector<float> x{3};
  reading last, never;
  std::thread([&] {
    const float two = 2;
    {
      device_step<device> work;
      const device::staged a(&two, sizeof two);
      const auto [where, what] = device::recorder().answer();
      device::each(1, 1, scaled_by_letter{where, x.data(), static_cast<const float*>(a.data())});
      last = what;
      work.end();
    }
    device_step<device> work;
    never = device::recorder().answer().second;
  }).join();
  CHECK(last.value() == 6);
  CHECK(std::isnan(never.value()));
}

TEST_CASE("sums of readings wait for the last of them") {
  struct later : reading::source {
    bool is_there = false;
    bool arrived() const override { return is_there; }
    double value() override { return 5; }
  };
  const auto late = std::make_shared<later>();
  reading_sum sum;
  sum.add(2, 3);
  sum.add(0.5, reading(late));
  const reading all = std::move(sum).sum();
  CHECK_FALSE(all.arrived());
  late->is_there = true;
  CHECK(all.arrived());
  CHECK(all == 8.5);
  CHECK(reading(4) == 4);
}

TEMPLATE_TEST_CASE("the device decides about a step: clipped, taken or not", "", emulated<float>,
                   emulated<fp16>) {
  using G = TestType;
  constexpr double start = G::scales_loss ? 65536 : 1;
  typename G::step_state state = G::make_step_state();
  typename G::parameter g(1, 5000), w(1, 5000), m(1, 5000), v(1, 5000), u(1, 5000), p(1, 5000),
      q(1, 5000);
  std::vector<float> numbers(5000);
  const adam_call<float> call{.rate = 0.01f, .beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-8f,
                              .decay = 0.1f, .step = 1};
  const std::vector<typename G::segment_rate> segments{{0, 0.01f, 0.1f}, {1000, 0.02f, 0.0f}};
  std::int64_t taken = 0;
  for (const bool finite : {true, false, true, true}) {
    double squares = 0;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      numbers[i] = 0.01f * static_cast<float>(1 + i % 7);
      squares += static_cast<double>(numbers[i]) * static_cast<double>(numbers[i]);
    }
    if (!finite)
      numbers[4999] = std::numeric_limits<float>::infinity();
    G::from_host(g, numbers);
    const auto before = G::on_host(w), moments = G::on_host(m);
    const auto verdict = G::judge(state, g, 1.0, 0.9, 0.999);
    G::adam_segments(w, m, v, g, segments, call, &state);
    if (!finite) {
      CHECK(std::isinf(verdict.norm.value()));
      CHECK(G::on_host(w) == before);
      CHECK(G::on_host(m) == moments);
      CHECK(state.numbers()[0] == (G::scales_loss ? start / 2 : start));
      continue;
    }
    ++taken;
    CHECK(verdict.norm.value() == Approx(std::sqrt(squares)));
    CHECK(verdict.scale.value() == Approx(1 / (std::sqrt(squares) + 1e-6)));
    // Segment by segment, as the host would have it.
    for (std::size_t s = 0; s < 2; ++s) {
      const index_t from = s == 0 ? 0 : 1000, count = s == 0 ? 1000 : 4000;
      adam_call<float> own = call;
      own.rate = segments[s].rate;
      own.decay = segments[s].decay;
      own.step = taken;
      own.gradient_scale = static_cast<float>(verdict.scale.value());
      const auto piece = [&](const typename G::parameter& of) {
        return typename G::view(of.data + from, 1, count);
      };
      G::adam_update(piece(u), piece(p), piece(q), piece(g), own);
    }
    const auto found = G::on_host(w), wanted = G::on_host(u);
    for (std::size_t i = 0; i < found.size(); ++i)
      REQUIRE(found[i] == Approx(wanted[i]).epsilon(1e-5));
    CHECK(static_cast<std::int64_t>(state.numbers()[2]) == taken);
  }
  state.set({static_cast<float>(start), 1999, 7});
  G::from_host(g, std::vector<float>(5000, 1.0f));
  G::judge(state, g, 0, 0.9, 0.999);
  CHECK(state.numbers()[0] == (G::scales_loss ? 2 * start : start));
  CHECK(state.numbers()[1] == 0 + (G::scales_loss ? 0 : 1999));
  state.set({1, 0, 7});
  G::from_host(g, std::vector<float>(5000, std::numeric_limits<float>::quiet_NaN()));
  G::judge(state, g, 0, 0.9, 0.999);
  CHECK(state.numbers()[0] == 1);

  typename G::workspace memory;
  auto y = G::make_exact(memory, 2, 3);
  state.set({8, 0, 0});
  G::fill(y, 3);
  G::scale_loss(y, state);
  CHECK(G::on_host(y) == std::vector<float>(6, 24));
  G::unscale(y, state);
  CHECK(G::on_host(y) == std::vector<float>(6, 3));
}

}  // namespace graft_test::step_recorder_tests
