// SPDX-License-Identifier: MIT
#include "support/axes.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>

namespace programs {

namespace {

// As printf's %.*f or %.*g, whatever the locale.
std::string printed(double value, std::chars_format format, int digits) {
  char text[400];
  return {text, std::to_chars(text, text + sizeof text, value, format, digits).ptr};
}
std::string fixed(double value, int decimals) {
  return printed(value, std::chars_format::fixed, decimals);
}

// The thousands that a number is best told in; `from` is where they begin.
struct magnitude {
  double factor;
  const char* suffix;
};
magnitude magnitude_of(double largest, double from) {
  for (const magnitude m : {magnitude{1e9, "B"}, magnitude{1e6, "M"}, magnitude{1e3, "k"}})
    if (largest >= std::max(m.factor, from))
      return m;
  return {1, ""};
}

constexpr double thousands_from = 1e4;

std::string short_number(double value, unit shown, double from) {
  if (shown == unit::percent)
    return fixed(100 * value, 1) + "%";
  const auto [factor, suffix] = magnitude_of(std::abs(value), from);
  const double kept = value / factor;
  return (std::abs(kept) >= 999.5 ? fixed(kept, 0) : printed(kept, std::chars_format::general, 3)) +
         suffix;
}

// The nearest of 1, 2 and 5 times a power of ten to what gives `wanted` steps.
double round_step(double extent, int wanted) {
  const double rough = extent / std::max(wanted, 1);
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  const double digit = rough / power;
  return power * (digit < std::sqrt(2.0)    ? 1
                  : digit < std::sqrt(10.0) ? 2
                  : digit < std::sqrt(50.0) ? 5
                                            : 10);
}

std::vector<tick> linear_ticks(interval values, unit shown, int wanted) {
  const double percent = shown == unit::percent ? 100 : 1;
  const double low = values.low * percent, high = values.high * percent;
  if (!(high > low))
    return {};
  const double step = round_step(high - low, wanted);
  const auto [factor, suffix] =
      shown == unit::percent
          ? magnitude{1, "%"}
          : magnitude_of(std::max(std::abs(low), std::abs(high)), thousands_from);
  const int decimals =
      std::clamp(static_cast<int>(std::ceil(-std::log10(step / factor) - 1e-6)), 0, 12);
  std::vector<tick> ticks;
  const double first = std::ceil(low / step - 1e-6);
  for (int i = 0; (first + i) * step <= high + 1e-6 * step && i < 10 * wanted; ++i) {
    const double value = (first + i) * step + 0.0;  // no -0
    const std::string digits = decimals > 6 ? printed(value, std::chars_format::general, 6)
                                            : fixed(value / factor, value == 0 ? 0 : decimals);
    ticks.push_back(
        {value / percent, digits + (value == 0 && shown == unit::number ? "" : suffix)});
  }
  return ticks;
}

std::vector<tick> logarithmic_ticks(interval values, unit shown, int wanted) {
  const double low = std::log10(values.low), high = std::log10(values.high);
  if (high - low < 1)
    return linear_ticks(values, shown, wanted);
  const bool between = high - low < 2.5;
  const double stride = std::max(1.0, std::ceil((high - low) / std::max(wanted, 1)));
  std::vector<tick> ticks;
  for (double power = std::floor(low); power <= high; power += stride)
    for (const double times : {1.0, 2.0, 5.0}) {
      const double value = times * std::pow(10.0, power);
      if ((times == 1 || between) && value >= values.low * 0.9999 && value <= values.high * 1.0001)
        ticks.push_back({value, short_number(value, shown, 1e3)});
    }
  return ticks;
}

double overlap(const box& a, const box& b) {
  const double width = std::min(a.x + a.width, b.x + b.width) - std::max(a.x, b.x);
  const double height = std::min(a.y + a.height, b.y + b.height) - std::max(a.y, b.y);
  return width > 0 && height > 0 ? width * height : 0;
}

box around(point centre, double radius) {
  return {centre.x - radius, centre.y - radius, 2 * radius, 2 * radius};
}

}  // namespace

double axis::operator()(double value) const {
  const auto along = [this](double v) { return kind == scale::logarithmic ? std::log10(v) : v; };
  const double share =
      (along(value) - along(values.low)) / (along(values.high) - along(values.low));
  return places.low + share * (places.high - places.low);
}

std::vector<tick> axis::ticks(int wanted) const {
  return kind == scale::logarithmic ? logarithmic_ticks(values, shown, wanted)
                                    : linear_ticks(values, shown, wanted);
}

interval padded(interval values, scale kind, double share) {
  if (kind == scale::logarithmic) {
    const interval powers =
        padded({std::log10(values.low), std::log10(values.high)}, scale::linear, share);
    return {std::pow(10.0, powers.low), std::pow(10.0, powers.high)};
  }
  double extent = values.high - values.low;
  if (!(extent > 1e-9 * std::max(std::abs(values.low), std::abs(values.high)))) {
    extent = values.low == 0 ? 1 : 0.1 * std::abs(values.low);
    values = {values.low - extent / 2, values.low + extent / 2};
  }
  return {values.low - share * extent, values.high + share * extent};
}

std::string short_number(double value, unit shown) {
  return short_number(value, shown, thousands_from);
}

void draw_axes(svg& picture, const axis& x, const axis& y, const axis_titles& titles) {
  const auto [left, right] = x.places;
  const auto [bottom, top] = y.places;
  const lettering small{.size = 10, .colour = faint_ink};
  lettering under = small, beside = small;
  under.from = anchor::middle;
  beside.from = anchor::end;
  for (const auto& [value, text] : y.ticks(static_cast<int>(std::abs(bottom - top) / 34))) {
    picture.line({left, y(value)}, {right, y(value)}, {.colour = grid_ink, .width = 0.75});
    picture.text({left - 6, y(value) + 3.5}, text, beside);
  }
  for (const auto& [value, text] : x.ticks(static_cast<int>(std::abs(right - left) / 48))) {
    picture.line({x(value), bottom}, {x(value), top}, {.colour = grid_ink, .width = 0.75});
    picture.line({x(value), bottom}, {x(value), bottom + 3}, {.colour = faint_ink, .width = 0.75});
    picture.text({x(value), bottom + 14}, text, under);
  }
  picture.line({left, bottom}, {right, bottom}, {.colour = faint_ink});
  picture.text({left, top - 12}, titles.above, {.size = 12, .bold = true});
  picture.text({right, top - 12}, titles.note, beside);
  picture.text({(left + right) / 2, bottom + 29}, titles.below,
               {.size = 11, .from = anchor::middle});
}

// ---- places for texts ---------------------------------------------------------------------------

std::vector<double> moved_apart(std::span<const double> wanted, double gap, interval bounds) {
  const std::size_t count = wanted.size();
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return wanted[a] < wanted[b]; });
  if (count > 1)
    gap = std::min(gap, (bounds.high - bounds.low) / static_cast<double>(count - 1));

  // With the gaps taken out the places must not fall: neighbours that would are merged into a block
  // at their mean, which is isotonic regression.
  struct block {
    double mean;
    std::size_t size;
  };
  std::vector<block> blocks;
  for (std::size_t i = 0; i < count; ++i) {
    block last{wanted[order[i]] - static_cast<double>(i) * gap, 1};
    while (!blocks.empty() && blocks.back().mean > last.mean) {
      const auto a = static_cast<double>(blocks.back().size), b = static_cast<double>(last.size);
      last = {(a * blocks.back().mean + b * last.mean) / (a + b), blocks.back().size + last.size};
      blocks.pop_back();
    }
    blocks.push_back(last);
  }

  std::vector<double> places(count);
  const double room = count == 0 ? 0 : static_cast<double>(count - 1) * gap;
  std::size_t i = 0;
  for (const auto& [mean, size] : blocks)
    for (std::size_t k = 0; k < size; ++k, ++i)
      places[order[i]] = std::clamp(mean, bounds.low, std::max(bounds.low, bounds.high - room)) +
                         static_cast<double>(i) * gap;
  return places;
}

