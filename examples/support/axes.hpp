// SPDX-License-Identifier: MIT
// Axes with round ticks, linear and logarithmic, and places for texts that leave each other room.
#pragma once

#include "support/svg.hpp"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace programs {

struct interval {
  double low = 0, high = 1;
};

enum class scale { linear, logarithmic };
enum class unit { number, percent };  // percent shows 0.5 as 50%

struct tick {
  double value;
  std::string text;
};

// Maps values to places in the picture. `places` may run downward. Logarithmic: values above 0.
struct axis {
  interval values, places;
  scale kind = scale::linear;
  unit shown = unit::number;

  double operator()(double value) const;
  // Round values within `values`, about `wanted` of them.
  std::vector<tick> ticks(int wanted) const;
};

// The values with room around them: `share` of their extent on each side. A single value gets some
// extent first.
interval padded(interval values, scale kind = scale::linear, double share = 0.05);

// A value in three digits: "0.0312", "12.3k", "91.2%".
std::string short_number(double value, unit shown = unit::number);

struct axis_titles {
  std::string_view above, note,
      below;  // the y axis's name, a remark to the right of it, the x axis's name
};

// Grid, tick values, axis lines and titles. Takes 30 above, 36 below and 44 to the left.
void draw_axes(svg& picture, const axis& x, const axis& y, const axis_titles& titles);

// ---- places for texts ---------------------------------------------------------------------------

// Places on a line, as near to the wanted ones as can be (least squares), in their order, `gap`
// apart, within `bounds`; closer than `gap` where `bounds` is too small.
std::vector<double> moved_apart(std::span<const double> wanted, double gap, interval bounds);

// For each point a box of width and height as given, beside the point and within `bounds`, where it
// hides least of the other points, of the earlier boxes and of `taken`. Earlier points choose
// first.
std::vector<box> boxes_beside(std::span<const point> points, std::span<const box> sizes,
                              std::span<const box> taken, const box& bounds);

// Small boxes along a line, to be `taken`.
void append_boxes_along(std::span<const point> line, std::vector<box>& boxes);

}  // namespace programs
