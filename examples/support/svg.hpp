// SPDX-License-Identifier: MIT
// Diagrams as SVG: a picture that lines and texts are added to, axes with round ticks, and places
// for texts that leave each other room. Lengths are pixels of 1/96 inch; y grows downward.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace programs {

struct point {
  double x = 0, y = 0;
};

struct box {
  double x = 0, y = 0;  // upper left corner
  double width = 0, height = 0;
};

// Colours that stay apart for the colour-blind and on white paper, without end: seven of Okabe and
// Ito's eight (their yellow vanishes on white), then again from the start.
struct shade {
  std::string_view line;  // "#0072b2"
  std::string_view text;  // the same, darkened until it reads well
};
inline constexpr std::size_t shade_count = 7;
shade shade_of(std::size_t i);
// Dashes for lines beyond shade_count: "" for the first seven, then a pattern for each seven more.
std::string_view dashes_of(std::size_t i);

inline constexpr std::string_view ink = "#222222", faint_ink = "#666666", grid_ink = "#e2e2e2";

struct pen {
  std::string_view colour = ink;
  double width = 1;
  double opacity = 1;
  std::string_view dashes = "";
};

enum class anchor { start, middle, end };

struct lettering {
  double size = 11;
  std::string_view colour = ink;
  anchor from = anchor::start;
  bool bold = false;
  bool halo = false;  // a white rim, for text over lines
};

// About how wide a text of this size is, rather too much than too little.
double text_width(std::string_view text, double size);

class svg {
 public:
  // `title` is what a reader that cannot see the picture is told.
  svg(double width, double height, std::string_view title);

  void line(point from, point to, const pen& with);
  // A NaN breaks the curve; a point alone between two breaks is a dot.
  void curve(std::span<const point> points, const pen& with);
  void polygon(std::span<const point> corners, std::string_view fill);
  void circle(point centre, double radius, std::string_view fill, std::string_view rim = "none");
  // `at` is on the baseline. What XML cannot hold is replaced by U+FFFD.
  void text(point at, std::string_view text, const lettering& style);

  // Between the two, only what is inside `area` is seen.
  void begin_clip(const box& area);
  void end_clip();

  std::string finished() const { return body_ + "</svg>\n"; }

 private:
  std::string body_;
  int clips_ = 0;
};

}  // namespace programs