std::vector<box> boxes_beside(std::span<const point> points, std::span<const box> sizes,
                              std::span<const box> taken, const box& bounds) {
  constexpr double dot = 5;  // about a point, with air
  std::vector<box> placed;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const auto [x, y] = points[i];
    const double width = sizes[i].width, height = sizes[i].height;
    box best;
    double least = std::numeric_limits<double>::infinity();
    for (const double away : {6.0, 12.0, 20.0, 30.0, 42.0})
      for (const auto& [across, down] : {point{0, -1}, point{1, 0}, point{0, 1}, point{-1, 0},
                                         point{1, -1}, point{-1, -1}, point{1, 1}, point{-1, 1}}) {
        const double slant = across != 0 && down != 0 ? 0.7 : 1;
        box at{x + across * (away * slant + width / 2) - width / 2,
               y + down * (away * slant + height / 2) - height / 2, width, height};
        at.x = std::clamp(at.x, bounds.x, std::max(bounds.x, bounds.x + bounds.width - width));
        at.y = std::clamp(at.y, bounds.y, std::max(bounds.y, bounds.y + bounds.height - height));
        double cost = 3 * (away - 6) + (slant < 1 ? 2 : 0) + (down > 0 ? 1 : 0);
        for (const auto& other : placed)
          cost += 10 * overlap(at, other);
        for (const auto& other : points)
          cost += 4 * overlap(at, around(other, dot));
        for (const auto& other : taken)
          cost += overlap(at, other);
        if (cost < least) {
          least = cost;
          best = at;
        }
      }
    placed.push_back(best);
  }
  return placed;
}

void append_boxes_along(std::span<const point> line, std::vector<box>& boxes) {
  constexpr double every = 4;
  for (std::size_t i = 0; i + 1 < line.size(); ++i) {
    const point a = line[i], b = line[i + 1];
    const double length = std::hypot(b.x - a.x, b.y - a.y);
    if (!(length < 1e4))  // a gap, or a line that leaves the picture
      continue;
    for (double along = 0; along < length; along += every)
      boxes.push_back(around(
          {a.x + along / length * (b.x - a.x), a.y + along / length * (b.y - a.y)}, every / 2));
  }
}

}  // namespace programs
